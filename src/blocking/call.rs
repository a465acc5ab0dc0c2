//! A call, and what becomes of it.

use std::{mem, sync::Arc, task::Waker};

use crate::{
    error::{Cause, Panic, RawFailure, catch},
    frame::{self, Anchor, Home, Member, Node, Role, Spot, Ward, Whose},
    locals::Snapshot,
    lock::Mutex,
};

/// A call, as whoever runs it sees it.
pub(super) trait Job: Send + Sync {
    /// Runs the call, unless it was taken back. True if it was run. `wake` gets what wakes whoever waits.
    fn run(self: Arc<Self>, wake: &mut dyn FnMut(Waker)) -> bool;

    /// Says that the call will not be run.
    fn refuse(&self, why: &str);
}

/// A call, as whoever waits for it sees it.
pub(super) trait Calling<T>: Send + Sync {
    /// Makes the call one that is to be run.
    fn queue(self: Arc<Self>, place: Place) -> Arc<dyn Job>;

    /// Takes what the call has come to, or leaves the waker.
    fn look(&self, waker: &Waker) -> Progress<T>;

    /// Takes the call back if it does not run yet; true if it was, or had been before. It may be queued again.
    fn withdraw(&self) -> bool;

    /// Nobody waits for the call any more. If it runs, it is told so, and the group waits for it.
    fn abandon(&self);
}

/// How far a call has got, for whoever waits for it.
pub(super) enum Progress<T> {
    /// Nobody has been asked to run it; or it was taken back, since it had been cancelled.
    New,
    /// It is to be run, or runs.
    Waits,
    Ended(Ended<T>),
}

/// What a call has come to.
pub(super) struct Ended<T> {
    pub(super) result: Result<T, NoValue>,
    /// The group of the task, if the call got an [`Aborted`](crate::Aborted) from another task of it.
    pub(super) aborted_in: Option<Arc<dyn Home>>,
}

/// Why there is no value.
pub(super) enum NoValue {
    Panicked(Panic),
    /// There was no thread, and why.
    Refused(Box<str>),
}

impl NoValue {
    /// Panics in the name of the call.
    pub(super) fn resume(self) -> ! {
        match self {
            Self::Panicked(panic) => panic.resume(),
            Self::Refused(why) => panic!(
                "cannot start a thread for blocking calls ({why}); have fewer threads, or allow the \
                 process more of them"
            ),
        }
    }
}

/// Where a call is waited for. It runs under the same scopes, as the same task, with the same task-locals.
pub(super) struct Place {
    spot: Spot,
    locals: Snapshot,
}

impl Place {
    /// Where the running code is.
    pub(super) fn here() -> Self {
        Self {
            spot: Spot::here(),
            locals: Snapshot::take(),
        }
    }

    /// Drops what is not needed any more. The task-locals may be the last of their kind, and anybody's.
    fn discard(self) {
        let Self { spot, locals } = self;
        spot.visit(|| frame::dispose(locals));
    }
}

/// A call that blocks.
pub(super) struct Call<T, F> {
    state: Mutex<State<T, F>>,
}

struct State<T, F> {
    stage: Stage<T, F>,
    /// Wakes whoever waits.
    waker: Option<Waker>,
}

/// How far a call has got.
enum Stage<T, F> {
    /// Nobody has been asked to run it, or it was taken back.
    New(F),
    Queued(F, Place),
    /// It runs, under this scope of its own.
    Running(Arc<dyn Node>),
    /// It runs, and nobody waits for it but the group.
    Abandoned,
    Ended(Ended<T>),
    /// What it has come to was taken.
    Over,
}

impl<T, F> Call<T, F>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    pub(super) fn make(call: F) -> Arc<dyn Calling<T>> {
        Arc::new(Self {
            state: Mutex::new(State {
                stage: Stage::New(call),
                waker: None,
            }),
        })
    }
}

impl<T, F> Call<T, F> {
    /// Takes the call out, to run it under a scope, and has the group wait for it: the future may be forgotten.
    /// If the call has been cancelled, that is for whoever waits to see: `Err` says what wakes them.
    fn take(&self, scope: &Arc<dyn Node>) -> Result<(F, Place, Option<Whose>), Option<Waker>> {
        let mut state = self.state.lock();
        match mem::replace(&mut state.stage, Stage::Over) {
            Stage::Queued(call, place) if place.spot.is_cancelled() => {
                state.stage = Stage::New(call);
                let waker = state.waker.take();
                drop(state);
                // Whoever waits has to be woken, whatever this does.
                place.discard();
                Err(waker)
            }
            Stage::Queued(call, place) => {
                state.stage = Stage::Running(Arc::clone(scope));
                // Under the lock: from now on the task may go on without the call.
                let guardian = place.spot.member().cloned().and_then(adopt);
                Ok((call, place, guardian))
            }
            stage => {
                state.stage = stage;
                Err(None)
            }
        }
    }

