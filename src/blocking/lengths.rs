//! How long calls take.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::Waker,
    time::Duration,
};

use super::call::Job;
use crate::clock;

/// A call that takes this long is worth a thread of its own.
const LONG: Duration = Duration::from_micros(100);

/// If so many of the last 32 calls were long, those to come are taken for long, too. One or two can be chance:
/// the system may have had something else to do.
const MANY: u32 = 4;

/// The last calls of the process.
static LAST: AtomicU32 = AtomicU32::new(Last::UNKNOWN.0);

/// The last calls: a bit for each, set if it was long.
///
/// A mean would not do: a call that has to wait for a processor takes a hundred times as long as the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Last(u32);

impl Last {
    /// What is not known counts as long.
    const UNKNOWN: Self = Self(u32::MAX);

    fn are_long(self) -> bool {
        self.0.count_ones() >= MANY
    }

    fn and(self, took: Duration) -> Self {
        Self(self.0 << 1 | u32::from(took >= LONG))
    }
}

/// Whether the next calls are expected to be long.
pub(super) fn are_long() -> bool {
    // Relaxed: it is a guess.
    Last(LAST.load(Ordering::Relaxed)).are_long()
}

/// Runs a call, and notes how long it took. `wake` gets what wakes whoever waits for it.
pub(super) fn measure(job: Arc<dyn Job>, wake: &mut dyn FnMut(Waker)) {
    let began = clock::real_time();
    if job.run(wake) {
        let last = Last(LAST.load(Ordering::Relaxed)).and(clock::real_time() - began);
        // Relaxed, and not in one step: if two come at the same time, one of them is not counted.
        LAST.store(last.0, Ordering::Relaxed);
    }
}

/// One of the calls has turned out to block its thread: the next ones are taken for long for a while.
pub(super) fn doubt() {
    LAST.store(Last::UNKNOWN.0, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(last: Last, count: usize, took: Duration) -> Last {
        (0..count).fold(last, |last, _| last.and(took))
    }

    #[test]
    fn nothing_is_short_before_it_is_known_to_be() {
        assert!(Last::UNKNOWN.are_long());
        assert!(after(Last::UNKNOWN, 28, Duration::ZERO).are_long());
        assert!(!after(Last::UNKNOWN, 29, Duration::ZERO).are_long());
    }

    #[test]
    fn a_few_long_ones_are_chance_and_more_are_not() {
        let short = after(Last::UNKNOWN, 32, Duration::ZERO);
        assert!(!after(short, 3, LONG).are_long());
        assert!(after(short, 4, LONG).are_long());
        let forgotten = after(after(short, 4, LONG), 29, Duration::ZERO);
        assert!(!forgotten.are_long());
    }
}
