//! The error of a group: all the failures of its members.

use std::{error::Error as StdError, fmt, mem, panic::Location, slice, sync::Arc, vec};

use super::{Cause, Error, Label, Panic, TaskInfo, discard, raw};

/// One failed member of a group: which task it was, and how it failed.
///
/// # Examples
///
/// ```
/// use headcount::{FailureKind, group, run};
///
/// let failed = run(group(async |g| {
///     g.spawn_named("fetch", async { Err::<(), _>("no route".into()) });
///     Ok(())
/// }))
/// .unwrap_err();
///
/// let failure = failed.first().unwrap();
/// assert_eq!(failure.task().name(), Some("fetch"));
/// assert!(matches!(failure.kind(), FailureKind::Error(e) if e.to_string() == "no route"));
/// ```
pub struct Failure<E = Error> {
    task: TaskInfo,
    kind: FailureKind<E>,
}

/// How a task failed.
///
/// # Examples
///
/// ```
/// use headcount::{FailureKind, Policy, TaskGroup, run};
///
/// let group = TaskGroup::builder().policy(Policy::Collect).run(async |g| {
///     g.spawn(async { Err::<(), _>("no route".into()) });
///     g.spawn(async { if true { panic!("boom") } else { Ok(()) } });
///     Ok(())
/// });
/// for failure in run(group).unwrap_err() {
///     match failure.into_kind() {
///         FailureKind::Error(error) => assert_eq!(error.to_string(), "no route"),
///         FailureKind::Panic(panic) => assert_eq!(panic.message(), Some("boom")),
///     }
/// }
/// ```
#[derive(Debug)]
pub enum FailureKind<E> {
    /// It returned an error.
    Error(E),
    /// It panicked.
    Panic(Panic),
}

impl<E> Failure<E> {
    /// Says how a task failed.
    pub(crate) fn new(task: TaskInfo, kind: FailureKind<E>) -> Self {
        Self { task, kind }
    }

    /// Returns how the task failed.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{FailureKind, group, run};
    ///
    /// let failed = run(group(async |_g| Err::<(), _>("no route".into()))).unwrap_err();
    /// assert!(matches!(failed.first().unwrap().kind(), FailureKind::Error(_)));
    /// ```
    #[must_use]
    pub fn kind(&self) -> &FailureKind<E> {
        &self.kind
    }

    /// Takes out how the task failed.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{FailureKind, group, run};
    ///
    /// let failed = run(group(async |_g| Err::<(), _>("no route".into()))).unwrap_err();
    /// let failure = failed.into_iter().next().unwrap();
    /// let FailureKind::Error(error) = failure.into_kind() else { unreachable!() };
    /// assert_eq!(error.to_string(), "no route");
    /// ```
    #[must_use]
    pub fn into_kind(self) -> FailureKind<E> {
        self.kind
    }

    /// Returns which task failed.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{group, run};
    ///
    /// let failed = run(group(async |g| {
    ///     g.spawn_named("fetch", async { Err::<(), _>("no route".into()) });
    ///     Ok(())
    /// }))
    /// .unwrap_err();
    /// assert_eq!(failed.first().unwrap().task().name(), Some("fetch"));
    /// ```
    #[must_use]
    pub fn task(&self) -> &TaskInfo {
        &self.task
    }

    /// Returns the error, unless the task panicked.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{group, run};
    ///
    /// let failed = run(group(async |_g| Err::<(), _>("no route".into()))).unwrap_err();
    /// assert_eq!(failed.first().unwrap().error().unwrap().to_string(), "no route");
    /// ```
    #[must_use]
    pub fn error(&self) -> Option<&E> {
        match &self.kind {
            FailureKind::Error(error) => Some(error),
            FailureKind::Panic(_) => None,
        }
    }
}

impl<E: fmt::Debug> fmt::Debug for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("task", &self.task)
            .field("kind", &self.kind)
            .finish()
    }
}

