//! Every life that a task of a group can have, enumerated: how it ends, when, what kind of task it
//! is, what becomes of its group meanwhile, and whether something shields it.
//!
//! Laws 1, 2, 3 and 6 are checked for each: every value is dropped exactly once, nobody is alive
//! after the group (after the group around, if it was dropped), every failure is told exactly once,
//! and group and handle say what the laws say.

mod common;

use std::{
    fmt,
    future::{Future, pending},
    pin::{Pin, pin},
    sync::Mutex,
    task::{Context, Poll},
    time::Duration,
};

use common::{
    Census, Counted, Gate, OnDrop, for_ever, keep_quiet_about_purpose, leaves_of, let_others_run,
    on_threads,
};
use futures_lite::future::{poll_once, yield_now};
use headcount::{
    Aborted, Error, Policy, ScopeHandle, Task, TaskGroup, finally, group, shield, timeout,
};

/// How the task ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Returns,
    Fails,
    Panics,
    /// It waits for ever; in a cleanup or a finalizer, for longer than the limit it has set itself.
    Pends,
    /// Its future panics when it is dropped, be it done or not.
    PanicsOnDrop,
}

/// When it comes to that.
#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    FirstPoll,
    Later,
    /// After its group was cancelled. What nothing protects gets no turn then, so a plain task
    /// cancels its group itself and ends in the same step.
    WhileCancelled,
    /// In the cleanup of a `finally`.
    InCleanup,
}

/// What kind of task it is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Spawn,
    SpawnLocal,
    Deferred,
}

/// What becomes of the group.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Joined,
    Cancelled,
    PastDeadline,
    Dropped,
}

/// Whether the end comes inside a shield. A task that waits for ever does so *after* one.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cover {
    Plain,
    Shielded,
}

#[derive(Clone, Copy)]
struct Life {
    end: End,
    when: When,
    kind: Kind,
    fate: Fate,
    cover: Cover,
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            end,
            when,
            kind,
            fate,
            cover,
        } = self;
        write!(f, "{kind:?} {end:?} {when:?}, group {fate:?}, {cover:?}")
    }
}

const ENDS: [End; 5] = [
    End::Returns,
    End::Fails,
    End::Panics,
    End::Pends,
    End::PanicsOnDrop,
];
const WHENS: [When; 4] = [
    When::FirstPoll,
    When::Later,
    When::WhileCancelled,
    When::InCleanup,
];
const KINDS: [Kind; 3] = [Kind::Spawn, Kind::SpawnLocal, Kind::Deferred];
const FATES: [Fate; 4] = [
    Fate::Joined,
    Fate::Cancelled,
    Fate::PastDeadline,
    Fate::Dropped,
];
const COVERS: [Cover; 2] = [Cover::Plain, Cover::Shielded];

/// All combinations, those that make no sense included.
fn lives() -> impl Iterator<Item = Life> {
    KINDS.into_iter().flat_map(|kind| {
        FATES.into_iter().flat_map(move |fate| {
            ENDS.into_iter().flat_map(move |end| {
                WHENS.into_iter().flat_map(move |when| {
                    COVERS.into_iter().map(move |cover| Life {
                        end,
                        when,
                        kind,
                        fate,
                        cover,
                    })
                })
            })
        })
    })
}

