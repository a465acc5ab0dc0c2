//! The frame of a scope: what scopes and timeouts have in common.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use pin_project::pin_project;

use crate::{
    clock::{self, Alarm},
    error::Cause,
    frame::{self, Anchor, Enclosed, Node, Role},
    sim::Mark,
};

/// Until when a scope may run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limit {
    /// Until this time.
    pub(super) at: Option<Instant>,
    /// For so long, from the first poll.
    pub(super) after: Option<Duration>,
}

impl Limit {
    /// The deadline that this limit amounts to if the scope starts now.
    fn start(self) -> Option<Instant> {
        let after = self.after.and_then(clock::after);
        self.at.into_iter().chain(after).min()
    }
}

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
    limit: Limit,
    /// The deadline that `limit` amounts to; for a scope with a handle, the node has it.
    deadline: Option<Instant>,
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
            body: Enclosed::with_anchor(anchor, body),
            name,
            limit,
            deadline: None,
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
            let deadline = *this.deadline;
            if let Poll::Ready(value) = this.body.as_mut().poll(deadline, cx) {
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
    /// Finds out where the scope is, and what its deadline is at the first poll.
    fn settle(self: Pin<&mut Self>) {
        let this = self.project();
        let anchor = this.body.anchor();
        anchor.settle();
        if !*this.started {
            if anchor.node().is_some() {
                // Somebody has a handle, and may ask it about what is further out.
                anchor.link();
            }
            let deadline = this.limit.start();
            match anchor.node() {
                Some(node) => node.state().start_deadline(deadline),
                None => *this.deadline = deadline,
            }
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
        let deadline = match anchor.node() {
            Some(node) => node.state().deadline(),
            None => *this.deadline,
        };
        match deadline {
            None => this.alarm.disarm(),
            Some(deadline) => {
                if this.alarm.poll(deadline, cx).is_ready() {
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
            deadline: match anchor.node() {
                Some(node) => node.state().deadline(),
                None => *this.deadline,
            },
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
