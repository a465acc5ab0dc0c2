//! Who of a crew is ready.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
};

use crate::{frame, lock::Mutex};

/// The hands that have been woken since the crew last looked.
#[derive(Default)]
pub(super) struct Roster {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The numbers of those that are ready, in the order in which they became so.
    ready: VecDeque<usize>,
    /// Wakes the task of the crew; there while the crew waits.
    waker: Option<Waker>,
}

impl Roster {
    /// The crew begins to poll: takes those that are ready over into `round`, which is empty.
    pub(super) fn take_ready(&self, round: &mut VecDeque<usize>) {
        let waker = {
            let mut state = self.state.lock();
            std::mem::swap(&mut state.ready, round);
            state.waker.take()
        };
        drop(waker);
    }

    /// Puts a hand among those that are ready, without waking anybody.
    pub(super) fn add(&self, index: usize) {
        self.state.lock().ready.push_back(index);
    }

    /// The crew has nothing more to do now: `waker` will be woken when there is, or at once if that
    /// is so already.
    pub(super) fn wait(&self, waker: &Waker) {
        let mut waker = Some(waker.clone());
        let is_ready = {
            let mut state = self.state.lock();
            std::mem::swap(&mut state.waker, &mut waker);
            if state.ready.is_empty() {
                None
            } else {
                state.waker.take()
            }
        };
        drop(waker);
        frame::wake(is_ready);
    }

    fn ring(&self, index: usize) {
        let waker = {
            let mut state = self.state.lock();
            state.ready.push_back(index);
            state.waker.take()
        };
        frame::wake(waker);
    }
}

/// Wakes one hand.
#[expect(
    unnameable_types,
    reason = "a hidden part of traits that are implemented here only"
)]
pub struct Bell {
    roster: Arc<Roster>,
    index: usize,
    /// Whether it is among those that are ready already.
    rung: AtomicBool,
}

impl Bell {
    /// A bell that was rung: its hand has its first turn to come.
    pub(super) fn new(roster: &Arc<Roster>, index: usize) -> Arc<Self> {
        Arc::new(Self {
            roster: Arc::clone(roster),
            index,
            rung: AtomicBool::new(true),
        })
    }

    /// Has the hand polled.
    pub(super) fn ring(&self) {
        // AcqRel: pairs with the swap in `answer`.
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.roster.ring(self.index);
        }
    }

    /// The hand is about to be polled.
    pub(super) fn answer(&self) {
        // A swap, for what it acquires: somebody who found the bell rung has taken no lock, and the
        // poll that comes now has to see what they did before.
        self.rung.swap(false, Ordering::AcqRel);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bell")
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}