impl Life {
    /// Why a combination cannot be, if it cannot.
    fn makes_no_sense(self) -> Option<&'static str> {
        match self {
            Self {
                when: When::WhileCancelled,
                fate: Fate::Joined,
                ..
            } => Some("nobody cancels a group that is just joined"),
            Self {
                end: End::Fails,
                kind: Kind::Deferred,
                ..
            } => Some("a deferred finalizer returns nothing that could be an error"),
            Self {
                end: End::Fails,
                when: When::InCleanup,
                ..
            } => Some("a cleanup returns nothing that could be an error"),
            Self {
                end: End::Pends,
                when: When::FirstPoll | When::Later,
                kind: Kind::Spawn | Kind::SpawnLocal,
                fate: Fate::Joined,
                ..
            } => Some("a group waits for a task that waits for ever, as it should"),
            _ => None,
        }
    }

    /// Whether the task gets as far as its end. What nothing protects is cut before, and so is what
    /// borrows when the group is dropped, whatever protects it.
    fn gets_to_its_end(self) -> bool {
        match (self.kind, self.fate, self.when) {
            (Kind::SpawnLocal, Fate::Dropped, When::WhileCancelled | When::InCleanup) => false,
            (Kind::Spawn, Fate::Dropped, When::WhileCancelled) => self.cover == Cover::Shielded,
            _ => true,
        }
    }

    /// What is to be told of it.
    fn failures(self) -> &'static [&'static str] {
        match self.end {
            End::PanicsOnDrop => &["panic: on purpose: dropped"],
            End::Panics if self.gets_to_its_end() => &["panic: on purpose"],
            End::Fails if self.gets_to_its_end() => &["on purpose"],
            _ => &[],
        }
    }

    /// What the handle says, where that is promised.
    fn handle(self) -> Option<Result<(), Aborted>> {
        let cut_in_the_body = self.when == When::InCleanup && self.fate != Fate::Joined;
        match self.end {
            // Whether the value or the panic came first is nobody's business.
            End::PanicsOnDrop => None,
            _ if !self.gets_to_its_end() => Some(Err(Aborted::Cancelled)),
            End::Fails | End::Panics => Some(Err(Aborted::Failed)),
            End::Returns | End::Pends if cut_in_the_body => Some(Err(Aborted::Cancelled)),
            End::Pends if self.when != When::InCleanup => Some(Err(Aborted::Cancelled)),
            End::Returns | End::Pends => Some(Ok(())),
        }
    }

    /// Whether the body of the group returns its value before anybody cancels it.
    fn body_returns(self) -> bool {
        let too_late = self.kind == Kind::Deferred && self.when == When::WhileCancelled;
        self.fate == Fate::Joined || too_late
    }

    /// Cuts the group short, unless that is done by dropping it.
    fn cut(self, scope: &ScopeHandle) {
        match self.fate {
            Fate::Cancelled => scope.cancel(),
            Fate::PastDeadline => scope.set_deadline(Some(headcount::now())),
            Fate::Joined | Fate::Dropped => {}
        }
    }
}

/// Where task, body and test meet.
#[derive(Clone, Default)]
struct Stage {
    /// The task has had its first poll.
    begun: Gate,
    /// It is in the step in which it ends.
    ending: Gate,
    /// The group has been cut.
    cut: Gate,
    /// Counts what the task owns, and what it returns.
    owned: Census,
    returned: Census,
}

impl Stage {
    /// Whether the task has got to where its group is to be dropped.
    fn may_be_dropped(&self, life: Life) -> bool {
        match (life.kind, life.when) {
            (Kind::Deferred, When::WhileCancelled) => self.begun.is_open(),
            (Kind::Deferred, _) => true,
            (_, When::FirstPoll | When::Later) => self.ending.is_open(),
            (_, When::WhileCancelled | When::InCleanup) => self.begun.is_open(),
        }
    }
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A future that panics when it is dropped, after what is in it is gone.
struct Bomb<T> {
    inner: Boxed<T>,
    _goes_off: OnDrop<fn()>,
}

impl<T> Future for Bomb<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.inner.as_mut().poll(cx)
    }
}

/// Makes a future one that panics when it is dropped, if that is the life to be had.
fn armed<T: 'static>(life: Life, inner: Boxed<T>) -> Boxed<T> {
    if life.end != End::PanicsOnDrop {
        return inner;
    }
    let goes_off: fn() = || panic!("on purpose: dropped");
    Box::pin(Bomb {
        inner,
        _goes_off: OnDrop::new(goes_off),
    })
}

/// The end of a task.
async fn end(life: Life, value: Counted) -> Result<Counted, Error> {
    let now = async {
        match life.end {
            End::Returns => Ok(value),
            End::Fails => Err("on purpose".into()),
            End::Panics => panic!("on purpose"),
            End::PanicsOnDrop if life.fate == Fate::Joined => Ok(value),
            End::Pends | End::PanicsOnDrop => pending().await,
        }
    };
    match (life.cover, life.end) {
        (Cover::Plain, _) => now.await,
        (Cover::Shielded, End::Pends | End::PanicsOnDrop) => {
            shield(yield_now()).await;
            now.await
        }
        (Cover::Shielded, _) => shield(now).await,
    }
}

/// The end of a cleanup or of a deferred finalizer.
async fn end_of_cleanup(life: Life) {
    let now = async {
        match life.end {
            End::Returns | End::PanicsOnDrop => {}
            End::Fails => unreachable!("it makes no sense"),
            End::Panics => panic!("on purpose"),
            End::Pends => {
                let late = timeout(Duration::ZERO, pending::<()>()).await;
                assert!(late.is_err());
            }
        }
    };
    match life.cover {
        Cover::Plain => now.await,
        Cover::Shielded => shield(now).await,
    }
}

