//! Wakers of borrowing children.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence},
    },
    task::{Wake, Waker},
};

use crate::group::hub::Hub;

/// Wakes one borrowing child.
pub(super) struct LocalWaker {
    hub: Arc<Hub>,
    slot: AtomicUsize,
    /// The child.
    id: AtomicU64,
    /// Whether it is among those that are ready already.
    pub(super) woken: AtomicBool,
}

/// The waker of a child that has no slot yet.
pub(super) struct Spare {
    pub(super) own: Arc<LocalWaker>,
    pub(super) waker: Waker,
}

impl Spare {
    pub(super) fn new(hub: &Arc<Hub>, slot: usize, id: u64) -> Self {
        let own = Arc::new(LocalWaker {
            hub: Arc::clone(hub),
            slot: AtomicUsize::new(slot),
            id: AtomicU64::new(id),
            woken: AtomicBool::new(false),
        });
        let waker = Waker::from(Arc::clone(&own));
        Self { own, waker }
    }

    /// Makes this the waker of another child. False if somebody has a clone of it.
    pub(super) fn lend(&self, slot: usize, id: u64) -> bool {
        let is_known = Arc::strong_count(&self.own) > 2;
        if !is_known {
            // What those did who had it before must not find the values of now.
            fence(Ordering::Acquire);
            // Relaxed: whoever gets a clone of it gets these with it.
            self.own.slot.store(slot, Ordering::Relaxed);
            self.own.id.store(id, Ordering::Relaxed);
            self.own.woken.store(false, Ordering::Relaxed);
        }
        !is_known
    }
}

impl Wake for LocalWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // AcqRel: pairs with the swap before each poll.
        if !self.woken.swap(true, Ordering::AcqRel) {
            let slot = self.slot.load(Ordering::Relaxed);
            self.hub.wake_local(slot, self.id.load(Ordering::Relaxed));
        }
    }
}
