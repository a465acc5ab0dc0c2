//! The frame of a scope: what scopes and timeouts have in common.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project::pin_project;

use crate::{
    clock::{self, Alarm},
    error::Cause,
    frame::{self, Anchor, Enclosed, Limit, Node, Role},
    sim::Mark,
};

/// Makes the node of a scope that has a handle.
pub(super) fn node() -> Arc<dyn Node> {
    frame::new_node(Role::Scope)
}

/// A future in a scope.
///
/// Completes with `Err` when the scope was cancelled and its future dropped. When a scope further
/// out was cancelled as well, it never completes: that one drops it.
#[pin_project]
pub(super) struct Bounded<F> {
    #[pin]
    body: Enclosed<F>,
    /// What the scope is called, for reports.
    name: Option<Arc<str>>,
    alarm: Alarm,
    started: bool,
}

impl<F> Bounded<F> {
    pub(super) fn new(
        node: Option<Arc<dyn Node>>,
        name: Option<Arc<str>>,
        limit: Limit,
        body: F,
    ) -> Self {
        let anchor = match node {
            Some(node) => Anchor::with_node(node),
            None => Anchor::new(Role::Scope),
        };
        Self {
            body: Enclosed::with_anchor(anchor.limit(limit), body),
            name,
            alarm: Alarm::default(),
            started: false,
        }
    }
}

impl<F: Future> Future for Bounded<F> {
    type Output = Result<F::Output, Cause>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.as_mut().settle();
        // The body goes first: what is done when the deadline strikes counts as done.
        if self.as_mut().may_poll_body() {
            let mut this = self.as_mut().project();
            if let Poll::Ready(value) = this.body.as_mut().poll(cx) {
                this.alarm.disarm();
                this.body.anchor().leave();
                return Poll::Ready(Ok(value));
            }
        }
        self.as_mut().watch(cx);
        if self.as_mut().is_cut() {
            self.cut(cx)
        } else {
            self.tell();
            Poll::Pending
        }
    }
}

impl<F> Bounded<F> {
    /// Finds out where the scope is. At the first poll of one with a handle, its time begins.
    fn settle(self: Pin<&mut Self>) {
        let this = self.project();
        let anchor = this.body.anchor();
        anchor.settle();
        if !*this.started && anchor.node().is_some() {
            // Somebody has a handle, may ask it about what is further out, and may move the deadline.
            anchor.link();
            anchor.start(clock::now());
        }
    }

    /// Whether the body gets its turn: always once, and then until the scope is to be cut.
    fn may_poll_body(self: Pin<&mut Self>) -> bool {
        let this = self.project();
        let first = !std::mem::replace(this.started, true);
        let clear = this.body.is_clear();
        let anchor = this.body.anchor();
        first || !(clear || anchor.is_cancelled_itself() && anchor.is_idle())
    }

    /// Makes sure that whatever may end the scope wakes it, and cancels it if its time is up.
    fn watch(self: Pin<&mut Self>, cx: &mut Context<'_>) {
        let this = self.project();
        let anchor = this.body.anchor();
        anchor.watch_if_known(cx);
        if anchor.is_cancelled_itself() {
            return;
        }
        // Read once, for both.
        let now = (!anchor.is_started()).then(clock::now);
        if let Some(now) = now {
            anchor.start(now);
        }
        match anchor.deadline() {
            None => this.alarm.disarm(),
            Some(deadline) => {
                let now = now.unwrap_or_else(clock::now);
                if this.alarm.poll_at(now, deadline, cx).is_ready() {
                    anchor.cancel(Cause::Deadline);
                }
            }
        }
    }

    /// What the scope is called.
    pub(super) fn name(&self) -> Option<&Arc<str>> {
        self.name.as_ref()
    }

    /// Tells a test run that the scope waits.
    fn tell(self: Pin<&mut Self>) {
        let this = self.project();
        let anchor = this.body.anchor();
        frame::tell_mark(|| Mark::Scope {
            name: this.name.clone(),
            deadline: anchor.deadline(),
            is_cancelled: anchor.is_cancelled_itself(),
        });
    }

    /// Whether the scope was cancelled and nothing protected is left in it.
    fn is_cut(self: Pin<&mut Self>) -> bool {
        let anchor = self.project().body.anchor();
        anchor.is_cancelled_itself() && anchor.is_idle()
    }

    /// Drops the body, unless a scope further out is to do it.
    fn cut<T>(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, Cause>> {
        let mut this = self.project();
        if frame::due() {
            return this.body.anchor().leave_it(cx);
        }
        if let Err(panic) = this.body.as_mut().clear() {
            this.body.anchor().leave();
            panic.resume();
        }
        // The destructors may have cancelled more.
        if frame::due() {
            return this.body.anchor().leave_it(cx);
        }
        let anchor = this.body.anchor();
        let cause = anchor.cause().unwrap_or(Cause::Requested(None));
        anchor.leave();
        Poll::Ready(Err(cause))
    }
}
