//! One future of a crew.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use pin_project::pin_project;

use super::{WHY, roster::Bell};
use crate::{
    error::{Panic, catch},
    frame::{self, Anchor, Enclosed, Role},
};

/// How a hand ended. It is gone by then, and everything that it owned.
#[derive(Debug)]
#[expect(
    unnameable_types,
    reason = "a hidden part of traits that are implemented here only"
)]
pub enum Ending<T> {
    /// It returned.
    Value(T),
    /// It panicked.
    Panicked(Panic),
    /// It was cancelled.
    Cut,
}

impl<T> Ending<T> {
    /// Converts the value, if there is one.
    pub(crate) fn map<U>(self, convert: impl FnOnce(T) -> U) -> Ending<U> {
        match self {
            Self::Value(value) => Ending::Value(convert(value)),
            Self::Panicked(panic) => Ending::Panicked(panic),
            Self::Cut => Ending::Cut,
        }
    }
}

/// A future of a crew, under its own frame.
#[pin_project]
#[expect(
    unnameable_types,
    reason = "a hidden part of traits that are implemented here only"
)]
pub struct Hand<F> {
    #[pin]
    body: Enclosed<F>,
}

impl<F> Hand<F> {
    pub(crate) fn new(body: F) -> Self {
        Self {
            body: Enclosed::new(Role::Scope, body),
        }
    }

    /// Cancels the future. The next poll drops it, unless something in it is protected.
    pub(crate) fn cancel(self: Pin<&mut Self>) {
        if !self.body.is_clear() {
            self.project().body.anchor().cancel(WHY);
        }
    }

    /// Gives the future a new frame, which nobody has cancelled.
    pub(crate) fn renew(self: Pin<&mut Self>) {
        let anchor = self.project().body.anchor();
        if anchor.is_idle() {
            *anchor = Anchor::new(Role::Scope);
        }
    }

    /// Whether nothing protected is alive in it.
    pub(crate) fn is_idle(self: Pin<&mut Self>) -> bool {
        self.project().body.anchor().is_idle()
    }

    /// Drops the future where it stands.
    pub(crate) fn clear(self: Pin<&mut Self>) -> Result<(), Panic> {
        let mut body = self.project().body;
        let cleared = body.as_mut().clear();
        body.anchor().leave();
        cleared
    }

    /// The future, unless it is gone.
    pub(super) fn future(&self) -> Option<&F> {
        self.body.get()
    }

    /// Whether the future is to be dropped.
    fn is_cut(self: Pin<&mut Self>) -> bool {
        let anchor = self.project().body.anchor();
        anchor.is_cancelled_itself() && anchor.is_idle()
    }

    fn cut<T>(self: Pin<&mut Self>) -> Ending<T> {
        match self.clear() {
            Ok(()) => Ending::Cut,
            Err(panic) => Ending::Panicked(panic),
        }
    }
}

impl<F: Future> Hand<F> {
    /// Polls the future, unless it was cancelled. It is pending for ever once it is gone.
    pub(crate) fn poll(mut self: Pin<&mut Self>, bell: &Arc<Bell>) -> Poll<Ending<F::Output>> {
        bell.answer();
        if self.body.is_clear() {
            return Poll::Pending;
        }
        self.as_mut().project().body.anchor().settle();
        if self.as_mut().is_cut() {
            return Poll::Ready(self.cut());
        }
        let waker = Waker::from(Arc::clone(bell));
        let cx = &mut Context::from_waker(&waker);
        let body = self.as_mut().project().body;
        let ending = match catch(|| body.poll(None, cx)) {
            Ok(Poll::Ready(value)) => Ending::Value(value),
            Err(panic) => {
                if let Err(second) = self.as_mut().clear() {
                    frame::report_panic(second);
                }
                Ending::Panicked(panic)
            }
            Ok(Poll::Pending) => {
                self.as_mut().project().body.anchor().watch_if_known(cx);
                if !self.as_mut().is_cut() {
                    return Poll::Pending;
                }
                self.as_mut().cut()
            }
        };
        self.project().body.anchor().leave();
        Poll::Ready(ending)
    }
}

impl<F> fmt::Debug for Hand<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hand")
            .field("is_gone", &self.body.is_clear())
            .finish_non_exhaustive()
    }
}
