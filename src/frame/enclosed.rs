//! A future under a frame.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use pin_project::{pin_project, pinned_drop};

use crate::{
    error::{Panic, catch, discard},
    frame::{
        anchor::{Anchor, dropping},
        node::Role,
        stack::{Member, rethrow},
    },
};

/// A future and the frame it is polled and dropped under.
#[pin_project(PinnedDrop)]
pub(crate) struct Enclosed<F> {
    /// `None` once it is done or dropped.
    #[pin]
    body: Option<F>,
    anchor: Anchor,
}

impl<F> Enclosed<F> {
    pub(crate) fn new(role: Role, body: F) -> Self {
        Self::with_anchor(Anchor::new(role), body)
    }

    pub(crate) fn with_anchor(anchor: Anchor, body: F) -> Self {
        Self {
            body: Some(body),
            anchor,
        }
    }

    pub(crate) fn anchor(self: Pin<&mut Self>) -> &mut Anchor {
        self.project().anchor
    }

    /// Whether there is no future any more.
    pub(crate) fn is_clear(&self) -> bool {
        self.body.is_none()
    }

    /// Looks at the future.
    pub(crate) fn get(&self) -> Option<&F> {
        self.body.as_ref()
    }

    /// Drops the future, under its frame. Returns the panic of its destructor.
    pub(crate) fn clear(self: Pin<&mut Self>) -> Result<(), Panic> {
        let mut this = self.project();
        if this.body.is_none() {
            return Ok(());
        }
        this.anchor
            .within(None, || catch(|| dropping(|| this.body.set(None))))
    }

    /// Takes the future out, where it stands.
    pub(crate) fn take(self: Pin<&mut Self>) -> Option<F>
    where
        F: Unpin,
    {
        self.project().body.take()
    }

    /// Does the same as [`clear`](Self::clear) for a future that is a member of a group.
    pub(crate) fn clear_member(self: Pin<&mut Self>, member: Member) -> Result<(), Panic> {
        let mut this = self.project();
        let clear = || catch(|| dropping(|| this.body.set(None)));
        this.anchor.within_member(member, clear).0
    }
}

impl<F: Future> Enclosed<F> {
    /// Polls the future under its frame, and drops it when it is done.
    ///
    /// # Panics
    ///
    /// If the future was dropped: it is being polled after it was done.
    pub(crate) fn poll(
        self: Pin<&mut Self>,
        deadline: Option<Instant>,
        cx: &mut Context<'_>,
    ) -> Poll<F::Output> {
        let this = self.project();
        this.anchor.within(deadline, || poll_once(this.body, cx))
    }

    /// Does the same as [`poll`](Self::poll) for a future that is a member of a group. Returns the member as well, unless
    /// the future panics.
    pub(crate) fn poll_member(
        self: Pin<&mut Self>,
        member: Member,
        cx: &mut Context<'_>,
    ) -> (Poll<F::Output>, Option<Member>) {
        let this = self.project();
        this.anchor
            .within_member(member, || poll_once(this.body, cx))
    }
}

/// Polls a future that is to be dropped as soon as it is done.
fn poll_once<F: Future>(mut body: Pin<&mut Option<F>>, cx: &mut Context<'_>) -> Poll<F::Output> {
    let future = body.as_mut().as_pin_mut();
    let polled = future
        .expect("a future was polled after it was done")
        .poll(cx);
    if polled.is_ready() {
        if let Err(panic) = catch(|| body.set(None)) {
            discard(polled);
            panic.resume();
        }
    }
    polled
}

#[pinned_drop]
impl<F> PinnedDrop for Enclosed<F> {
    fn drop(self: Pin<&mut Self>) {
        if self.is_clear() {
            return;
        }
        if let Err(panic) = self.clear() {
            rethrow(panic);
        }
    }
}

impl<F> fmt::Debug for Enclosed<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enclosed").finish_non_exhaustive()
    }
}
