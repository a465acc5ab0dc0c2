//! Structured concurrency on smol: nobody leaves until everyone is accounted for.
//!
//! A task group owns its tasks. It does not return before every one of them is gone, every failure
//! comes out in one error, and one cancellation reaches everything below it.
//!
//! ```
//! use headcount::{Error, ErrorGroup, group, run};
//!
//! async fn fetch(what: &str, id: u32) -> Result<String, Error> {
//!     Ok(format!("{what} of user {id}"))
//! }
//!
//! fn main() -> Result<(), ErrorGroup> {
//!     run(async {
//!         let page = String::from("a page of six words or so");
//!         group(async |g| {
//!             let user = g.spawn(fetch("name", 7)); // In parallel, on the worker threads.
//!             let orders = g.spawn(fetch("orders", 7)); // At the same time.
//!             let words = g.spawn_local(async { Ok(page.split(' ').count()) }); // Borrows `page`.
//!             println!("{}, {}, {} words", user.await?, orders.await?, words.await?);
//!             Ok(())
//!         })
//!         .await
//!     })
//! }
//! ```
//!
//! If one of the three fails or panics, the others are cancelled at the point where they wait, their
//! cleanup runs, and `main` returns an error that says which task it was and where it was spawned.
//! However the block is left, no task is left behind that nobody waits for.
//!
//! To learn it from the beginning, read the [tutorial]; to see why it is made the way it is, the
//! [design] notes.
//!
//! # What to use when
//!
//! | to | use | and not |
//! | --- | --- | --- |
//! | start a program | [`run`], [`Runtime::builder`] | |
//! | run several things at once and wait for all | [`group()`] | `spawn` and a list of handles |
//! | the same with a name, a limit, an error type of your own | [`TaskGroup::builder`] | |
//! | spawn onto other threads | [`TaskGroup::spawn`] | |
//! | spawn something that borrows | [`TaskGroup::spawn_local`] | `Arc`s made only to be moved in |
//! | spawn from a task, a callback, another thread | [`TaskGroup::spawner`] | |
//! | the same where the group may have returned | [`Spawner::try_spawn`], [`GroupClosed`] | |
//! | call what blocks its thread | [`unblock`], [`TaskGroup::spawn_blocking`] | the call itself, in a task |
//! | start a service and wait until it is ready | [`TaskGroup::start`] | a channel for the port |
//! | go on when one of many jobs fails | [`Policy::Collect`] | a `match` in every task |
//! | make one result of what all tasks come out with | [`GroupBuilder::join`], [`policies`], [`JoinPolicy`] | a shared `Vec` under a lock |
//! | limit the time of something | [`timeout`], [`timeout_at`] | a timeout parameter |
//! | cancel something by hand, or move its deadline | [`CancelScope`], [`TaskGroup::scope`] | a flag that everybody asks |
//! | cancel one task | [`Task::cancel`] | |
//! | finish a step that must not stop halfway | [`shield()`] | |
//! | clean up with `.await`, borrowing | [`finally()`], [`bracket()`] | `Drop` that blocks |
//! | clean up with `.await` at the end of a group | [`TaskGroup::defer`] | |
//! | let a computing loop be cancelled | [`checkpoint`], [`is_cancelled`] | |
//! | hand the time limit on to a server | [`time_left`], [`deadline`] | |
//! | wait | [`sleep`], [`sleep_until`], [`interval`] | a timer of another crate |
//! | know which task failed | [`Failure::task`], [`TaskInfo`] | a name in the text of the error |
//! | tell failures apart | [`ErrorGroup::find`], [`ErrorGroup::partition`], [`ErrorGroup::leaves`] | |
//! | hear of failures whose group was dropped | [`on_unclaimed`] | |
//! | test all of this, without waiting | the module `testing`, with the feature of that name | sleeps in tests |
//!
//! A [`JoinGroup`], which [`GroupBuilder::join`] opens, hands each [`ChildEnd`] to its policy, and at the end
//! a [`Closing`], which knows what the group was [`EndedBy`]. The policies that are needed most are there.
//!
//! Several futures can also be awaited at once on the task that they are in, without spawning. They may
//! borrow, and need not be `Send`:
//!
//! | to wait for | use |
//! | --- | --- |
//! | all values, and stop at the first failure | [`gather()`], [`gather_all`] |
//! | all outcomes, failures among them | [`gather_settled`] |
//! | the first output | [`race()`], [`race_all`]; [`race_with`] looks at ties |
//! | the first success | [`first_ok`]; [`staggered()`] gives each a head start before the next |
//! | so many successes | [`quorum()`] |
//! | each output as it comes | [`as_completed()`], [`TaskGroup::as_completed`] |
//!
//! What has lost or is not needed any more is cancelled, and gone before these return, shields and
//! finalizers included. ([`NoContenders`] is what a race between nobody yields.)
//!
//! And for what flows:
//!
//! | to | use |
//! | --- | --- |
//! | wait for the first of several things, in a loop | [`select()`], which takes only what [loses nothing](LosesNothing), or what [may](MayLoseExt); [`OneOf2`] and its like say which it was |
//! | work on several items of a stream at a time | [`ConcurrentStreamExt`] |
//! | make a stream of what code sends | [`produce()`], which gives the code a [`Producer`] ([`ConsumerGone`] is what that yields when nobody takes the items) |
//! | have a value at hand everywhere in a piece of work, its tasks included | a [`Local`], declared with [`local!`] |
//!
//! Use something else for a task that belongs to nobody, and may be cut off at any time when the process
//! exits: that is what `smol::spawn(…).detach()` is for. There are fewer of those than one thinks.
//!
//! # The laws
//!
//! These hold everywhere in the crate, and the tests are arranged by them.
//!
//! 1. **Ownership.** Every task belongs to one group. The group returns only when all its tasks are
//!    gone: what they owned is destroyed, and their finalizers have run.
//! 2. **Nothing escapes.** If somebody drops the future of a group halfway, the tasks that borrow are
//!    dropped at once. The others are cancelled and handed *up*: the group further out, or [`run`],
//!    waits for them. Nothing outlives `run`, and no destructor blocks.
//! 3. **No failure is lost.** Every error and every panic is reported exactly once. Being cancelled
//!    is no failure, and never in a report.
//! 4. **Cancellation is a tree.** Cancelling a scope reaches everything below it at once, and nothing
//!    else. It cannot be taken back, and of several causes the first one stays.
//! 5. **Shields hold.** Shielded code runs to its end. The cancellation takes effect at the first wait
//!    after it that is not shielded.
//! 6. **Finalizers run** exactly once, the innermost first, shielded, whatever became of the body.
//! 7. **A result beats a cancellation that came too late.** The body is polled first and the clock is
//!    read second, so a value that was produced is not thrown away for a tie.
//! 8. **The scope that was cancelled absorbs it.** The code after it goes on. Of several scopes around
//!    each other the outermost absorbs, and a timeout is never mistaken for another one.
//! 9. **The body is a member** of its group. A failing task interrupts it, and if it fails the tasks
//!    are cancelled.
//! 10. **Drop-safe.** Every future of this crate may be dropped at any `.await`. Nothing is then
//!     half done, unless its page says otherwise under *Cancel safety*.
//!
//! # Cancellation in a nutshell
//!
//! Cancelling a future in Rust means not polling it any more and dropping it. So cancelled code
//! stops at the `.await` where it waits; nothing is thrown or returned there, and nothing can be
//! swallowed by mistake. Destructors run, and so do the finalizers, which may wait.
//!
//! ```
//! use headcount::{finally, run, shield, sleep, timeout};
//! use std::{cell::RefCell, time::Duration};
//!
//! let log = RefCell::new(Vec::new());
//! let say = |what| log.borrow_mut().push(what);
//!
//! run(async {
//!     let late = timeout(Duration::from_millis(1), async {
//!         finally(
//!             async {
//!                 shield(sleep(Duration::from_millis(20))).await; // Outlasts the timeout.
//!                 say("the shielded step is done");
//!                 sleep(Duration::MAX).await; // The first wait that can be cut: cut at once.
//!                 say("never");
//!             },
//!             async {
//!                 sleep(Duration::from_millis(1)).await; // Cleanup may wait.
//!                 say("cleaned up");
//!             },
//!         )
//!         .await;
//!     })
//!     .await;
//!     assert!(late.is_err());
//! });
//! assert_eq!(log.into_inner(), ["the shielded step is done", "cleaned up"]);
//! ```
//!
//! Scopes nest, and each group and each timeout is one. Who can be cut, and when:
//!
//! - A scope that was cancelled lets everything *protected* inside it end first: shields, finalizers,
//!   and groups with their tasks. Then it drops the rest and returns.
//! - Groups inside are cancelled right away, however deep; only their joining takes its time.
//! - Cancelled code is not polled again once nothing protected is left in it. A task that has not
//!   been polled yet never will be.
//! - A computation that never waits cannot be cut. Put a [`checkpoint`] into its loop.
//! - What was begun has to be polled to its end or dropped. A group or a shield that is kept by reference
//!   and not polled any more holds up the scopes around it when they are cancelled.
//!
//! One thing no library can do from inside: a future that is dropped by somebody else's combinator,
//! `select!` of another crate for example, is gone at that moment, with the shields and borrowing
//! finalizers in it. Law 2 holds all the same, [`TaskGroup::defer`] runs all the same, and this
//! crate's own `timeout` and scopes do not have the problem.
//!
//! # Several results
//!
//! Not everything that runs at the same time is a task. These run futures on the calling task, where
//! they may borrow, and whoever loses is gone, finalizers and all, before they return:
//!
//! | wanted | use |
//! | --- | --- |
//! | all values, and the first failure ends the rest | [`gather`] for a tuple, [`gather_all`] for any number |
//! | every outcome, whatever it is | [`gather_settled`] |
//! | the first output | [`race`], [`race_all`]; [`race_with`] keeps what comes at the same time |
//! | the first success, the first few | [`first_ok`], [`quorum`]; [`staggered`] starts one after the other |
//! | each as it comes | [`as_completed`], and [`TaskGroup::as_completed`] for tasks |
//! | the first of several waits, in a loop | [`select`], which takes only futures that [lose nothing](LosesNothing), or those that [may](MayLoseExt) |
//! | items of a stream, several at a time | [`ConcurrentStreamExt`], whose [`for_each_concurrent`](ForEachConcurrent) needs no output |
//! | a stream made by code that sends its items | [`produce`], which gives that code a [`Producer`]; sending fails with [`ConsumerGone`] once nobody listens |
//! | a group whose result is something else again | a [`JoinPolicy`], one of the [`policies`] or your own, with [`GroupBuilder::join`] |
//!
//! What `race` and `select` yield is an enum with one variant per future, [`OneOf2`] for two of
//! them, so that a `match` deals with all.
//!
//! A value that accompanies a piece of work everywhere, a request id, is a task-local: a [`Local`],
//! declared with [`local!`].
//!
//! # Errors and panics
//!
//! Tasks and bodies return `Result<T, E>`, with [`Error`] for `E` unless the group says otherwise; it
//! takes any error, so that `?` works. What a group returns is always an [`ErrorGroup`], even of one
//! failure, so that callers meet one shape under light load and heavy. `{}` prints it in one line,
//! `{:#}` and `{:?}` as a tree with the name and the spawn place of each task.
//!
//! A panic in a task or a body is captured and is a [`Failure`] like any other; see
//! [`FailureKind::Panic`]. So is a panic of a destructor or a deferred finalizer; the others still
//! run. Where a panic in a task should go on as one, there is [`GroupBuilder::resume_panics`]. A
//! panic of the future given to [`run`] goes on from `run`, after everything else has ended. In code
//! that is under no group, panics unwind as they do elsewhere. With `panic = "abort"` there is nothing
//! to capture.
//!
//! The handle of a task, [`Task`], yields the value, or says that there is none ([`Aborted`]). The
//! failure itself is in the group's report, whether somebody looks at the handle or not.
//!
//! # Executors and threads
//!
//! What a task may rely on about the thread it runs on does not depend on who awaits its group:
//!
//! | | inside [`run`] | under `smol::block_on`, tokio, any other executor |
//! | --- | --- | --- |
//! | parallel tasks ([`TaskGroup::spawn`]) | the worker threads, and the thread that called `run` | threads of a global pool, started when first needed; never the caller's |
//! | bodies, borrowing tasks ([`TaskGroup::spawn_local`]) | the task that the group is in | the task that the group is in |
//!
//! - A parallel task may be on another thread after each `.await`. It is `Send` and `'static`.
//! - `async-io`, and with it the smol crates, work on all of these threads. A context of another
//!   runtime does not exist on the threads of this crate: tokio's sockets and timers work in the body
//!   of a group under tokio, and not in its parallel tasks, unless they enter a handle of that
//!   runtime.
//! - Tasks share threads. One that blocks or computes for long keeps its thread; what is queued behind
//!   it is taken over by another thread within about a millisecond, if one is free. Calls that block belong
//!   into [`unblock`], which keeps the number of free threads.
//! - Tasks that were spawned run when the body first waits, or earlier on another thread. Nothing is
//!   said about their order.
//! - Worker threads are named `headcount-0`, `headcount-1`, and so on; [`RuntimeBuilder::thread_name`]
//!   changes that. Their number is `HEADCOUNT_THREADS` if that is set, else what
//!   [`std::thread::available_parallelism`] says.
//!
//! # Cancel safety
//!
//! Law 10 once more, as it is what every page under *Cancel safety* refers to: a future of this crate
//! may be dropped at any `.await`, and nothing is then sent, received, granted or lost. Some
//! futures do something on being dropped early, and say so on their pages: a group hands its tasks up,
//! `start` leaves its task to the group, cancelled, a shield drops what it holds, and `finally` and
//! `bracket` drop body and cleanup alike.
//!
//! # Features
//!
//! | feature | what it adds | by default |
//! | --- | --- | --- |
//! | `testing` | the module `testing`: test runs with virtual time and chosen schedules | no |
//!
//! Everything else is always there. The crate forbids `unsafe` code and needs Rust 1.85, which is only
//! raised in a new minor version.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc(test(attr(deny(warnings), allow(dead_code, unused_variables))))]