    /// Says what the call has come to. The group need not wait for it any more.
    fn end(&self, ended: Ended<T>, guardian: Option<Whose>, wake: &mut dyn FnMut(Waker)) {
        let (left, waker) = {
            let mut state = self.state.lock();
            let left = match mem::replace(&mut state.stage, Stage::Over) {
                Stage::Abandoned => Some(ended.result),
                _ => {
                    state.stage = Stage::Ended(ended);
                    None
                }
            };
            (left, state.waker.take())
        };
        if let Some(left) = left {
            discard(left, guardian.as_ref());
        }
        waker.into_iter().for_each(wake);
        if let Some((home, _)) = guardian {
            frame::release(home, Ward::Call);
        }
    }
}

/// Has a group wait for a call: that of the task, or the nearest one further out.
fn adopt((home, task): Whose) -> Option<Whose> {
    frame::adopt(Some(home), Ward::Call).map(|home| (home, task))
}

/// Drops what a call has come to that nobody waits for. A panic is a failure of the group.
fn discard<T>(result: Result<T, NoValue>, group: Option<&Whose>) {
    let dropped = match result {
        Err(NoValue::Panicked(panic)) => Err(panic),
        result => catch(|| drop(result)),
    };
    match (dropped, group.cloned()) {
        (Ok(()), _) => {}
        (Err(panic), Some((home, task))) => frame::report(home, RawFailure::panic(task, panic)),
        (Err(panic), None) => frame::report_panic(panic),
    }
}

impl<T, F> Job for Call<T, F>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    fn run(self: Arc<Self>, wake: &mut dyn FnMut(Waker)) -> bool {
        let scope = frame::new_node(Role::Call);
        let (call, Place { spot, locals }, guardian) = match self.take(&scope) {
            Ok(taken) => taken,
            Err(waker) => {
                waker.into_iter().for_each(wake);
                return false;
            }
        };
        spot.visit(|| {
            let mut scope = Anchor::with_node(scope);
            let result = scope.within(None, || {
                let _entered = locals.enter();
                catch(call)
            });
            // What they have may be the last of its kind, and is to be gone before anybody goes on.
            frame::dispose(locals);
            scope.leave();
            let saw_aborted = |member: &mut Member| {
                let home = member.saw_aborted.then_some(&member.home);
                home.map(Arc::clone)
            };
            let ended = Ended {
                result: result.map_err(NoValue::Panicked),
                aborted_in: frame::current_member(saw_aborted).flatten(),
            };
            self.end(ended, guardian, wake);
        });
        true
    }

    fn refuse(&self, why: &str) {
        match self.take(&frame::new_node(Role::Call)) {
            Ok((call, place, guardian)) => {
                frame::dispose(call);
                place.discard();
                let ended = Ended {
                    result: Err(NoValue::Refused(why.into())),
                    aborted_in: None,
                };
                self.end(ended, guardian, &mut |waker| frame::wake([waker]));
            }
            Err(waker) => frame::wake(waker),
        }
    }
}

impl<T, F> Calling<T> for Call<T, F>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    fn queue(self: Arc<Self>, place: Place) -> Arc<dyn Job> {
        {
            let mut state = self.state.lock();
            state.stage = match mem::replace(&mut state.stage, Stage::Over) {
                Stage::New(call) => Stage::Queued(call, place),
                stage => stage,
            };
        }
        self
    }

    fn look(&self, waker: &Waker) -> Progress<T> {
        let waker = waker.clone();
        let (progress, waker) = {
            let mut state = self.state.lock();
            match mem::replace(&mut state.stage, Stage::Over) {
                Stage::Ended(ended) => (Progress::Ended(ended), Some(waker)),
                Stage::New(call) => {
                    state.stage = Stage::New(call);
                    (Progress::New, Some(waker))
                }
                stage => {
                    state.stage = stage;
                    (Progress::Waits, state.waker.replace(waker))
                }
            }
        };
        // It may be anybody's, and there may be a value that is not to be lost.
        frame::dispose(waker);
        progress
    }

    fn withdraw(&self) -> bool {
        let mut state = self.state.lock();
        match mem::replace(&mut state.stage, Stage::Over) {
            Stage::Queued(call, place) => {
                state.stage = Stage::New(call);
                drop(state);
                place.discard();
                true
            }
            stage => {
                let is_new = matches!(stage, Stage::New(_));
                state.stage = stage;
                is_new
            }
        }
    }

    fn abandon(&self) {
        let (before, waker) = {
            let mut state = self.state.lock();
            let before = mem::replace(&mut state.stage, Stage::Over);
            if matches!(before, Stage::Running(_)) {
                state.stage = Stage::Abandoned;
            }
            (before, state.waker.take())
        };
        frame::dispose(waker);
        match before {
            Stage::Running(scope) => scope.cancel(Cause::Dropped),
            Stage::Ended(ended) => discard(ended.result, None),
            unused => catch(|| drop(unused)).unwrap_or_else(frame::rethrow),
        }
    }
}

/// A call to nobody, for tests of who would make it.
#[cfg(test)]
pub(super) struct Nothing;

#[cfg(test)]
impl Job for Nothing {
    fn run(self: Arc<Self>, _wake: &mut dyn FnMut(Waker)) -> bool {
        true
    }

    fn refuse(&self, _why: &str) {}
}
