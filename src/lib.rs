//! Structured concurrency on smol.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc(test(attr(deny(warnings), allow(dead_code, unused_variables))))]

mod clock;
mod error;
mod frame;
mod group;
mod lock;
mod pool;
mod runtime;
mod scope;
mod sim;
#[cfg(feature = "testing")]
pub mod testing;
mod time;

pub use crate::{
    error::{
        Aborted, Cancelled, Error, ErrorGroup, Failure, FailureKind, GroupClosed, Panic,
        StartError, TaskInfo, TimedOut, on_unclaimed,
    },
    group::{
        Group, GroupBuilder, Policy, Ready, Spawner, Start, StartTask, Task, TaskGroup, group,
    },
    runtime::{Runtime, RuntimeBuilder, run},
    scope::{
        CancelScope, Cancellation, Checkpoint, Finally, ScopeHandle, Scoped, Shield, Timeout,
        bracket, cancelled, checkpoint, deadline, finally, is_cancelled, shield, time_left,
        timeout, timeout_at,
    },
    time::{Interval, Sleep, Tick, interval, now, sleep, sleep_until},
};
