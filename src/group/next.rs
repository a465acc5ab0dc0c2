//! The child that a thread goes on with.

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
};

use super::{child::Runnable, hub::Hub};

thread_local! {
    /// The address of the group of which a child is caught here; 0 if none is.
    static CATCHES: Cell<usize> = const { Cell::new(0) };

    static CAUGHT: RefCell<Option<Runnable>> = const { RefCell::new(None) };
}

/// Wakes a child of the group, and catches it before it goes into the queue: this thread has just made what it
/// waits for, and has it in its caches.
pub(super) fn catch(hub: &Arc<Hub>, wake: impl FnOnce()) -> Option<Runnable> {
    CATCHES.set(address(hub));
    wake();
    CATCHES.set(0);
    CAUGHT.with(|caught| caught.borrow_mut().take())
}

/// Gives the child back, unless it is to be caught here.
#[inline]
pub(super) fn pass(runnable: Runnable) -> Option<Runnable> {
    if CATCHES.get() == address(&runnable.metadata().hub) {
        CATCHES.set(0);
        CAUGHT.with(|caught| caught.replace(Some(runnable)))
    } else {
        Some(runnable)
    }
}

fn address(hub: &Arc<Hub>) -> usize {
    Arc::as_ptr(hub) as usize
}
