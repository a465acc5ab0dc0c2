//! What the tests of blocking calls share: ways to wait on a thread, but not for ever, and counts of
//! the calls that run.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::allow_attributes,
    reason = "not every test file that has this module uses all of it"
)]

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// What takes this long will never happen: the test fails then, instead of hanging.
const NEVER: Duration = Duration::from_secs(30);

/// So many threads meet here: whoever comes waits for the others. A call that waits for calls which
/// do not run fails.
#[derive(Clone)]
pub struct Meeting(Arc<Place>);

struct Place {
    size: usize,
    there: Mutex<Arrived>,
    changed: Condvar,
}

#[derive(Default)]
struct Arrived {
    count: usize,
    gave_up: bool,
}

impl Meeting {
    /// A meeting of so many.
    pub fn of(size: usize) -> Self {
        Self(Arc::new(Place {
            size,
            there: Mutex::default(),
            changed: Condvar::new(),
        }))
    }

    fn there(&self) -> MutexGuard<'_, Arrived> {
        self.0.there.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Comes to the meeting, and waits on this thread until all have come.
    pub fn attend(&self) {
        self.there().count += 1;
        self.0.changed.notify_all();
        self.wait();
    }

    fn wait(&self) {
        let is_short = |there: &mut Arrived| there.count < self.0.size && !there.gave_up;
        let waited = self
            .0
            .changed
            .wait_timeout_while(self.there(), NEVER, is_short);
        let (mut there, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let (count, size) = (there.count, self.0.size);
        if count < size {
            // Nobody else waits as long again.
            there.gave_up = true;
            drop(there);
            self.0.changed.notify_all();
            panic!("a thread has waited for ever: only {count} of {size} have come");
        }
    }

    fn is_complete(&self) -> bool {
        self.there().count >= self.0.size
    }
}

/// Opened once, from anywhere; threads wait at it.
#[derive(Clone)]
pub struct Latch(Meeting);

impl Default for Latch {
    fn default() -> Self {
        Self(Meeting::of(1))
    }
}

impl Latch {
    pub fn open(&self) {
        self.0.attend();
    }

    pub fn is_open(&self) -> bool {
        self.0.is_complete()
    }

    /// Waits on this thread until it is open.
    pub fn wait(&self) {
        self.0.wait();
    }
}

/// Waits on this thread until something is the case that nobody is told of.
pub fn wait_until(mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < NEVER, "a thread has waited for ever");
        thread::yield_now();
    }
}

/// Counts calls: how many have begun, how many have ended, how many there were at a time.
#[derive(Clone, Default)]
pub struct Calls(Arc<Counts>);

#[derive(Default)]
struct Counts {
    begun: AtomicUsize,
    ended: AtomicUsize,
    now: AtomicUsize,
    most: AtomicUsize,
}

/// A call that runs, until dropped.
pub struct Running(Calls);

impl Calls {
    /// A call begins.
    pub fn begin(&self) -> Running {
        let counts = &self.0;
        counts.begun.fetch_add(1, Ordering::SeqCst);
        let now = counts.now.fetch_add(1, Ordering::SeqCst) + 1;
        counts.most.fetch_max(now, Ordering::SeqCst);
        Running(self.clone())
    }

    pub fn begun(&self) -> usize {
        self.0.begun.load(Ordering::SeqCst)
    }

    pub fn ended(&self) -> usize {
        self.0.ended.load(Ordering::SeqCst)
    }

    /// How many run now.
    pub fn now(&self) -> usize {
        self.0.now.load(Ordering::SeqCst)
    }

    /// How many there were at a time, at most.
    pub fn most(&self) -> usize {
        self.0.most.load(Ordering::SeqCst)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let counts = &self.0.0;
        counts.now.fetch_sub(1, Ordering::SeqCst);
        counts.ended.fetch_add(1, Ordering::SeqCst);
    }
}
