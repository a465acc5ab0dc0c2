//! Calls that block their thread.

mod call;
mod in_place;
mod lengths;
mod threads;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use self::call::{Call, Calling, Place, Progress};
pub(crate) use self::in_place::{Host, Open, Waiting, take};
use crate::{
    frame::{self, Anchor, Role},
    sim,
};

/// Makes a call that blocks its thread, where that is in nobody's way, and waits for it.
///
/// For what has no asynchronous form: files, name lookups, libraries that wait, computations of a second. A task
/// that blocks its thread keeps its neighbours from running; this lets them. To have a task that is
/// nothing but such a call, there is [`TaskGroup::spawn_blocking`](crate::TaskGroup::spawn_blocking). Tasks that
/// compute for a few milliseconds need neither: parallel tasks are on several threads already.
///
/// The call is part of the structure, as a task is:
///
/// - It begins when the future is first polled, and not at all if the surroundings have been cancelled
///   by then, or while it was waiting for its turn.
/// - A thread cannot be cut. So once the call has begun, the wait for it is [shielded](crate::shield()):
///   its value is returned, and the cancellation takes effect at the next wait. A call that may take long can
///   ask [`is_cancelled`](crate::is_cancelled()) and [`deadline`](crate::deadline()) from time to time: they
///   tell it of the scopes that it was begun in. It finds the [task-locals](crate::Local) of there, too.
/// - The group that it was begun in does not return while it runs, nor does [`run`](crate::run()), even if
///   somebody has dropped or forgotten the future.
///
/// It is the counterpart of Python's `asyncio.to_thread`, of `trio.to_thread.run_sync`, of
/// `withContext(Dispatchers.IO)` in Kotlin and of `spawn_blocking` in tokio.
///
/// # Threads
///
/// Calls are made on threads named `headcount-blocking`, which are shared by the whole process: 512 at most, started
/// as they are needed, and ended when they have been idle for 10 s. Calls are taken up in the order in which
/// they came, each by a thread of its own. So calls may wait for each other, if there are no more than 512
/// of them at a time. To have fewer of some kind there are
/// [`GroupBuilder::limit`](crate::GroupBuilder::limit) and [`Semaphore`](crate::sync::Semaphore), whose
/// permits can be kept across the wait.
///
/// While nearly all calls of the process take less than 100 µs, such as reading files that are in memory, threads
/// are spared: waking one costs as much. A worker thread then makes the call of a parallel task itself,
/// right after it has polled the task; other calls go to one thread, one after the other. If one of them
/// blocks after all, others take over what waits behind it within some 50 ms, and the next calls
/// have a thread each again.
///
/// A call may do what code on any other thread may: wait for locks and channels, wait for a
/// [`Task`](crate::Task) with `block_on`, spawn with a [`Spawner`](crate::Spawner), open a group, even call
/// [`run`](crate::run()). What it waits for is shielded as it is itself. Only a group that it waits for right away, in no
/// scope or combinator of its own, is cancelled with the caller, and returns to the call.
///
/// In a test run (the module `testing`) there are no other threads: each call is one step of the
/// schedule, and must not wait for tasks of the run, nor for other calls.
///
/// # Panics
///
/// A panic of the call goes on from here. Panics if the system refuses a thread when there is none
/// yet; and if it is polled again after it was done.
///
/// # Cancel safety
///
/// If the future is dropped from outside before the call has begun, by another crate's `select!` for example,
/// the call is dropped with it. A call that runs goes on: it is told that it has been cancelled, its value is
/// dropped when it has ended, and a panic is one more failure of the group that it was begun in.
///
/// # Examples
///
/// ```
/// use headcount::{run, unblock};
///
/// let manifest = run(async {
///     let read = unblock(|| std::fs::read_to_string("Cargo.toml")).await;
///     read.expect("this crate has one")
/// });
/// assert!(manifest.contains("headcount"));
/// ```
#[doc(alias = "to_thread")]
#[doc(alias = "run_in_executor")]
#[doc(alias = "block_in_place")]
pub fn unblock<T, F>(call: F) -> Unblock<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    Unblock {
        call: Some(Call::make(call)),
        anchor: Anchor::new(Role::Finalizer),
    }
}

/// The future returned by [`unblock`].
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Unblock<T> {
    /// `None` once it is done.
    call: Option<Arc<dyn Calling<T>>>,
    /// Protected while the call is waited for, and told when its surroundings are cancelled, as a finalizer
    /// is.
    anchor: Anchor,
}

/// Has a call run, in the name of the running code. True if that is right after this poll.
fn begin<T>(call: &Arc<dyn Calling<T>>) -> bool {
    let job = Arc::clone(call).queue(Place::here());
    if let Some(sim) = sim::current() {
        sim.call_later(Box::new(|| {
            job.run(&mut |waker| frame::wake([waker]));
        }));
        return false;
    }
    in_place::offer(job).map_err(threads::submit).is_ok()
}

impl<T> Future for Unblock<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.anchor.settle();
        let call = self.call.clone();
        let call = call.expect("an `unblock` was polled after it was done");
        let mut runs_at_once = false;
        loop {
            match call.look(cx.waker()) {
                Progress::New => {
                    self.anchor.unprotect();
                    if frame::due() {
                        // What has been cancelled does not begin anything.
                        return self.anchor.leave_it(cx);
                    }
                    runs_at_once = begin(&call);
                }
                Progress::Waits => {
                    self.anchor.protect();
                    if !runs_at_once {
                        self.anchor.watch(cx.waker());
                    }
                    // It may be waiting for its turn still.
                    if !frame::cancelled() || !call.withdraw() {
                        return Poll::Pending;
                    }
                }
                Progress::Ended(ended) => {
                    self.call = None;
                    self.anchor.leave();
                    if let Some(group) = &ended.aborted_in {
                        frame::note_aborted(group);
                    }
                    return Poll::Ready(ended.result.unwrap_or_else(|no_value| no_value.resume()));
                }
            }
        }
    }
}

impl<T> Drop for Unblock<T> {
    /// Takes the call back, or leaves it to the group, cancelled.
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            call.abandon();
        }
    }
}

impl<T> fmt::Debug for Unblock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unblock")
            .field("is_done", &self.call.is_none())
            .finish_non_exhaustive()
    }
}