/// A task that leads this life.
fn task(life: Life, stage: Stage, scope: ScopeHandle) -> Boxed<Result<Counted, Error>> {
    let (owned, returned) = (stage.owned.enter(), stage.returned.enter());
    if life.when == When::InCleanup {
        let cleanup = armed(life, {
            let owned = stage.owned.enter();
            Box::pin(async move {
                let _owned = owned;
                yield_now().await;
                end_of_cleanup(life).await;
            })
        });
        return Box::pin(async move {
            let _owned = owned;
            let body = async {
                stage.begun.open();
                if life.fate != Fate::Joined {
                    pending::<()>().await;
                }
                Ok(returned)
            };
            finally(body, cleanup).await
        });
    }
    armed(
        life,
        Box::pin(async move {
            let _owned = owned;
            stage.begun.open();
            match (life.when, life.cover) {
                (When::Later, _) => yield_now().await,
                (When::WhileCancelled, Cover::Plain) if life.fate == Fate::Dropped => {
                    pending().await
                }
                (When::WhileCancelled, Cover::Plain) => life.cut(&scope),
                (When::WhileCancelled, Cover::Shielded) => {
                    // One shield for the wait and the end: no wait in between to be cut at.
                    let outcome = shield(async {
                        stage.cut.wait().await;
                        match life.end {
                            End::Pends | End::PanicsOnDrop => None,
                            _ => Some(end(life, returned).await),
                        }
                    });
                    return match outcome.await {
                        Some(outcome) => outcome,
                        None => pending().await,
                    };
                }
                (When::FirstPoll | When::InCleanup, _) => {}
            }
            stage.ending.open();
            end(life, returned).await
        }),
    )
}

/// A deferred finalizer that leads this life.
fn finalizer(life: Life, stage: Stage, scope: ScopeHandle) -> Boxed<()> {
    let owned = stage.owned.enter();
    armed(
        life,
        Box::pin(async move {
            let _owned = owned;
            stage.begun.open();
            match life.when {
                When::FirstPoll => {}
                When::Later => yield_now().await,
                When::WhileCancelled if life.fate == Fate::Dropped => stage.cut.wait().await,
                When::WhileCancelled => {
                    life.cut(&scope);
                    yield_now().await;
                }
                When::InCleanup => {
                    return finally(yield_now(), end_of_cleanup(life)).await;
                }
            }
            end_of_cleanup(life).await;
        }),
    )
}

/// The body of the group.
async fn body(life: Life, stage: &Stage, scope: &ScopeHandle) -> Result<(), Error> {
    if life.body_returns() {
        return Ok(());
    }
    if life.fate == Fate::Dropped {
        // Whatever happens in the group, it is still there to be dropped.
        return shield(for_ever()).await;
    }
    match (life.kind, life.when, life.cover) {
        (Kind::Deferred, ..) => {}
        (_, When::WhileCancelled, Cover::Plain) => return for_ever().await,
        (_, When::FirstPoll | When::Later, _) => shield(stage.ending.wait()).await,
        (_, When::WhileCancelled | When::InCleanup, _) => shield(stage.begun.wait()).await,
    }
    life.cut(scope);
    stage.cut.open();
    for_ever().await
}

