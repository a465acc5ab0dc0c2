//! What the two ends of a channel share.

use std::{
    fmt,
    task::{Context, Poll},
};

use super::state::{Capacity, State};
use crate::{
    error::{Panic, catch},
    frame,
    lock::{Mutex, MutexGuard},
    waiters::{Aftermath, Caller, poll_from, poll_locked},
};

/// What becomes of items that nobody received.
pub(super) type Hook<T> = Box<dyn Fn(T) + Send + Sync>;

/// A channel.
pub(super) struct Shared<T> {
    state: Mutex<State<T>>,
    /// `None`: they are dropped.
    hook: Option<Hook<T>>,
}

impl<T> Shared<T> {
    pub(super) fn new(capacity: Capacity, hook: Option<Hook<T>>) -> Self {
        Self {
            state: Mutex::new(State::new(capacity)),
            hook,
        }
    }

    /// Looks at the state.
    pub(super) fn look<R>(&self, f: impl FnOnce(&State<T>) -> R) -> R {
        f(&self.state.lock())
    }

    /// Changes the state, and then wakes whom that concerns.
    pub(super) fn change<R>(&self, f: impl FnOnce(&mut State<T>, &mut Aftermath) -> R) -> R {
        let mut after = Aftermath::default();
        let result = f(&mut self.state.lock(), &mut after);
        after.run();
        result
    }

    /// Locks the state, to do at once what can be done at once.
    pub(super) fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock()
    }

    /// Polls the state; see [`poll_locked`].
    pub(super) fn poll<R>(
        &self,
        cx: &Context<'_>,
        attempt: impl FnMut(&mut State<T>, &mut Caller<'_>, &mut Aftermath) -> Poll<R>,
    ) -> Poll<R> {
        poll_locked(&self.state, cx, attempt)
    }

    /// Polls the state, which has been locked already; see [`poll_from`].
    pub(super) fn poll_from<R>(
        &self,
        locked: MutexGuard<'_, State<T>>,
        cx: &Context<'_>,
        attempt: impl FnMut(&mut State<T>, &mut Caller<'_>, &mut Aftermath) -> Poll<R>,
    ) -> Poll<R> {
        poll_from(&self.state, locked, cx, attempt)
    }

    /// Disposes of items that nobody received, whatever some of them do. Returns the first panic;
    /// further ones are reported as failures of the running task.
    #[must_use = "it has to go on from somewhere"]
    pub(super) fn dispose(&self, items: impl IntoIterator<Item = T>) -> Option<Panic> {
        let mut first = None;
        for item in items {
            let disposed = catch(|| match &self.hook {
                Some(hook) => hook(item),
                None => drop(item),
            });
            match disposed {
                Err(panic) if first.is_none() => first = Some(panic),
                Err(panic) => frame::report_panic(panic),
                Ok(()) => {}
            }
        }
        first
    }

    /// Disposes of items that nobody received, from a destructor.
    pub(super) fn dispose_in_drop(&self, items: impl IntoIterator<Item = T>) {
        if let Some(panic) = self.dispose(items) {
            frame::rethrow(panic);
        }
    }

    /// Fills in what both ends tell of themselves.
    pub(super) fn debug(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (len, capacity, closed) =
            self.look(|state| (state.len(), state.capacity(), state.is_closed()));
        f.debug_struct(name)
            .field("len", &len)
            .field("capacity", &capacity)
            .field("is_closed", &closed)
            .finish_non_exhaustive()
    }
}
