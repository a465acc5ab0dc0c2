//! What can go wrong: plain data, without any of the machinery.

mod aggregate;
mod outcome;
mod panic;
mod raw;
mod task_info;
mod tree;
mod unclaimed;

use std::{error::Error as StdError, fmt, mem, ops::Deref};

pub(crate) use self::{
    aggregate::Origin,
    outcome::Cause,
    panic::{catch, discard},
    raw::RawFailure,
    task_info::{Label, TaskRole},
};
pub use self::{
    aggregate::{ErrorGroup, Failure, FailureKind},
    outcome::{Aborted, Cancelled, GroupClosed, StartError, TimedOut},
    panic::Panic,
    task_info::TaskInfo,
    unclaimed::on_unclaimed,
};

/// The error type of tasks and bodies that do not name one of their own.
///
/// It wraps any error, so that `?` works in tasks on whatever their calls return: standard errors,
/// [`anyhow::Error`](https://docs.rs/anyhow), a string, an [`ErrorGroup`] of a nested group. Like
/// `anyhow::Error` it does not implement [`std::error::Error`] itself, which is what makes that
/// conversion possible; it dereferences to the error inside.
///
/// Groups with an error type of their own are opened with
/// [`TaskGroup::builder().errors::<E>()`](crate::GroupBuilder::errors).
///
/// # Examples
///
/// ```
/// use headcount::{Error, group, run};
///
/// fn port(text: &str) -> Result<u16, Error> {
///     if text.is_empty() {
///         return Err("no port given".into());
///     }
///     Ok(text.parse()?)
/// }
///
/// assert_eq!(port("").unwrap_err().to_string(), "no port given");
/// assert!(port("x").unwrap_err().downcast_ref::<std::num::ParseIntError>().is_some());
///
/// let answer = run(group(async |g| {
///     let port = g.spawn(async { port("80") });
///     Ok(port.await?)
/// }));
/// assert_eq!(answer.unwrap(), 80);
/// ```
pub struct Error(Box<dyn StdError + Send + Sync>);

impl Error {
    /// Returns the error inside, if it is an `X`.
    ///
    /// Only the error itself is looked at, not its sources; walk those with
    /// [`source`](StdError::source).
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::Error;
    ///
    /// let error = Error::from(std::fmt::Error);
    /// assert!(error.downcast_ref::<std::fmt::Error>().is_some());
    /// assert!(error.downcast_ref::<std::io::Error>().is_none());
    /// ```
    #[must_use]
    pub fn downcast_ref<X: StdError + 'static>(&self) -> Option<&X> {
        self.0.downcast_ref()
    }

    /// Takes the error out, if it is an `X`.
    ///
    /// # Errors
    ///
    /// Gives `self` back if the error is of another type.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::Error;
    ///
    /// let error = Error::from(std::fmt::Error);
    /// let error = error.downcast::<std::io::Error>().unwrap_err();
    /// assert_eq!(error.downcast::<std::fmt::Error>().unwrap(), std::fmt::Error);
    /// ```
    pub fn downcast<X: StdError + Send + Sync + 'static>(self) -> Result<X, Self> {
        self.into_boxed()
            .downcast()
            .map(|boxed| *boxed)
            .map_err(Self)
    }

    /// Returns the boxed error, for libraries that want one.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::Error;
    ///
    /// let boxed: Box<dyn std::error::Error + Send + Sync> = Error::from("no route").into_boxed();
    /// assert_eq!(boxed.to_string(), "no route");
    /// ```
    #[must_use]
    pub fn into_boxed(mut self) -> Box<dyn StdError + Send + Sync> {
        self.take()
    }

    /// Views the error inside as a standard error.
    pub(crate) fn as_std(&self) -> &(dyn StdError + 'static) {
        &*self.0
    }

    /// Takes the box and leaves a hollow one, which costs no allocation.
    fn take(&mut self) -> Box<dyn StdError + Send + Sync> {
        mem::replace(&mut self.0, Box::new(Hollow))
    }

    /// Takes the failures out of the error group inside, if there is one.
    fn take_failures(&mut self) -> Vec<Failure> {
        self.0
            .downcast_mut::<ErrorGroup>()
            .map(ErrorGroup::take_failures)
            .unwrap_or_default()
    }
}

impl<T: Into<Box<dyn StdError + Send + Sync>>> From<T> for Error {
    fn from(error: T) -> Self {
        Self(error.into())
    }
}

impl Deref for Error {
    type Target = dyn StdError + Send + Sync;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl Drop for Error {
    /// Takes nested error groups apart one by one: they may be nested deeper than the stack is.
    fn drop(&mut self) {
        let mut nested = self.take_failures();
        while let Some(failure) = nested.pop() {
            if let FailureKind::Error(mut error) = failure.into_kind() {
                nested.append(&mut error.take_failures());
            }
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// What is left in an [`Error`] whose content was taken.
#[derive(Debug)]
struct Hollow;

impl fmt::Display for Hollow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an error that was taken out")
    }
}

impl StdError for Hollow {}