/// Lives a life, and checks everything that is promised about it.
async fn live(life: Life, policy: Policy) {
    let stage = Stage::default();
    let handle: Mutex<Option<Task<Counted>>> = Mutex::default();
    let around = group(async |_around| {
        let outcome = {
            let mut inner = pin!(TaskGroup::builder().policy(policy).run(async |g| {
                let (there, scope) = (stage.clone(), g.scope());
                let spawned = match life.kind {
                    Kind::Spawn => Some(g.spawn(task(life, there, scope.clone()))),
                    Kind::SpawnLocal => Some(g.spawn_local(task(life, there, scope.clone()))),
                    Kind::Deferred => {
                        g.defer(finalizer(life, there, scope.clone()));
                        None
                    }
                };
                *handle.lock().expect("nothing panics while it holds it") = spawned;
                body(life, &stage, &scope).await
            }));
            if life.fate == Fate::Dropped {
                loop {
                    let polled = poll_once(inner.as_mut()).await;
                    assert!(polled.is_none(), "nothing is left to be dropped: {life}");
                    if stage.may_be_dropped(life) {
                        break;
                    }
                    let_others_run().await;
                }
                None
            } else {
                Some(inner.await)
            }
        };
        match &outcome {
            Some(_) => assert_eq!(stage.owned.alive(), 0, "what the task owned is gone"),
            None => {
                if life.kind == Kind::SpawnLocal {
                    assert_eq!(stage.owned.alive(), 0, "what borrows is gone with the drop");
                }
                stage.cut.open();
            }
        }
        Ok(outcome)
    });
    let failures = match around.await {
        Ok(Some(Ok(()))) => {
            assert!(
                life.body_returns(),
                "the body did not return a value: {life}"
            );
            Vec::new()
        }
        Ok(Some(Err(failed))) => {
            assert!(!failed.is_empty() || failed.is_cancelled(), "{life}");
            if failed.is_empty() {
                assert!(!life.body_returns(), "the body returned a value: {life}");
            }
            leaves_of(&failed)
        }
        Ok(None) => Vec::new(),
        Err(failed) => {
            assert_eq!(life.fate, Fate::Dropped, "{life}: {failed:#}");
            leaves_of(&failed)
        }
    };
    assert_eq!(
        failures,
        life.failures(),
        "what is told: {life}, {policy:?}"
    );
    assert_eq!(
        stage.owned.alive(),
        0,
        "what the task owned is gone: {life}"
    );

    let handle = handle
        .into_inner()
        .expect("nothing panics while it holds it");
    if let Some(handle) = handle {
        assert!(handle.is_finished(), "{life}");
        let outcome = handle.await.map(drop);
        if let Some(expected) = life.handle() {
            assert_eq!(outcome, expected, "the handle: {life}, {policy:?}");
        }
    }
    assert_eq!(
        stage.returned.alive(),
        0,
        "what the task returned is gone: {life}"
    );
}

/// Lives all lives of a kind of task in a group of a certain fate.
fn live_all(kind: Kind, fate: Fate) {
    keep_quiet_about_purpose();
    let sensible = lives()
        .filter(|life| (life.kind, life.fate) == (kind, fate) && life.makes_no_sense().is_none());
    for life in sensible {
        for policy in [Policy::FailFast, Policy::Collect] {
            on_threads(|| live(life, policy));
        }
    }
}

/// The combinations that are left out are those with a reason, and no others.
#[test]
fn every_combination_is_lived_or_explained() {
    let all = ENDS.len() * WHENS.len() * KINDS.len() * FATES.len() * COVERS.len();
    assert_eq!(lives().count(), all);
    let mut left_out = std::collections::BTreeMap::new();
    for reason in lives().filter_map(Life::makes_no_sense) {
        *left_out.entry(reason).or_insert(0) += 1;
    }
    let left_out: Vec<_> = left_out.into_iter().collect();
    assert_eq!(
        left_out,
        [
            ("a cleanup returns nothing that could be an error", 16),
            (
                "a deferred finalizer returns nothing that could be an error",
                30
            ),
            (
                "a group waits for a task that waits for ever, as it should",
                8
            ),
            ("nobody cancels a group that is just joined", 30),
        ]
    );
}

#[test]
fn parallel_tasks_of_a_joined_group() {
    live_all(Kind::Spawn, Fate::Joined);
}

#[test]
fn parallel_tasks_of_a_cancelled_group() {
    live_all(Kind::Spawn, Fate::Cancelled);
}

#[test]
fn parallel_tasks_of_a_group_past_its_deadline() {
    live_all(Kind::Spawn, Fate::PastDeadline);
}

#[test]
fn parallel_tasks_of_a_dropped_group() {
    live_all(Kind::Spawn, Fate::Dropped);
}

#[test]
fn borrowing_tasks_of_a_joined_group() {
    live_all(Kind::SpawnLocal, Fate::Joined);
}

#[test]
fn borrowing_tasks_of_a_cancelled_group() {
    live_all(Kind::SpawnLocal, Fate::Cancelled);
}

#[test]
fn borrowing_tasks_of_a_group_past_its_deadline() {
    live_all(Kind::SpawnLocal, Fate::PastDeadline);
}

#[test]
fn borrowing_tasks_of_a_dropped_group() {
    live_all(Kind::SpawnLocal, Fate::Dropped);
}

#[test]
fn finalizers_of_a_joined_group() {
    live_all(Kind::Deferred, Fate::Joined);
}

#[test]
fn finalizers_of_a_cancelled_group() {
    live_all(Kind::Deferred, Fate::Cancelled);
}

#[test]
fn finalizers_of_a_group_past_its_deadline() {
    live_all(Kind::Deferred, Fate::PastDeadline);
}

#[test]
fn finalizers_of_a_dropped_group() {
    live_all(Kind::Deferred, Fate::Dropped);
}