/// The failures of a task group, in the order in which they arrived.
///
/// A group that does not return its value returns one of these, also when a single task failed:
/// callers meet one shape under light load and heavy. Errors of nested groups stay nested.
///
/// It is empty in one case: the group was cancelled by hand, or by a deadline set through its
/// [scope](crate::TaskGroup::scope), its body had not returned its value yet, and nothing failed.
/// [`is_cancelled`](Self::is_cancelled) is true then.
///
/// # Which method
///
/// | to | there is |
/// | --- | --- |
/// | log it, or show it to somebody | `{}`, `{:#}` |
/// | look at what came first | [`first`](Self::first) |
/// | look at each failed task of this group | [`iter`](Self::iter), `into_iter` |
/// | look through nested groups | [`leaves`](ErrorGroup::leaves) |
/// | know whether one kind of error is among them | [`find`](ErrorGroup::find) |
/// | handle one kind, and pass on what is left | [`partition`](ErrorGroup::partition) |
/// | have a panic go on | [`resume_panics`](Self::resume_panics) |
///
/// # Printing
///
/// `{}` is one line that says which group it was and which of its tasks failed, and leaves their
/// errors to [`source`](StdError::source). `{:#}` and `{:?}` are the whole tree over several lines:
/// every task with its name or id, the place where it was spawned, its error with all sources, its
/// panic with the message. Because `main` prints errors with `{:?}`, a `main` that returns an
/// `ErrorGroup` reports everything.
///
/// ```text
/// task group "mirror" (src/main.rs:5) failed
/// ├─ task "index" (src/main.rs:6): no such page
/// └─ task "pages" (src/main.rs:7): task group "pages" (src/main.rs:8) failed
///    ├─ task "one" (src/main.rs:9): no route to host
///    │  caused by: the cable is unplugged
///    └─ task #12 (src/main.rs:10) panicked: no page 7
/// ```
///
/// Errors of a [type of one's own](crate::GroupBuilder::errors) are shown by the name of their type,
/// since nothing obliges that type to be printable; [`map_errors`](Self::map_errors) into
/// [`Error`] shows them in full.
///
/// # Examples
///
/// ```
/// use headcount::{group, run};
///
/// let failed = run(group(async |g| {
///     g.spawn_named("fetch", async { Err::<(), _>("no route".into()) });
///     Ok(())
/// }))
/// .unwrap_err();
///
/// assert_eq!(failed.len(), 1);
/// assert!(format!("{failed:#}").contains("no route"));
/// ```
pub struct ErrorGroup<E = Error> {
    failures: Vec<Failure<E>>,
    /// Which group it was. Boxed, so that a `Result` with an `ErrorGroup` stays small.
    origin: Box<Origin>,
    /// Views one of the errors as a standard error, if its type is known to be one.
    as_std: fn(&E) -> Option<&(dyn StdError + 'static)>,
}

/// Which group an error group is from, and how it ended.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) label: Option<Arc<Label>>,
    pub(crate) location: &'static Location<'static>,
    /// Why it was cancelled, unless only because a member failed.
    pub(crate) cancelled: Option<Cause>,
}

impl Origin {
    /// What the group is called.
    pub(crate) fn name(&self) -> Option<&str> {
        self.label.as_deref()?.name()
    }
}

impl<E> ErrorGroup<E> {
    /// Puts the failures of a group together.
    pub(crate) fn new(failures: Vec<Failure<E>>, origin: Origin) -> Self
    where
        E: 'static,
    {
        Self {
            failures,
            origin: Box::new(origin),
            as_std: raw::as_std,
        }
    }

