//! How long a runner goes on before it lets others have the thread, and when it calls for help.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::hub::Hub;
use crate::clock;

/// How long children are run in one go. Timers, other tasks of the thread and the body of the group
/// wait for so long at most, unless a single poll takes longer.
const SLICE: Duration = Duration::from_micros(200);

/// The clock is read after 1, 2, 4, … children, and then after every so many: it costs about as much
/// as half a small child.
const LOOK: u32 = 32;

/// A poll that takes this long is worth a second thread: running a child elsewhere than where it was
/// made costs some 100 ns for the memory alone.
const LONG_POLL: Duration = Duration::from_nanos(500);

/// So much work has to be left for a call for help to pay: waking a thread costs about 5 µs.
const WORTH_HELP: Duration = Duration::from_micros(10);

/// The time that a runner has for one go.
pub(super) struct Budget {
    /// When it began, once there was more to run than one child.
    start: Option<Instant>,
    /// When the clock was read last, and how many children had been run by then.
    last: Option<(Instant, u32)>,
    /// How many children have been run.
    run: u32,
    spent: bool,
    endless: bool,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self {
            start: None,
            last: None,
            run: 0,
            spent: false,
            endless: false,
        }
    }

    /// The budget of somebody who will not leave before all is done.
    pub(super) fn without_end() -> Self {
        Self {
            endless: true,
            ..Self::new()
        }
    }

    pub(super) fn is_left(&self) -> bool {
        self.endless || !self.spent
    }

    /// The owner looks once more at all that is ready.
    ///
    /// What keeps itself ready, the body or a child that borrows, must not keep the owner from its
    /// neighbours for ever.
    pub(super) fn turn(&mut self) {
        self.begin(0);
        self.run += 1;
        if let Some((_, run_before)) = self.last {
            if self.run - run_before >= LOOK {
                let now = clock::real_time();
                self.last = Some((now, self.run));
                self.spent = self.start.is_some_and(|start| now - start >= SLICE);
            }
        }
    }

    /// A child is about to be run, and so many more are ready. One that is alone is not worth a look
    /// at the clock, unless it comes back again and again.
    pub(super) fn begin(&mut self, ready: usize) {
        if self.last.is_none() && (ready > 0 || self.run >= LOOK) {
            let now = clock::real_time();
            self.start.get_or_insert(now);
            self.last = Some((now, self.run));
        }
    }

    /// A child has been run, and so many more were ready when it was taken.
    pub(super) fn spend(&mut self, hub: &Arc<Hub>, ready: usize) {
        self.run += 1;
        let Some((last, run_before)) = self.last else {
            return;
        };
        let run = self.run - run_before;
        if !(run.is_power_of_two() || run >= LOOK) {
            return;
        }
        let now = clock::real_time();
        let poll = (now - last) / run;
        let left = poll.saturating_mul(u32::try_from(ready).unwrap_or(u32::MAX));
        if poll >= LONG_POLL && left >= WORTH_HELP {
            hub.call_help();
        }
        if run >= LOOK {
            self.last = Some((now, self.run));
        }
        self.spent = self.start.is_some_and(|start| now - start >= SLICE);
    }
}
