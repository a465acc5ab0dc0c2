//! How long a runner goes on before it lets others have the thread, and when it calls for help.

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use super::hub::Hub;
use crate::{
    clock,
    pool::{self, Urgency},
};

/// How long children are run in one go. Timers, other tasks of the thread and the body of the group
/// wait for so long at most, unless a single poll takes longer.
const SLICE: Duration = Duration::from_micros(200);

/// The clock is read after 1, 4 and 16 more children, and then after every so many: it costs about as
/// much as half a small child.
const LOOK: u32 = 32;

/// So many may be run one by one, none of them with another one behind it, before the clock is looked
/// at at all.
const UNWATCHED: u32 = 4;

/// The first children after a pause take this long or longer only because nothing of them is in the
/// processor's caches. So the first looks at the clock need better reasons to call for help than
/// [`LONG_POLL`]: a microsecond at the second, five at the first.
const LONG_POLL_AT_FIRST: [Duration; 2] = [Duration::from_micros(5), Duration::from_micros(1)];

/// A poll that takes this long is worth a second thread: running a child elsewhere than where it was
/// made costs some 100 ns for the memory alone.
const LONG_POLL: Duration = Duration::from_nanos(500);

/// What takes less than this elsewhere than where it was made is better run there: most of the time is
/// that of the memory that is fetched.
const LONG_ELSEWHERE: Duration = Duration::from_nanos(700);

/// So much work has to be left for a call for help to pay: waking a thread costs about 5 µs.
const WORTH_HELP: Duration = Duration::from_micros(20);

/// The time that a runner has for one go.
pub(super) struct Budget {
    /// When it began, and when the clock was read last; known once there was more to run than a
    /// few.
    times: Option<(Instant, Instant)>,
    /// How many children have been run since the clock was read.
    run: u32,
    /// After how many it is read again.
    look: u32,
    /// How many have been run with no look at the clock.
    unwatched: u32,
    /// How often it has been read.
    looks: usize,
    /// How long it took then to take the next child from the queue. Others may be at it, too, and
    /// the more help there is, the longer that takes: it must not be taken for work.
    wait: Duration,
    /// How long a child took when it was read last.
    poll: Duration,
    /// Whether the monitor knows that somebody is at it.
    roused: bool,
    spent: bool,
    endless: bool,
    /// Whether it is that of a helper, who stops early to find out whether the owner is at it.
    is_helpers: bool,
    /// How soon somebody has to look whether the runner is stuck.
    urgency: Urgency,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self {
            times: None,
            run: 0,
            look: 1,
            unwatched: 0,
            looks: 0,
            wait: Duration::ZERO,
            poll: Duration::ZERO,
            roused: false,
            spent: false,
            endless: false,
            is_helpers: false,
            urgency: Urgency::Soon,
        }
    }

    /// The budget of a helper. If it is not its `first`, those who are ready are known already.
    pub(super) fn of_helper(first: bool) -> Self {
        Self {
            is_helpers: true,
            urgency: if first { Urgency::Soon } else { Urgency::Later },
            ..Self::new()
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
        let is_in_doubt =
            self.is_helpers && self.looks > LONG_POLL_AT_FIRST.len() && self.is_for_one();
        self.endless || !self.spent && !is_in_doubt
    }

    /// The owner looks once more at all that is ready.
    ///
    /// What keeps itself ready, the body or a child that borrows, must not keep the owner from its
    /// neighbours for ever.
    pub(super) fn turn(&mut self) {
        self.begin(0);
        if self.count() {
            self.read_clock();
        }
    }

    /// A child is about to be run, and so many more are ready.
    #[inline]
    pub(super) fn begin(&mut self, ready: usize) {
        let is_watched = self.watch_clock(ready);
        let may_others_wait = ready > 0 || !self.is_helpers;
        if is_watched && may_others_wait && !self.roused {
            self.roused = true;
            // The others may have been ready for long, and this one may take long.
            pool::rouse(self.urgency);
        }
    }

    /// Whether the clock is looked at: once more is run than a few. Helpers always look: to call one has
    /// cost more than that.
    fn watch_clock(&mut self, ready: usize) -> bool {
        let is_worth_it = self.is_helpers || ready > 0 || self.unwatched >= UNWATCHED;
        if self.times.is_none() && is_worth_it {
            let now = clock::real_time();
            self.times = Some((now, now));
        }
        self.times.is_some()
    }

    /// A child has been run that nobody else can run.
    pub(super) fn spend_here(&mut self) {
        self.watch_clock(0);
        if self.count() {
            self.read_clock();
        }
    }

    /// Counts one more that has been run. True if it is time to look at the clock.
    fn count(&mut self) -> bool {
        self.run += 1;
        self.run >= self.look
    }

    /// Whether the children that were run last were so short that a second runner is in the way of the
    /// first one more than it helps.
    pub(super) fn is_for_one(&self) -> bool {
        self.looks > 0 && self.poll < LONG_ELSEWHERE
    }

    /// A child has been run, and so many more were ready when it was taken.
    #[inline]
    pub(super) fn spend(&mut self, hub: &Arc<Hub>, ready: usize) {
        if self.count() {
            self.look_at_clock(hub, ready);
        }
    }

    /// The next child has been taken from the queue.
    pub(super) fn taken(&mut self) {
        if self.run == 0 && self.looks > 0 {
            if let Some((_, last)) = &mut self.times {
                let now = clock::real_time();
                self.wait = now - mem::replace(last, now);
            }
        }
    }

    fn look_at_clock(&mut self, hub: &Arc<Hub>, ready: usize) {
        let at_first = LONG_POLL_AT_FIRST.get(self.looks);
        if let Some(poll) = self.read_clock() {
            hub.note_poll(poll);
            let left = poll.saturating_mul(u32::try_from(ready).unwrap_or(u32::MAX));
            // Once can be chance: the system had something else to do.
            let before = mem::replace(&mut self.poll, poll);
            let are_long = match at_first {
                Some(at_first) => poll >= *at_first,
                None => poll.min(before) >= LONG_POLL,
            };
            if are_long && left >= WORTH_HELP {
                hub.share_work();
            }
        }
    }

    /// Returns how long a child took since the last time, if there was one.
    fn read_clock(&mut self) -> Option<Duration> {
        let run = mem::take(&mut self.run);
        self.unwatched += run;
        let (start, last) = self.times?;
        let now = clock::real_time();
        self.look = (self.look * 4).min(LOOK);
        self.times = Some((start, now));
        self.looks += 1;
        self.spent = now - start >= SLICE;
        Some(((now - last) / run).saturating_sub(self.wait))
    }
}
