//! What the crate sees of a test run where there cannot be one.

use std::{sync::Arc, task::Waker, time::Instant};

use super::{Call, Cleanup, Event, Job, Mark, Staged};
use crate::error::TaskInfo;

/// Does not exist without the feature `testing`.
pub(crate) enum Sim {}

/// Neither do its timers.
#[derive(Debug)]
pub(crate) enum TimerKey {}

/// The test run that this thread is in.
#[inline(always)]
pub(crate) fn current() -> Option<Arc<Sim>> {
    None
}

/// The test run that something belongs to.
#[inline(always)]
pub(crate) fn held(_sim: &Option<Arc<Sim>>) -> Option<&Arc<Sim>> {
    None
}

impl Sim {
    pub(crate) fn now(&self) -> Instant {
        match *self {}
    }

    pub(crate) fn set_timer(
        self: &Arc<Self>,
        _key: &mut Option<TimerKey>,
        _at: Instant,
        _waker: &Waker,
    ) {
        match **self {}
    }

    pub(crate) fn choose(&self, _among: usize) -> usize {
        match *self {}
    }

    pub(crate) fn offer(&self, _group: Arc<dyn Staged>) {
        match *self {}
    }

    pub(crate) fn spawn(&self, _job: Job) {
        match *self {}
    }

    pub(crate) fn call_later(&self, _call: Call) {
        match *self {}
    }

    pub(crate) fn opened(&self, _group: &Arc<dyn Staged>, _body: &TaskInfo) {
        match *self {}
    }

    pub(crate) fn entered(&self, _group: &Arc<dyn Staged>, _task: &TaskInfo) {
        match *self {}
    }

    pub(crate) fn step(&self, _task: &TaskInfo, _event: Event) {
        match *self {}
    }

    pub(crate) fn gone(&self, _task: &TaskInfo) {
        match *self {}
    }

    pub(crate) fn mark(&self, _member: u64, _mark: Mark) {
        match *self {}
    }

    pub(crate) fn cleanup(&self, _cleanup: Cleanup) {
        match *self {}
    }
}
