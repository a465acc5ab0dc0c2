//! What failed among futures that run concurrently.

use std::panic::Location;

use crate::{
    error::{ErrorGroup, Failure, FailureKind, Label, Origin, Panic, TaskInfo, catch, discard},
    frame,
};

/// The failures, until they go into one error group.
#[derive(Debug)]
pub(crate) struct Report<E> {
    /// What waits for the futures, for the message.
    what: &'static str,
    location: &'static Location<'static>,
    failures: Vec<Failure<E>>,
}

impl<E> Report<E> {
    pub(crate) fn new(what: &'static str, location: &'static Location<'static>) -> Self {
        Self {
            what,
            location,
            failures: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.failures.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.failures.is_empty()
    }

    /// Records that the future at this position returned an error.
    pub(crate) fn error(&mut self, index: usize, error: E) {
        self.push(index, FailureKind::Error(error));
    }

    /// Records that the future at this position panicked.
    pub(crate) fn panic(&mut self, index: usize, panic: Panic) {
        self.push(index, FailureKind::Panic(panic));
    }

    fn push(&mut self, index: usize, kind: FailureKind<E>) {
        let info = TaskInfo::part(index, self.location);
        self.failures.push(Failure::new(info, kind));
    }

    /// Puts the failures together.
    pub(crate) fn group(&mut self) -> ErrorGroup<E>
    where
        E: 'static,
    {
        let origin = Origin {
            label: Some(Label::named(self.what)),
            location: self.location,
            cancelled: None,
        };
        ErrorGroup::new(std::mem::take(&mut self.failures), origin)
    }
}

/// The first panic of futures that are no members of any error group. It goes on when all are gone;
/// what comes after it is reported to the group that the code runs in.
#[derive(Debug, Default)]
pub(super) struct Panics(Option<Panic>);

impl Panics {
    pub(super) fn note(&mut self, panic: Panic) {
        if self.0.is_none() {
            self.0 = Some(panic);
        } else {
            frame::report_panic(panic);
        }
    }

    /// Drops a value that nobody gets.
    pub(super) fn dispose<T>(&mut self, value: T) {
        if let Err(panic) = catch(|| drop(value)) {
            self.note(panic);
        }
    }

    /// Lets the panic go on, if there is one, in place of `result`. Gives that back otherwise.
    pub(super) fn resume_instead_of<T>(&mut self, result: T) -> T {
        match self.0.take() {
            Some(panic) => {
                discard(result);
                panic.resume()
            }
            None => result,
        }
    }
}