    /// Returns the number of failures. A nested group counts as one.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{group, run};
    ///
    /// let failed = run(group(async |_g| Err::<(), _>("no route".into()))).unwrap_err();
    /// assert_eq!(failed.len(), 1);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.failures.len()
    }

    /// Tells whether nothing failed: the group was cancelled, and that was all.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{group, run};
    ///
    /// let cancelled = run(group(async |g| {
    ///     g.cancel();
    ///     std::future::pending::<Result<(), _>>().await
    /// }))
    /// .unwrap_err();
    /// assert!(cancelled.is_empty() && cancelled.is_cancelled());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.failures.is_empty()
    }

    /// Tells whether the group was cancelled by hand, by a deadline or from further out.
    ///
    /// A group that was cancelled because one of its members failed does not count: its failures say
    /// all there is to say.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{group, run};
    ///
    /// let failed = run(group(async |_g| Err::<(), _>("no route".into()))).unwrap_err();
    /// assert!(!failed.is_cancelled());
    /// ```
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.origin.cancelled.is_some()
    }

    /// Tells whether the group was cancelled because a deadline set through its
    /// [scope](crate::TaskGroup::scope) passed.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{group, now, run};
    ///
    /// let late = run(group(async |g| {
    ///     g.scope().set_deadline(Some(now()));
    ///     std::future::pending::<Result<(), _>>().await
    /// }));
    /// assert!(late.unwrap_err().is_deadline());
    /// ```
    #[must_use]
    pub fn is_deadline(&self) -> bool {
        matches!(self.origin.cancelled, Some(Cause::Deadline))
    }

    /// Returns the reason given to [`cancel_with`](crate::TaskGroup::cancel_with), if that is how
    /// the group was cancelled.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{group, run};
    ///
    /// let cancelled = run(group(async |g| {
    ///     g.cancel_with("the user pressed stop");
    ///     std::future::pending::<Result<(), _>>().await
    /// }))
    /// .unwrap_err();
    /// assert_eq!(cancelled.reason(), Some("the user pressed stop"));
    /// ```
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match &self.origin.cancelled {
            Some(Cause::Requested(reason)) => reason.as_deref(),
            _ => None,
        }
    }

    /// Returns the name of the group, if it has one.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{TaskGroup, run};
    ///
    /// let failed = TaskGroup::builder().name("fetch").run(async |_g| Err::<(), _>("no route".into()));
    /// assert_eq!(run(failed).unwrap_err().group_name(), Some("fetch"));
    /// ```
    #[must_use]
    pub fn group_name(&self) -> Option<&str> {
        self.origin.name()
    }

    /// Returns the place in the source where the group was opened.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{group, run};
    ///
    /// let failed = run(group(async |_g| Err::<(), _>("no route".into()))).unwrap_err();
    /// assert!(failed.location().line() > 0);
    /// ```
    #[must_use]
    pub fn location(&self) -> &'static Location<'static> {
        self.origin.location
    }

    /// Returns the failure that arrived first.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{group, run};
    ///
    /// let failed = run(group(async |_g| Err::<(), _>("no route".into()))).unwrap_err();
    /// assert_eq!(failed.first().unwrap().error().unwrap().to_string(), "no route");
    /// ```
    #[must_use]
    pub fn first(&self) -> Option<&Failure<E>> {
        self.failures.first()
    }

    /// Iterates over the failures in the order in which they arrived.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{group, run};
    ///
    /// let failed = run(group(async |_g| Err::<(), _>("no route".into()))).unwrap_err();
    /// for failure in failed.iter() {
    ///     eprintln!("{}", failure.task());
    /// }
    /// ```
    pub fn iter(&self) -> slice::Iter<'_, Failure<E>> {
        self.failures.iter()
    }

    /// Lets the first captured panic go on, from here; gives the group back if there is none.
    ///
    /// For callers to whom a panic in a task is a panic of their own. The other failures are lost
    /// then. [`GroupBuilder::resume_panics`](crate::GroupBuilder::resume_panics) does it on its own.
    ///
    /// Only the panics of this group are considered, not those of groups nested in it.
    ///
    /// # Panics
    ///
    /// Resumes the first panic, if there is one.
    ///
    /// # Examples
    ///
    /// ```should_panic
    /// use headcount::{group, run};
    ///
    /// let answer = run(group(async |g| {
    ///     g.spawn(async { if true { panic!("boom") } else { Ok(()) } });
    ///     Ok(())
    /// }));
    /// answer.map_err(|failed| failed.resume_panics()).unwrap();
    /// ```
    #[must_use = "without a panic the group comes back, with its failures"]
    pub fn resume_panics(mut self) -> Self {
        let is_panic = |failure: &Failure<E>| matches!(failure.kind, FailureKind::Panic(_));
        if let Some(index) = self.failures.iter().position(is_panic) {
            if let FailureKind::Panic(panic) = self.failures.swap_remove(index).kind {
                // Before it goes on: what panics at being dropped meanwhile would end the process.
                discard(self);
                panic.resume();
            }
        }
        self
    }

    /// Converts every error, and keeps everything else.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{Error, ErrorGroup, TaskGroup, run};
    ///
    /// let group = TaskGroup::builder().errors::<u8>().run(async |_g| Err::<(), _>(7));
    /// let failed: ErrorGroup<u8> = run(group).unwrap_err();
    /// let failed = failed.map_errors(|code| Error::from(format!("exit code {code}")));
    /// assert!(format!("{failed:#}").contains("exit code 7"));
    /// ```
    pub fn map_errors<X: 'static>(self, mut convert: impl FnMut(E) -> X) -> ErrorGroup<X> {
        let convert = |failure: Failure<E>| {
            let kind = match failure.kind {
                FailureKind::Error(error) => FailureKind::Error(convert(error)),
                FailureKind::Panic(panic) => FailureKind::Panic(panic),
            };
            Failure::new(failure.task, kind)
        };
        ErrorGroup::new(
            self.failures.into_iter().map(convert).collect(),
            *self.origin,
        )
    }

    /// Makes an error group of the same group: these failures, and then all that are in here.
    pub(crate) fn split_off_before(&mut self, mut failures: Vec<Failure<E>>) -> Self
    where
        E: 'static,
    {
        failures.append(&mut self.failures);
        Self::new(failures, (*self.origin).clone())
    }

    /// Takes the failures out.
    pub(super) fn take_failures(&mut self) -> Vec<Failure<E>> {
        mem::take(&mut self.failures)
    }

    /// Which group this is from.
    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Views the error of a failure as a standard error, if that is possible.
    pub(super) fn view<'a>(&self, error: &'a E) -> Option<&'a (dyn StdError + 'static)> {
        (self.as_std)(error)
    }
}

