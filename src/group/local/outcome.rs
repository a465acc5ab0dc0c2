//! A borrowing child, and what its handle shares with it.

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker, ready},
};

use pin_project::{pin_project, pinned_drop};

use super::{Borrowing, BoxLocal, waker::LocalWaker};
use crate::{
    error::{Aborted, TaskInfo},
    frame::{self, Home},
    group::{
        child::{Child, Ticket, Value},
        hub::Hub,
    },
    lock::Mutex,
};

/// Makes a borrowing child, and the place for its result.
#[inline]
pub(super) fn make<'env, T, E, F>(
    hub: &Arc<Hub>,
    task: TaskInfo,
    body: F,
) -> (BoxLocal<'env>, Arc<Outcome<T>>)
where
    T: Send + 'env,
    E: Send + 'static,
    F: Future<Output = Result<T, E>> + Send + 'env,
{
    let outcome = Arc::new(Outcome {
        ticket: Ticket {
            hub: Arc::clone(hub),
            task,
        },
        state: Mutex::new(Stage::Running(None, None)),
    });
    let child = Box::pin(Reporting {
        child: Child::<F, E>::new_local(body),
        outcome: Some(Arc::clone(&outcome)),
    });
    (child, outcome)
}

/// A child that leaves its result where its handle finds it.
#[pin_project(PinnedDrop)]
struct Reporting<F, T, E> {
    #[pin]
    child: Child<F, E>,
    /// `None` once it is settled, or if it had no handle any more when it first waited.
    outcome: Option<Arc<Outcome<T>>>,
}

#[pinned_drop]
impl<F, T, E> PinnedDrop for Reporting<F, T, E> {
    /// Whoever awaits the handle of a child that is dropped where it stands must hear of it.
    fn drop(self: Pin<&mut Self>) {
        let mut this = self.project();
        if let Some(outcome) = this.outcome.take() {
            this.child.as_mut().clear();
            outcome.settle(Err(Aborted::Cancelled));
        }
    }
}

impl<F, T, E> Borrowing for Reporting<F, T, E>
where
    F: Future<Output = Result<T, E>>,
    E: Send + 'static,
{
    fn task(&self) -> &TaskInfo {
        let outcome = self.outcome.as_ref();
        &outcome.expect("the child has not rested").ticket.task
    }

    fn rest(self: Pin<&mut Self>, own: &Arc<LocalWaker>) {
        let known = self.project().outcome;
        match known {
            Some(outcome) if Outcome::is_unwanted(outcome) => *known = None,
            Some(outcome) => outcome.show_waker(own),
            None => {}
        }
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let result = ready!(this.child.poll(cx));
        match this.outcome.take() {
            Some(outcome) => outcome.settle(result),
            None => drop(result),
        }
        Poll::Ready(())
    }
}

/// The result of a borrowing child, shared with its handle.
pub(in crate::group) struct Outcome<T> {
    ticket: Ticket,
    state: Mutex<Stage<T>>,
}

/// How far a borrowing child has got, as its handle sees it.
enum Stage<T> {
    /// It runs. The wakers are that of whoever awaits the handle, and the child's, if it waits.
    Running(Option<Waker>, Option<Arc<LocalWaker>>),
    /// It is gone; the value is `None` once it has been taken.
    Gone(Result<Option<Value<T>>, Aborted>),
    /// The handle, which has waited, is dropped.
    Unwanted,
}

impl<T> Outcome<T> {
    /// Who the child is, and in which group.
    pub(in crate::group) fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    /// Whether only the child is left to know of this.
    fn is_unwanted(this: &Arc<Self>) -> bool {
        Arc::strong_count(this) == 1
    }

    /// Keeps the result for the handle, if there still is one.
    fn settle(self: Arc<Self>, result: Result<Value<T>, Aborted>) {
        if Self::is_unwanted(&self) {
            return;
        }
        let mut result = Some(result);
        let before = {
            let mut stage = self.state.lock();
            match *stage {
                Stage::Unwanted => None,
                _ => result
                    .take()
                    .map(|result| mem::replace(&mut *stage, Stage::Gone(result.map(Some)))),
            }
        };
        if let Some(Stage::Running(waker, _)) = before {
            frame::wake(waker);
        }
    }

    /// Takes the result, or leaves the waker.
    pub(in crate::group) fn poll(&self, waker: &Waker) -> Poll<Result<T, Aborted>> {
        let waker = waker.clone();
        let (polled, _waker) = {
            let mut stage = self.state.lock();
            match &mut *stage {
                Stage::Running(known, _) => (Poll::Pending, known.replace(waker)),
                Stage::Gone(result) => {
                    let result = match result {
                        Ok(value) => Ok(value
                            .take()
                            .and_then(Value::take)
                            .expect("a task was polled after it was done")),
                        Err(aborted) => Err(*aborted),
                    };
                    (Poll::Ready(result), Some(waker))
                }
                Stage::Unwanted => (Poll::Pending, Some(waker)),
            }
        };
        polled
    }

    pub(in crate::group) fn is_finished(&self) -> bool {
        matches!(*self.state.lock(), Stage::Gone(_))
    }

    /// Has the handle know the waker of the child, which waits for the first time.
    fn show_waker(&self, own: &Arc<LocalWaker>) {
        if let Stage::Running(_, known) = &mut *self.state.lock() {
            *known = Some(Arc::clone(own));
        }
        // It may have been cancelled through the handle before.
        if self.ticket.hub.is_marked(self.ticket.task.id()) {
            own.wake_by_ref();
        }
    }

    /// Wakes the child, if it waits.
    pub(in crate::group) fn wake_child(&self) {
        let own = match &*self.state.lock() {
            Stage::Running(_, own) => own.clone(),
            _ => None,
        };
        if let Some(own) = own {
            own.wake();
        }
    }

    /// The handle, which may have left its waker, is dropped.
    pub(in crate::group) fn let_go(&self) {
        let before = mem::replace(&mut *self.state.lock(), Stage::Unwanted);
        frame::dispose(before);
    }
}

impl<T> fmt::Debug for Outcome<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcome").finish_non_exhaustive()
    }
}
