//! How the ends of children get to the policy.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use pin_project::{pin_project, pinned_drop};

use super::ChildEnd;
use crate::{
    error::{Failure, FailureKind, catch},
    frame,
    lock::Mutex,
};

/// The ends that the policy has not been told of.
pub(super) struct Outcomes<T, E> {
    state: Mutex<State<T, E>>,
}

struct State<T, E> {
    ends: VecDeque<(usize, ChildEnd<T, E>)>,
    /// How many children were ever spawned.
    spawned: usize,
    /// How many of them have ended.
    ended: usize,
    /// Whether the policy has had enough.
    stopped: bool,
    /// Whether any child was cancelled before that.
    cut: bool,
    /// Wakes the one who tells the policy.
    waker: Option<Waker>,
}

impl<T, E> Default for Outcomes<T, E> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                ends: VecDeque::new(),
                spawned: 0,
                ended: 0,
                stopped: false,
                cut: false,
                waker: None,
            }),
        }
    }
}

impl<T, E> Outcomes<T, E> {
    /// Takes the end that came first.
    pub(super) fn take(&self) -> Option<(usize, ChildEnd<T, E>)> {
        self.state.lock().ends.pop_front()
    }

    /// Waits for an end to come. True if none will: no child is alive, and `no_more` will come.
    pub(super) fn poll_next(&self, no_more: bool, cx: &mut Context<'_>) -> Poll<bool> {
        let mut waker = Some(cx.waker().clone());
        let polled = {
            let mut state = self.state.lock();
            if !state.ends.is_empty() {
                Poll::Ready(false)
            } else if no_more && state.ended == state.spawned {
                Poll::Ready(true)
            } else {
                mem::swap(&mut state.waker, &mut waker);
                Poll::Pending
            }
        };
        drop(waker);
        polled
    }

    /// The policy has had enough.
    pub(super) fn stop(&self) {
        self.state.lock().stopped = true;
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.state.lock().stopped
    }

    /// Whether a child was cancelled, and not because the policy has had enough.
    pub(super) fn is_cut(&self) -> bool {
        self.state.lock().cut
    }

    fn enter(&self) -> usize {
        let mut state = self.state.lock();
        state.spawned += 1;
        state.spawned - 1
    }

    fn leave(&self, index: usize, end: ChildEnd<T, E>) {
        let waker = {
            let mut state = self.state.lock();
            state.ended += 1;
            state.cut |= matches!(end, ChildEnd::Cancelled) && !state.stopped;
            state.ends.push_back((index, end));
            state.waker.take()
        };
        frame::wake(waker);
    }
}

impl<T, E> fmt::Debug for Outcomes<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcomes").finish_non_exhaustive()
    }
}

/// The future of a child that leaves its end to the policy.
#[pin_project(PinnedDrop)]
pub(super) struct Reported<F, T, E> {
    /// `None` once it has ended.
    #[pin]
    body: Option<F>,
    index: usize,
    outcomes: Arc<Outcomes<T, E>>,
}

impl<F, T, E> Reported<F, T, E> {
    pub(super) fn new(outcomes: &Arc<Outcomes<T, E>>, body: F) -> Self {
        Self {
            body: Some(body),
            index: outcomes.enter(),
            outcomes: Arc::clone(outcomes),
        }
    }
}

impl<F, T, E> Future for Reported<F, T, E>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<(), E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(body) = this.body.as_mut().as_pin_mut() else {
            return Poll::Ready(Ok(()));
        };
        let end = match catch(|| body.poll(cx)) {
            Ok(polled) => match ready!(polled) {
                Ok(value) => ChildEnd::Value(value),
                Err(error) => failed(FailureKind::Error(error)),
            },
            Err(panic) => failed(FailureKind::Panic(panic)),
        };
        // It is gone before the policy hears of it.
        let dropped = catch(|| this.body.set(None));
        this.outcomes.leave(*this.index, end);
        if let Err(panic) = dropped {
            panic.resume();
        }
        Poll::Ready(Ok(()))
    }
}

/// Says that the running task failed.
fn failed<T, E>(kind: FailureKind<E>) -> ChildEnd<T, E> {
    match frame::current_member(|member| member.task.clone()) {
        Some(task) => ChildEnd::Failed(Failure::new(task, kind)),
        None => unreachable!("a child is polled as a member of its group"),
    }
}

#[pinned_drop]
impl<F, T, E> PinnedDrop for Reported<F, T, E> {
    fn drop(self: Pin<&mut Self>) {
        let mut this = self.project();
        if this.body.is_none() {
            return;
        }
        let dropped = catch(|| this.body.set(None));
        this.outcomes.leave(*this.index, ChildEnd::Cancelled);
        if let Err(panic) = dropped {
            frame::rethrow(panic);
        }
    }
}
