//! Failures on their way into an error group, before their type is known.

use std::{
    any::{Any, TypeId},
    error::Error as StdError,
    io,
};

use super::{Aborted, Error, FailureKind, Panic, TaskInfo};

/// A failure as the group keeps it while it runs.
///
/// The machinery of groups knows nothing of their error types; the group's future, which does, turns
/// these into [`Failure`](super::Failure)s at the end. A failure may end up in a group of another
/// error type than it came from: when a group's future is dropped, what its children still have to
/// report goes to the enclosing group.
pub(crate) struct RawFailure {
    pub(crate) task: TaskInfo,
    pub(crate) kind: FailureKind<Box<dyn Any + Send>>,
    /// The name of the error type, for a report that cannot show the error itself.
    pub(crate) type_name: &'static str,
    /// Whether the error only repeats that another task of the same group was aborted.
    pub(crate) echo: bool,
}

impl RawFailure {
    /// Records an error that a member of a group returned.
    ///
    /// `saw_aborted` says whether the member got an [`Aborted`] from a task of its own group.
    pub(crate) fn error<E: Send + 'static>(task: TaskInfo, error: E, saw_aborted: bool) -> Self {
        Self {
            task,
            echo: saw_aborted && is_aborted(&error),
            kind: FailureKind::Error(Box::new(error)),
            type_name: std::any::type_name::<E>(),
        }
    }

    /// Records a panic of a member.
    pub(crate) fn panic(task: TaskInfo, panic: Panic) -> Self {
        Self {
            task,
            kind: FailureKind::Panic(panic),
            type_name: "panic",
            echo: false,
        }
    }

    /// Takes the panic out, if it is one.
    pub(crate) fn into_panic(self) -> Result<Panic, Self> {
        match self.kind {
            FailureKind::Panic(panic) => Ok(panic),
            kind => Err(Self { kind, ..self }),
        }
    }

    /// Whether a group with this type of errors can report it.
    ///
    /// Only failures that were handed up from another group may not fit.
    pub(crate) fn fits(&self, error_type: TypeId) -> bool {
        match &self.kind {
            FailureKind::Panic(_) => true,
            FailureKind::Error(error) => {
                error_type == (**error).type_id() || error_type == TypeId::of::<Error>()
            }
        }
    }

    /// Makes an [`Error`] of the error if that is what the group reports.
    pub(crate) fn fitted(self, error_type: TypeId) -> Self {
        let Self {
            task,
            kind,
            type_name,
            echo,
        } = self;
        let kind = match kind {
            FailureKind::Error(error)
                if error_type == TypeId::of::<Error>() && !error.is::<Error>() =>
            {
                FailureKind::Error(Box::new(into_error(error, type_name)) as _)
            }
            kind => kind,
        };
        Self {
            task,
            kind,
            type_name,
            echo,
        }
    }

    /// Gives the error its type back, or says that it is of another type.
    pub(crate) fn downcast<E: 'static>(self) -> Result<FailureKind<E>, Self> {
        match self.kind {
            FailureKind::Panic(panic) => Ok(FailureKind::Panic(panic)),
            FailureKind::Error(error) => match error.downcast::<E>() {
                Ok(error) => Ok(FailureKind::Error(*error)),
                Err(error) => Err(Self {
                    kind: FailureKind::Error(error),
                    ..self
                }),
            },
        }
    }
}

/// Tells whether an error is an [`Aborted`], as it is or inside an [`Error`].
fn is_aborted<E: 'static>(error: &E) -> bool {
    let error: &dyn Any = error;
    match error.downcast_ref::<Error>() {
        Some(error) => error.downcast_ref::<Aborted>().is_some(),
        None => error.is::<Aborted>(),
    }
}

/// Wraps an error of any type: as it is if its type is known to be one, by name otherwise.
fn into_error(error: Box<dyn Any + Send>, type_name: &'static str) -> Error {
    let error = match error.downcast::<Box<dyn StdError + Send + Sync>>() {
        Ok(error) => return Error::from(*error),
        Err(error) => error,
    };
    let error = match error.downcast::<io::Error>() {
        Ok(error) => return Error::from(*error),
        Err(error) => error,
    };
    let error = match error.downcast::<Aborted>() {
        Ok(error) => return Error::from(*error),
        Err(error) => error,
    };
    super::discard(error);
    Error::from(format!(
        "an error of type {type_name}, from a group of that type whose future was dropped"
    ))
}

/// Views an error of any type as a standard error, if it is of a type that is known to be one.
///
/// Error types of groups are not required to be errors at all, so the crate can print only those it
/// can recognise: its own [`Error`], and the types programs most often use in its place.
pub(crate) fn as_std<E: 'static>(error: &E) -> Option<&(dyn StdError + 'static)> {
    let error: &dyn Any = error;
    if let Some(error) = error.downcast_ref::<Error>() {
        return Some(error.as_std());
    }
    if let Some(error) = error.downcast_ref::<Box<dyn StdError + Send + Sync>>() {
        return Some(&**error);
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return Some(error);
    }
    error.downcast_ref::<Aborted>().map(|error| error as _)
}