mod blocking;
pub mod channel;
mod clock;
#[cfg(doctest)]
mod compile_fail;
mod crew;
mod error;
mod frame;
mod group;
mod join;
mod locals;
mod lock;
mod pool;
mod results;
mod runtime;
mod scope;
mod select;
mod sim;
mod stream;
pub mod sync;
#[cfg(feature = "testing")]
pub mod testing;
mod time;
mod waiters;

pub use crate::{
    blocking::{Unblock, unblock},
    error::{
        Aborted, Cancelled, Error, ErrorGroup, Failure, FailureKind, GroupClosed, Panic,
        StartError, TaskInfo, TimedOut, on_unclaimed,
    },
    group::{
        Group, GroupBuilder, Policy, Ready, Spawner, Start, StartTask, Task, TaskGroup, group,
    },
    join::{ChildEnd, Closing, EndedBy, JoinBuilder, JoinGroup, JoinPolicy, Joined, policies},
    locals::{Bound, Local},
    results::{
        AsCompleted, Contenders, FirstOk, Gather, GatherAll, GatherSettled, Gatherable,
        NoContenders, OneOf1, OneOf2, OneOf3, OneOf4, OneOf5, OneOf6, OneOf7, OneOf8, OneOf9,
        OneOf10, OneOf11, OneOf12, Quorum, Race, RaceAll, RaceWith, Staggered, TasksCompleted,
        Tied, as_completed, first_ok, gather, gather_all, gather_settled, quorum, race, race_all,
        race_with, staggered,
    },
    runtime::{Runtime, RuntimeBuilder, run},
    scope::{
        CancelScope, Cancellation, Checkpoint, Finally, ScopeHandle, Scoped, Shield, Timeout,
        bracket, cancelled, checkpoint, deadline, finally, is_cancelled, shield, time_left,
        timeout, timeout_at,
    },
    select::{LosesNothing, MayLose, MayLoseExt, Select, Selectable, select},
    stream::{
        ChunksWithin, ConcurrentStreamExt, ConsumerGone, ForEachConcurrent, MapConcurrent,
        MapParallel, Merge, Produce, Producer, Sending, Throttle, produce,
    },
    time::{Interval, Sleep, Tick, interval, now, sleep, sleep_until},
};

/// The tutorial: whole programs, then their parts, then the same broken on purpose.
#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/tutorial.md")]
pub mod tutorial {}

/// Testing concurrent code: virtual time, chosen schedules, cancellation at every wait.
#[cfg(all(any(doc, doctest), feature = "testing"))]
#[doc = include_str!("../docs/testing.md")]
pub mod tutorial_on_testing {}

/// Why the crate is made the way it is, and what was rejected.
#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/design.md")]
pub mod design {}

/// Runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
