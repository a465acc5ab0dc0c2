//! Holding a cancellation off.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project::pin_project;

use crate::{
    error::catch,
    frame::{self, Enclosed, Role, report_panic},
    sim::Mark,
};

/// Runs a future to its end, whatever is cancelled around it meanwhile.
///
/// For the short piece of work that must not stop halfway: commit, flush, the goodbye to a peer. It
/// holds also if the surroundings were cancelled before it was reached. Nothing is lost by it: the
/// cancellation takes effect at the first wait after the shield that is not shielded in turn. A loop
/// that does nothing but shielded work needs a [`checkpoint`](crate::checkpoint) to be cancellable.
///
/// Scopes *inside* the shield can be cancelled, and their deadlines fire. Give shielded work a
/// [`timeout`](crate::timeout) of its own, since nothing outside will stop it.
///
/// For cleanup there are [`finally`](crate::finally()) and [`bracket`](crate::bracket()), which run it in
/// every case. Trio calls the same thing `CancelScope(shield=True)`, Kotlin `NonCancellable`.
///
/// # Panics
///
/// A panic of the future goes on from here.
///
/// # Cancel safety
///
/// A shield holds off the scopes and groups of this crate, not the owner of the future: whoever
/// drops the returned future, another crate's `select!` for example, drops what is inside where it
/// stands.
///
/// A shield that was begun holds off the scopes around it until it is done or dropped. One that is
/// kept and not polled any more, as after a `select!` over `&mut shield`, holds them off for ever.
///
/// # Examples
///
/// ```
/// use headcount::{CancelScope, checkpoint, run, shield};
///
/// let scope = CancelScope::new();
/// let handle = scope.handle();
/// let mut log = Vec::new();
///
/// let outcome = run(scope.run(async {
///     shield(async {
///         handle.cancel();
///         checkpoint().await; // Would be the last one without the shield.
///         log.push("committed");
///     })
///     .await;
///     checkpoint().await; // The cancellation takes effect here.
///     log.push("never");
/// }));
///
/// assert!(outcome.is_err());
/// assert_eq!(log, ["committed"]);
/// ```
pub fn shield<F: Future>(body: F) -> Shield<F> {
    Shield {
        body: Enclosed::new(Role::Shield, body),
    }
}

/// The future returned by [`shield`].
#[pin_project]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Shield<F> {
    #[pin]
    body: Enclosed<F>,
}

impl<F> Shield<F> {
    /// Drops a body that has panicked.
    pub(super) fn give_up(self: Pin<&mut Self>) {
        let mut body = self.project().body;
        if let Err(second) = body.as_mut().clear() {
            report_panic(second);
        }
        body.anchor().leave();
    }
}

impl<F: Future> Future for Shield<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut body = self.project().body;
        body.as_mut().anchor().settle();
        let polled = match catch(|| body.as_mut().poll(None, cx)) {
            Ok(polled) => polled,
            Err(panic) => {
                body.anchor().leave();
                panic.resume();
            }
        };
        let anchor = body.anchor();
        match polled {
            // Only now: a body that is ready at once was never in danger.
            Poll::Pending => {
                anchor.protect();
                frame::tell_mark(|| Mark::Shield);
            }
            Poll::Ready(_) => anchor.leave(),
        }
        polled
    }
}

impl<F> fmt::Debug for Shield<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shield").finish_non_exhaustive()
    }
}