impl ErrorGroup<Error> {
    /// Iterates over the failures of this group and, in place of a nested group, over *its*
    /// failures, however deep.
    ///
    /// A nested group that is empty has no failures and is passed over.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{group, run};
    ///
    /// let failed = run(group(async |_g| {
    ///     group(async |_g| Err::<(), _>("no route".into())).await?;
    ///     Ok(())
    /// }))
    /// .unwrap_err();
    ///
    /// let leaves: Vec<_> = failed.leaves().map(|f| f.error().unwrap().to_string()).collect();
    /// assert_eq!(leaves, ["no route"]);
    /// ```
    pub fn leaves(&self) -> Box<dyn Iterator<Item = &Failure> + '_> {
        Box::new(Leaves {
            open: vec![self.iter()],
        })
    }

    /// Returns the first error of type `X` among the [leaves](Self::leaves).
    ///
    /// The errors themselves are looked at, not their sources.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{group, run};
    /// use std::num::ParseIntError;
    ///
    /// let failed = run(group(async |_g| Ok("x".parse::<u8>()?))).unwrap_err();
    /// assert!(failed.find::<ParseIntError>().is_some());
    /// assert!(failed.find::<std::io::Error>().is_none());
    /// ```
    #[must_use]
    pub fn find<X: StdError + 'static>(&self) -> Option<&X> {
        self.leaves()
            .find_map(|failure| failure.error()?.downcast_ref())
    }

    /// Splits the group into the leaves whose error is an `X`, and the rest.
    ///
    /// Both parts keep the nesting, the names and the places. A part that would be without any
    /// leaf is `None`; an empty group counts as rest. Handling one kind of error and passing on
    /// what is left is this method and a `match`.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{Policy, TaskGroup, run};
    /// use std::num::ParseIntError;
    ///
    /// let group = TaskGroup::builder().policy(Policy::Collect).run(async |g| {
    ///     g.spawn(async { Ok("x".parse::<u8>()?) });
    ///     g.spawn(async { Err::<(), _>("no route".into()) });
    ///     Ok(())
    /// });
    /// let (numbers, rest) = run(group).unwrap_err().partition::<ParseIntError>();
    /// assert_eq!(numbers.unwrap().len(), 1);
    /// assert_eq!(rest.unwrap().len(), 1);
    /// ```
    #[must_use]
    pub fn partition<X: StdError + 'static>(self) -> (Option<Self>, Option<Self>) {
        let mut outer = Vec::new();
        let mut level = Halves::new(self, None);
        loop {
            match level.left.next() {
                Some(failure) => match failure.into_nested() {
                    Ok((task, nested)) => {
                        outer.push(mem::replace(&mut level, Halves::new(nested, Some(task))));
                    }
                    Err(failure) => level.sort::<X>(failure),
                },
                None => {
                    let (task, matching, rest) = level.close();
                    let (Some(above), Some(task)) = (outer.pop(), task) else {
                        return (matching, rest);
                    };
                    level = above;
                    let nest = |part| Failure::new(task.clone(), FailureKind::Error(part));
                    level.matching.extend(matching.map(Error::from).map(nest));
                    level.rest.extend(rest.map(Error::from).map(nest));
                }
            }
        }
    }
}

