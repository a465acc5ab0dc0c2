//! Help for groups whose runner is stuck in a long poll.
//!
//! Waking a thread costs more than running a hundred small children, so a group calls for help only
//! when it knows that there is work for it. What it cannot know is how long the next poll will take:
//! a child may compute for a second while its siblings wait behind it. That is what the monitor is
//! for. It looks at the groups that are being run, twice per millisecond while there are any, and
//! calls for help where children are ready and nobody has taken one since the last look. A while
//! after the last activity it goes to sleep, and then costs nothing.

use std::{
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

use crate::lock::Mutex;

/// How often the monitor looks.
const TICK: Duration = Duration::from_micros(400);

/// How many times it looks in vain before it goes to sleep: 10 ms. Looking costs some 5 µs each time, which is
/// also what waking it costs.
const LINGER: u32 = 25;

/// A group that is being run.
pub(crate) trait Watched: Send + Sync {
    /// Calls for help if children are ready and nobody has taken one since this was last called.
    /// Returns whether any are ready.
    fn look_after(self: Arc<Self>) -> bool;
}

/// The groups that are being run on one thread, inside each other.
#[derive(Default)]
struct Desk {
    groups: Mutex<Vec<Arc<dyn Watched>>>,
}

/// The one monitor of the process.
struct Monitor {
    desks: Mutex<Vec<Weak<Desk>>>,
    /// Set by whoever has something to be looked after, cleared at each look.
    roused: AtomicBool,
    /// Whether it has gone to sleep, and has to be woken.
    asleep: AtomicBool,
    /// `None` if the system refused the thread: then nobody helps those who are stuck.
    thread: Option<Thread>,
}

thread_local! {
    /// This thread's desk.
    static DESK: Arc<Desk> = Desk::open();
}

impl Desk {
    fn open() -> Arc<Self> {
        let desk = Arc::new(Self::default());
        Monitor::get().desks.lock().push(Arc::downgrade(&desk));
        desk
    }
}

impl Monitor {
    fn get() -> &'static Self {
        static MONITOR: OnceLock<Monitor> = OnceLock::new();

        MONITOR.get_or_init(|| {
            let thread = thread::Builder::new().name("headcount-monitor".into());
            let thread = thread.spawn(|| Self::get().watch());
            Self {
                desks: Mutex::default(),
                roused: AtomicBool::new(false),
                asleep: AtomicBool::new(false),
                thread: thread.ok().map(|handle| handle.thread().clone()),
            }
        })
    }

    /// What the monitor's thread does.
    fn watch(&self) {
        let mut idle = 0;
        loop {
            let roused = self.roused.swap(false, Ordering::SeqCst);
            let ready = self.look();
            idle = if roused || ready { 0 } else { idle + 1 };
            if idle > LINGER {
                // SeqCst on both flags, here and in `rouse`: either this sees that somebody has
                // roused it, or they see that it is asleep.
                self.asleep.store(true, Ordering::SeqCst);
                if !self.roused.load(Ordering::SeqCst) {
                    thread::park();
                }
                self.asleep.store(false, Ordering::SeqCst);
            } else {
                thread::sleep(TICK);
            }
        }
    }

    /// Looks at every group that is being run. Returns whether any has something that is ready.
    fn look(&self) -> bool {
        let desks: Vec<_> = {
            let mut desks = self.desks.lock();
            desks.retain(|desk| desk.strong_count() > 0);
            desks.iter().filter_map(Weak::upgrade).collect()
        };
        let mut ready = false;
        for desk in desks {
            let groups = desk.groups.lock().clone();
            for group in groups {
                ready |= group.look_after();
            }
        }
        ready
    }
}

/// Says that there is something to look after, and wakes the monitor if need be.
pub(crate) fn rouse() {
    let monitor = Monitor::get();
    // If the flag is set already, a look is still to come.
    if !monitor.roused.load(Ordering::SeqCst) {
        monitor.roused.store(true, Ordering::SeqCst);
        if monitor.asleep.load(Ordering::SeqCst) {
            if let Some(thread) = &monitor.thread {
                thread.unpark();
            }
        }
    }
}

/// Has a group looked after while this thread runs it, until the guard is dropped.
pub(crate) fn watch(group: Arc<dyn Watched>) -> Watch {
    Watch {
        watched: DESK.try_with(|desk| desk.groups.lock().push(group)).is_ok(),
    }
}

/// A group that is being looked after.
#[must_use]
pub(crate) struct Watch {
    watched: bool,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.watched {
            // The guards of one thread are dropped in the reverse order of their making.
            let group = DESK.try_with(|desk| desk.groups.lock().pop());
            drop(group);
        }
    }
}
