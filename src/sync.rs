//! Coordination of tasks that share something: semaphores, limiters, locks, events, conditions,
//! barriers.
//!
//! | for | there is |
//! | --- | --- |
//! | so many at a time | [`Semaphore`]; [`Limiter`], if the number changes or some count for more |
//! | one at a time, with the data inside | [`Mutex`], [`RwLock`] |
//! | made once, by whoever comes first | [`OnceCell`] |
//! | it has happened | [`Event`] |
//! | it may be true now | [`Condition`] |
//! | all are here | [`Barrier`] |
//!
//! What moves from one task to another is better sent through a [channel](crate::channel).
//!
//! # What all of them promise
//!
//! - *First come, first served.* What becomes free goes to whoever has waited longest, by name,
//!   before that task has run. Nobody who comes later gets in between, with `try_` or without.
//! - *Nothing is lost with a waiter.* A waiter that is cancelled or dropped leaves no trace. If it
//!   had been given something already, that goes to the next one.
//! - *What has been cancelled does not happen.* In a scope that was cancelled, no operation here
//!   takes effect any more: its future stays pending until its scope drops it. The `try_` twins and
//!   everything else that does not wait are not affected.
//! - They work under every executor, in and out of [`run`](crate::run()), and from any thread.
//!
//! A guard that is dropped by a panic gives back what it holds like any other. There is no
//! poisoning: the panic is in the report of its group already.

mod barrier;
mod condition;
mod event;
pub mod futures;
mod holder;
mod ledger;
mod limiter;
mod mutex;
mod once_cell;
mod rw_lock;
mod semaphore;

pub use self::{
    barrier::{Arrival, Barrier},
    condition::Condition,
    event::Event,
    limiter::{Limiter, LimiterPermit},
    mutex::{Mutex, MutexGuard},
    once_cell::OnceCell,
    rw_lock::{RwLock, RwLockReadGuard, RwLockWriteGuard},
    semaphore::{Semaphore, SemaphorePermit, SemaphorePermitArc},
};
