//! What is said about a test run that went wrong.

use std::{
    fmt,
    fmt::Write as _,
    io::{self, Write as _},
};

use crate::{
    error::Panic,
    sim::{Finding, Step, Stuck},
};

/// What went wrong with a run.
#[derive(Debug)]
pub(super) enum Trouble {
    /// `main` panicked.
    Panicked(Panic),
    /// Nothing went on any more. With the tree of the living.
    Stuck(Stuck, String),
    /// Something was left.
    Leftovers(Vec<Finding>),
    /// `main` returned an error, or something that was to hold does not.
    Failed(String),
}

impl Trouble {
    /// Whether this is the same kind of trouble, for all one can tell.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(panic) => match panic.message() {
                Some(message) => f.write_str(message),
                None => f.write_str("a panic without a message"),
            },
            Self::Failed(what) => f.write_str(what),
            Self::Stuck(Stuck::Deadlock, living) => write!(
                f,
                "nothing is ready and no timer is set: these wait for ever, unless another thread \
                 wakes them (see `testing::real`){living}"
            ),
            Self::Stuck(Stuck::TooLong, living) => write!(
                f,
                "the test run has taken too long (see `Builder::limit`); these are alive{living}"
            ),
            Self::Leftovers(findings) => {
                f.write_str("the test run has left something behind:")?;
                findings
                    .iter()
                    .try_for_each(|finding| write!(f, "\n  {finding}"))
            }
        }
    }
}

/// The steps of a test run, one line each: the virtual time, who, and what became of it.
///
/// The same seed gives the same text, on every machine and in every build of the same source.
///
/// Of a very long run only the last steps are kept: some hundred thousand.
///
/// # Examples
///
/// ```
/// use headcount::{group, testing::Builder};
///
/// let record = || {
///     let main = group(async |g| {
///         g.spawn_named("one", async { Ok(()) });
///         g.spawn_named("two", async { Ok(()) });
///         Ok(())
///     });
///     Builder::new().seed(7).record(main).1.to_string()
/// };
/// assert_eq!(record(), record());
/// ```
#[derive(Clone, Debug)]
pub struct Recording {
    steps: Vec<Step>,
}

impl Recording {
    pub(super) fn new(steps: Vec<Step>) -> Self {
        Self { steps }
    }

    /// Returns how many steps there were.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::testing::Builder;
    ///
    /// let (_, steps) = Builder::new().record(async {});
    /// assert_eq!(steps.len(), 1);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Returns whether there was none.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::testing::Builder;
    ///
    /// let (_, steps) = Builder::new().record(async {});
    /// assert!(!steps.is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

impl fmt::Display for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut steps = self.steps.iter();
        steps.try_for_each(|step| writeln!(f, "{:>4}. {step}", step.number()))
    }
}

/// So many steps are printed at most: the last ones.
const LONGEST: usize = 100;

/// The end of a run, for a report.
pub(super) fn ending(steps: &[Step]) -> String {
    let steps = &steps[steps.len().saturating_sub(LONGEST)..];
    let skipped = steps.first().map_or(0, |step| step.number() - 1);
    let mut text = String::new();
    // Writing to a string does not fail.
    if skipped > 0 {
        let _ = write!(text, "\n   … {skipped} steps before that");
    }
    for step in steps {
        let _ = write!(text, "\n{:>4}. {step}", step.number());
    }
    text
}

/// Says something on standard error.
pub(super) fn say(text: &str) {
    // There is nobody to be told that nobody could be told.
    let _written = io::stderr().write_all(format!("{text}\n").as_bytes());
}
