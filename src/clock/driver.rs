//! The alarms of all threads, and the timers of the reactor that they go by.
//!
//! One timer of `async-io` is put into the reactor's tree and taken out again for some 400 ns; and what
//! is worse, the reactor is woken for each that is put in, and again for each that comes. So alarms are kept
//! in [queues](Queue) of our own, and the reactor has one timer for each queue.
//!
//! # Who wakes whom
//!
//! The timer of a queue is polled with a waker that [rings](Shard::ring): whichever thread drives the
//! reactor takes out what is due, makes the timer for what is next, and wakes the tasks. It does not matter
//! whether there is a [`run`](crate::run()), or which executor the tasks are on. If every thread that
//! could drive the reactor is busy with a long poll, `async-io` has a thread of its own that takes over.
//!
//! # No alarm is lost
//!
//! A queue says until when somebody has to look after it: [`Queue::next`]. What holds whenever its lock is
//! free: a timer for that time or an earlier one is in the reactor, or a thread is on its way to put it
//! there, which is what `armed` stands for.
//!
//! - Setting an alarm makes the time earlier or leaves it. If it is earlier than what is armed, the thread
//!   that set it puts a timer in before it does anything else.
//! - Taking an alarm out makes it later or leaves it. The timer stays where it is. When it comes and nothing
//!   is due, it is a look in vain; there is one for each timer that was put in, at most.
//! - When a timer comes, it is gone from the reactor. Ringing makes a new one for what is left, whatever
//!   the reason that it was called for.
//!
//! A timer is put into the reactor with no lock held, for the reactor drops wakers while it takes one: they
//! may be anybody's, and may get back here. Two threads may be on their way at the same time. Each has the
//! number of its arming: the last one puts its timer into the queue, the others drop theirs. By
//! then the last one has either put in an earlier timer, or rung and seen everything.
//!
//! All that is shared is under one mutex, so there is nothing to be said about orderings.

use std::{
    cell::Cell,
    future::Future,
    mem,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Wake, Waker},
    time::{Duration, Instant},
};

use async_io::Timer;

use super::queue::{Queue, Ticket};
use crate::{
    error::{Panic, catch, discard},
    lock::Mutex,
};

/// How many queues there are. Threads take turns in getting one, so that they rarely meet at a lock. With two
/// processors it makes no difference that could be measured, neither for the better nor for the worse.
const SHARDS: usize = 8;

/// How many are woken before the lock is taken again.
const BATCH: usize = 32;

/// The longest time that the reactor is given. Not every system can wait for years; a look in vain once a
/// day costs nothing.
const FARTHEST: u64 = 24 * 3600 * 1_000_000_000;

/// Nothing is armed.
const NEVER: u64 = u64::MAX;

static ALARMS: [Shard; SHARDS] = [const { Shard::new() }; SHARDS];

/// A queue of alarms with its timer. On cache lines of its own, or else threads with different queues would
/// be in each other's way all the same.
#[repr(align(128))]
struct Shard {
    state: Mutex<State>,
    /// Rings. Made when it is first needed.
    bell: OnceLock<Waker>,
}

struct State {
    queue: Queue,
    /// For when a timer is in the reactor, or about to be.
    armed: u64,
    /// How often one was made.
    armings: u64,
    /// The timer. Dropping it takes it out of the reactor.
    timer: Option<Timer>,
}

/// A timer that is to be made.
#[derive(Clone, Copy)]
struct Arming {
    number: u64,
    at: u64,
}

/// An alarm that was set. It may have come since.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    shard: usize,
    ticket: Ticket,
}

/// Sets an alarm.
pub(super) fn set(now: Instant, time: Instant, waker: Waker) -> Key {
    let shard = my_shard();
    let ticket = ALARMS[shard].set(nanos(now), nanos(time), waker);
    Key { shard, ticket }
}

/// Gives an alarm another waker. False if it has come.
pub(super) fn exchange(key: Key, waker: Waker) -> bool {
    let exchanged = ALARMS[key.shard]
        .state
        .lock()
        .queue
        .exchange(key.ticket, waker);
    // Either waker is dropped here, with the lock free.
    exchanged.is_ok()
}

