//! Help for groups whose runner is stuck in a long poll.
//!
//! Waking a thread costs more than running a hundred small children, so a group calls for help only
//! when it knows that there is work for it. What it cannot know is how long the next poll will take:
//! a child may compute for a second while its siblings wait behind it. That is what the monitor is
//! for. It looks at the groups that are being run, three times per millisecond while there are any, and
//! calls for help where children are ready and nobody has taken one since the last look. Where all
//! processors are at it and there is nobody to be called it looks more rarely, and more so the longer that
//! lasts: each look interrupts somebody, which costs some 50 µs on a virtual machine. A while after the
//! last activity it goes to sleep, and then costs nothing.

use std::{
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

use crate::lock::Mutex;

/// How often the monitor looks.
const TICK: Duration = Duration::from_micros(300);

/// How many times it looks in vain before it goes to sleep: 10 ms. Looking costs some 5 µs each time, which is
/// also what waking it costs.
const LINGER: u32 = 33;

/// How soon it looks again if all processors are at it, and nobody could be called who is not. If that is
/// still so then, it takes twice as long, up to [`LONGEST_TICK`].
const LONG_TICK: Duration = Duration::from_millis(4);

/// How soon it looks again at the latest if anything is ready.
const LONGEST_TICK: Duration = Duration::from_millis(16);

/// How soon the monitor has to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Urgency {
    /// Everybody is at it who could be.
    Later,
    Soon,
}

/// A group that is being run, or something else with a queue whose runners may be stuck.
pub(crate) trait Watched: Send + Sync {
    /// Calls for help if children are ready and nobody has taken one since this was last called.
    /// Returns how soon to look again, if any are ready.
    fn look_after(self: Arc<Self>) -> Option<Urgency>;
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
    /// Set by those among them who want it soon, cleared at each look.
    hurried: AtomicBool,
    /// How it rests, as a number.
    rest: AtomicU8,
    /// `None` if the system refused the thread: then nobody helps those who are stuck.
    thread: Option<Thread>,
}

/// How the monitor rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// It looks again after a [`TICK`].
    Awake,
    /// It looks again after a [`LONG_TICK`] or more, and has to be woken for what is to be seen sooner.
    Dozing,
    /// It has to be woken.
    Asleep,
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
                hurried: AtomicBool::new(false),
                rest: AtomicU8::new(Rest::Awake as u8),
                thread: thread.ok().map(|handle| handle.thread().clone()),
            }
        })
    }

    /// What the monitor's thread does.
    fn watch(&self) {
        let mut idle = 0;
        let mut long_tick = LONG_TICK;
        loop {
            let hurried = self.hurried.swap(false, Ordering::SeqCst);
            let roused = self.roused.swap(false, Ordering::SeqCst);
            let urgency = self.look();
            idle = if hurried || roused || urgency.is_some() {
                0
            } else {
                idle + 1
            };
            if urgency == Some(Urgency::Later) && !hurried {
                self.rest(Some(long_tick));
                long_tick = (long_tick * 2).min(LONGEST_TICK);
                continue;
            }
            long_tick = LONG_TICK;
            if idle > LINGER {
                self.rest(None);
            } else {
                thread::sleep(TICK);
            }
        }
    }

    /// Dozes for so long at most, or else sleeps until it is woken; not if it was roused meanwhile.
    fn rest(&self, at_most: Option<Duration>) {
        let rest = at_most.map_or(Rest::Asleep, |_| Rest::Dozing);
        // SeqCst on all of these, here and in `rouse`: either this sees that somebody has roused it, or
        // they see how it rests.
        self.rest.store(rest as u8, Ordering::SeqCst);
        let hurried = self.hurried.load(Ordering::SeqCst);
        let roused = hurried || rest == Rest::Asleep && self.roused.load(Ordering::SeqCst);
        match at_most {
            _ if roused => {}
            Some(time) => thread::park_timeout(time),
            None => thread::park(),
        }
        self.rest.store(Rest::Awake as u8, Ordering::SeqCst);
    }

    /// Looks at every group that is being run. Returns how soon to look again, if anything is ready.
    fn look(&self) -> Option<Urgency> {
        let desks: Vec<_> = {
            let mut desks = self.desks.lock();
            desks.retain(|desk| desk.strong_count() > 0);
            desks.iter().filter_map(Weak::upgrade).collect()
        };
        let mut urgency = None;
        for desk in desks {
            let groups = desk.groups.lock().clone();
            for group in groups {
                urgency = urgency.max(group.look_after());
            }
        }
        urgency
    }
}

/// Says that there is something to look after, and wakes the monitor if need be.
pub(crate) fn rouse(urgency: Urgency) {
    let monitor = Monitor::get();
    let flag = match urgency {
        Urgency::Soon => &monitor.hurried,
        Urgency::Later => &monitor.roused,
    };
    // If the flag is set already, a look is still to come.
    if !flag.load(Ordering::SeqCst) {
        flag.store(true, Ordering::SeqCst);
        let rest = monitor.rest.load(Ordering::SeqCst);
        let is_needed =
            rest == Rest::Asleep as u8 || rest == Rest::Dozing as u8 && urgency == Urgency::Soon;
        if let Some(thread) = monitor.thread.as_ref().filter(|_| is_needed) {
            thread.unpark();
        }
    }
}

/// Has a group looked after while this thread runs it, until the guard is dropped.
pub(crate) fn watch(group: Arc<dyn Watched>) -> Watch {
    Watch {
        watched: DESK.try_with(|desk| desk.groups.lock().push(group)).is_ok(),
    }
}

/// Has something looked after that is no group's, as long as this is kept.
pub(crate) struct Post {
    /// No thread's.
    _desk: Arc<Desk>,
}

/// Has something looked after that is there for long. It has to [`rouse`] the monitor when there is
/// something to be seen.
pub(crate) fn look_after(watched: Arc<dyn Watched>) -> Post {
    let desk = Desk::open();
    desk.groups.lock().push(watched);
    Post { _desk: desk }
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
