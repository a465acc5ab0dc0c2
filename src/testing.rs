//! Tests for concurrent code: virtual time, seeded schedules, cancellation at every await.
//!
//! A concurrent program has as many behaviours as there are orders in which its tasks can go on.
//! An ordinary test sees one of them, on most days the same one. A *test run* takes over what
//! decides the order, and the clock with it:
//!
//! - [`run()`] runs a future and all tasks under it on the calling thread. Which of the ready tasks
//!   goes next is drawn from a seed: the same seed gives the same run, poll for poll. Time is
//!   virtual: when nothing is ready the clock jumps to the next timer, so that an hour of sleeps
//!   takes no time. A program that waits for ever fails, with the tree of the tasks that wait.
//! - [`explore`] does that for many seeds, on all cores, and reports the smallest schedule that
//!   fails; [`exhaust`] tries every order of a small program.
//! - [`cancel_everywhere`] runs a program again and again, and cancels it each time at another of
//!   the points where it waits, in four ways; and looks each time for what was left behind.
//!
//! They work under a plain `#[test]`. What is asserted is up to the program: a panic of `main` is a
//! failure. So is what is left at the end: a task that is alive, a timer that is set, a [`Tracked`]
//! value that was not dropped, a finalizer that was not run.
//!
//! The chapter [on testing](crate::tutorial_on_testing) goes through it with three programs that have
//! bugs.
//!
//! # Examples
//!
//! A retry that backs off for seven seconds, tested in none:
//!
//! ```
//! use headcount::{now, sleep, testing};
//! use std::time::Duration;
//!
//! async fn retry(mut attempt: impl FnMut() -> Result<u32, &'static str>) -> Option<u32> {
//!     for pause in [1, 2, 4] {
//!         if let Ok(value) = attempt() {
//!             return Some(value);
//!         }
//!         sleep(Duration::from_secs(pause)).await;
//!     }
//!     None
//! }
//!
//! testing::run(async {
//!     let start = now();
//!     assert_eq!(retry(|| Err("no route")).await, None);
//!     assert_eq!(now() - start, Duration::from_secs(7));
//! });
//! ```
//!
//! # What decides, and what does not
//!
//! The schedule decides which task of a group is polled next, and whether the body of a group or
//! one of its borrowing children goes first; timers that are due at the same time are told in an
//! order of its choosing. Each such choice is one *step*. What happens within one poll is up to the
//! code: the branches of a `join!` or `select!` macro inside one task go in their own order.
//!
//! Everything that uses this crate's time is under the virtual clock. A test run cannot know what
//! other crates wait for: a timer of async-io, a socket, a thread of its own. Wrap such a wait in
//! [`real`], and the clock stands still until it is over; or give the run some
//! [`patience`](Builder::patience). A program that looks at the wall clock, at random numbers, at the
//! order of a hash map or at another thread is not the same each time; that is found out where the
//! same schedule is run twice, and said.
//!
//! # Where the ideas come from
//!
//! Virtual time that jumps: Trio's `MockClock`. Seeded schedules: shuttle, after "A Randomized
//! Scheduler with Probabilistic Guarantees of Finding Bugs" (Burckhardt and others, 2010). Few
//! departures from first come, first served: "Delay-Bounded Scheduling" (Emmi, Qadeer and
//! Rakamarić, 2011).

mod builder;
mod cancel;
mod clock;
mod explore;
mod quiet;
mod report;
mod run;
mod tools;
mod watchdog;

pub use self::{
    builder::Builder,
    cancel::{Injection, cancel_everywhere, cancel_everywhere_with},
    clock::{Advance, Real, Settle, advance, real, settle},
    explore::{Explored, Outcome, exhaust, explore},
    report::Recording,
    run::run,
    tools::{
        DropCount, Sequence, Tracked, Turn, WakeCount, assert_ready, assert_waits, count_polls,
    },
};