impl Failure {
    /// Returns the group that this failure nests, if it does.
    pub(super) fn nested(&self) -> Option<&ErrorGroup> {
        self.error()?.downcast_ref()
    }

    /// Takes out the group that this failure nests, if it does.
    fn into_nested(self) -> Result<(TaskInfo, ErrorGroup), Self> {
        let Self { task, kind } = self;
        match kind {
            FailureKind::Error(error) => match error.downcast::<ErrorGroup>() {
                Ok(nested) => Ok((task, nested)),
                Err(error) => Err(Self::new(task, FailureKind::Error(error))),
            },
            kind => Err(Self::new(task, kind)),
        }
    }
}

/// Walks an error tree without recursion.
struct Leaves<'a> {
    /// Where the walk stands in every group that it is in, outermost first.
    open: Vec<slice::Iter<'a, Failure>>,
}

impl<'a> Iterator for Leaves<'a> {
    type Item = &'a Failure;

    fn next(&mut self) -> Option<&'a Failure> {
        loop {
            match self.open.last_mut()?.next() {
                None => drop(self.open.pop()),
                Some(failure) => match failure.nested() {
                    Some(nested) => self.open.push(nested.iter()),
                    None => return Some(failure),
                },
            }
        }
    }
}

/// A group that is being split in two.
struct Halves {
    /// The task that the group was the error of; `None` for the outermost group.
    task: Option<TaskInfo>,
    origin: Origin,
    left: vec::IntoIter<Failure>,
    matching: Vec<Failure>,
    rest: Vec<Failure>,
    /// Whether the group was empty from the start.
    empty: bool,
}

impl Halves {
    fn new(mut group: ErrorGroup, task: Option<TaskInfo>) -> Self {
        Self {
            task,
            empty: group.is_empty(),
            left: group.take_failures().into_iter(),
            origin: *group.origin,
            matching: Vec::new(),
            rest: Vec::new(),
        }
    }

    fn sort<X: StdError + 'static>(&mut self, failure: Failure) {
        let matches = failure
            .error()
            .is_some_and(|error| error.downcast_ref::<X>().is_some());
        if matches {
            &mut self.matching
        } else {
            &mut self.rest
        }
        .push(failure);
    }

    fn close(&mut self) -> (Option<TaskInfo>, Option<ErrorGroup>, Option<ErrorGroup>) {
        let part = |failures: Vec<_>, keep_empty: bool| {
            let keep = keep_empty || !failures.is_empty();
            keep.then(|| ErrorGroup::new(failures, self.origin.clone()))
        };
        let matching = part(mem::take(&mut self.matching), false);
        let rest = part(mem::take(&mut self.rest), self.empty);
        (self.task.take(), matching, rest)
    }
}

impl<E> IntoIterator for ErrorGroup<E> {
    type Item = Failure<E>;
    type IntoIter = vec::IntoIter<Failure<E>>;

    fn into_iter(mut self) -> Self::IntoIter {
        self.take_failures().into_iter()
    }
}

impl<'a, E> IntoIterator for &'a ErrorGroup<E> {
    type Item = &'a Failure<E>;
    type IntoIter = slice::Iter<'a, Failure<E>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<E> StdError for ErrorGroup<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self.first()?.kind() {
            FailureKind::Error(error) => self.view(error),
            FailureKind::Panic(panic) => Some(panic),
        }
    }
}