/// Takes an alarm back.
pub(super) fn cancel(key: Key) {
    let waker = ALARMS[key.shard].state.lock().queue.remove(key.ticket);
    drop(waker);
}

/// The queue that this thread sets its alarms in.
fn my_shard() -> usize {
    thread_local! {
        static MINE: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    static NEXT: AtomicUsize = AtomicUsize::new(0);

    let mine = MINE.get();
    if mine < SHARDS {
        return mine;
    }
    // Relaxed: it is nothing but a count.
    let mine = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
    MINE.set(mine);
    mine
}

/// When time began, for the queues.
fn beginning() -> Instant {
    static BEGINNING: OnceLock<Instant> = OnceLock::new();

    *BEGINNING.get_or_init(Instant::now)
}

/// A time as the queues count it. What is too far away comes in 584 years.
fn nanos(time: Instant) -> u64 {
    let since = time.saturating_duration_since(beginning());
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

impl Shard {
    const fn new() -> Self {
        Self {
            state: Mutex::new(State {
                queue: Queue::new(),
                armed: NEVER,
                armings: 0,
                timer: None,
            }),
            bell: OnceLock::new(),
        }
    }

    fn set(&'static self, now: u64, due: u64, waker: Waker) -> Ticket {
        let (ticket, arming) = {
            let mut state = self.state.lock();
            let (ticket, latest) = state.queue.insert(now, due, waker);
            let is_earlier = latest < state.armed;
            (ticket, is_earlier.then(|| state.arm(now, latest)))
        };
        match arming.map(|arming| self.arm(arming)) {
            None | Some(Ok(false)) => {}
            Some(Ok(true)) => self.ring(),
            Some(Err(panic)) => panic.resume(),
        }
        ticket
    }

    /// Puts a timer into the reactor. True if its time has come already.
    ///
    /// Fails if the reactor does: it has no thread, or no file handle left.
    fn arm(&'static self, arming: Arming) -> Result<bool, Panic> {
        let bell = self.bell.get_or_init(|| Waker::from(Arc::new(Bell(self))));
        let mut timer = Timer::at(beginning() + Duration::from_nanos(arming.at));
        let polled = catch(|| Pin::new(&mut timer).poll(&mut Context::from_waker(bell)));
        let mut left_over = Some(timer);
        {
            let mut state = self.state.lock();
            if state.armings == arming.number {
                if polled.is_err() {
                    // Whoever sets an alarm next tries it again.
                    state.armed = NEVER;
                }
                mem::swap(&mut state.timer, &mut left_over);
            }
        }
        drop(left_over);
        polled.map(|polled| polled.is_ready())
    }

    /// Wakes everybody whose alarm is due, and sees to it that this is called again for the others.
    fn ring(&'static self) {
        loop {
            let now = nanos(Instant::now());
            let mut due = [const { None }; BATCH];
            let (arming, spent) = {
                let mut state = self.state.lock();
                for place in &mut due {
                    *place = state.queue.pop_due(now);
                }
                if due[BATCH - 1].is_some() {
                    // There may be more. Until they are out this thread is still on its way.
                    (None, None)
                } else {
                    let next = state.queue.next();
                    let arming = state.arm(now, next.unwrap_or(NEVER));
                    (next.map(|_| arming), state.timer.take())
                }
            };
            let more = due[BATCH - 1].is_some();
            drop(spent);
            // Before anybody is woken: nobody knows how long that takes.
            let armed = arming.map_or(Ok(false), |arming| self.arm(arming));
            for waker in due.into_iter().flatten() {
                // As in the reactor: that a waker panics is no reason not to wake the others, and there
                // is no task here that could be told.
                if let Err(panic) = catch(|| waker.wake()) {
                    discard(panic);
                }
            }
            match armed {
                Ok(has_come) if more || has_come => {}
                Ok(_) => return,
                Err(panic) => panic.resume(),
            }
        }
    }
}

impl State {
    /// Notes that a timer is to be made.
    fn arm(&mut self, now: u64, at: u64) -> Arming {
        self.armings += 1;
        self.armed = match at {
            NEVER => NEVER,
            at => at.min(now.saturating_add(FARTHEST)),
        };
        Arming {
            number: self.armings,
            at: self.armed,
        }
    }
}

/// Rings when woken.
struct Bell(&'static Shard);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.ring();
    }
}
