//! `Monitor::watch` and `rouse` of src/pool/monitor.rs: a thread that goes to sleep when nothing has
//! happened for a while, and must not sleep through what happens then.

use loom::sync::{
    Condvar, Mutex,
    atomic::{AtomicBool, Ordering, fence},
};

/// The flags of the monitor.
pub struct Monitor {
    roused: AtomicBool,
    asleep: AtomicBool,
    /// What `park` and `unpark` do in the source: one token, which is kept until it is taken.
    token: Mutex<bool>,
    given: Condvar,
    /// Whether the two flags are ordered against each other.
    is_ordered: bool,
}

impl Monitor {
    pub fn new(is_ordered: bool) -> Self {
        Self {
            roused: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            token: Mutex::new(false),
            given: Condvar::new(),
            is_ordered,
        }
    }

    /// Goes to sleep until it has been roused. In the source there is a look at all groups before.
    pub fn sleep_until_roused(&self) {
        while !self.roused.swap(false, Ordering::AcqRel) {
            self.asleep.swap(true, Ordering::AcqRel);
            self.order();
            if !self.roused.load(Ordering::Acquire) {
                self.park();
            }
            self.asleep.store(false, Ordering::Release);
        }
    }

    /// Says that there is something to look after.
    pub fn rouse(&self) {
        if !self.roused.load(Ordering::Acquire) {
            self.roused.swap(true, Ordering::AcqRel);
            self.order();
            if self.asleep.load(Ordering::Acquire) {
                self.unpark();
            }
        }
    }

    fn park(&self) {
        let mut token = self.token.lock().unwrap();
        while !*token {
            token = self.given.wait(token).unwrap();
        }
        *token = false;
    }

    fn unpark(&self) {
        *self.token.lock().unwrap() = true;
        self.given.notify_one();
    }

    /// What `SeqCst` on both flags does in the source: of two threads that each set one flag and then
    /// look at the other, one sees what the other has set.
    ///
    /// loom takes `SeqCst` accesses for `AcqRel` and would find what cannot happen. With swaps in place
    /// of the stores and fences behind them it knows that order.
    fn order(&self) {
        if self.is_ordered {
            fence(Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use loom::thread;

    use super::*;
    use crate::check;

    fn is_roused(is_ordered: bool) {
        check(move || {
            let monitor = Arc::new(Monitor::new(is_ordered));
            let sleeper = {
                let monitor = Arc::clone(&monitor);
                thread::spawn(move || monitor.sleep_until_roused())
            };
            monitor.rouse();
            sleeper.join().unwrap();
        });
    }

    #[test]
    fn the_monitor_does_not_sleep_through_what_happens() {
        is_roused(true);
    }

    #[test]
    #[should_panic(expected = "deadlock")]
    fn without_an_order_between_the_flags_it_does() {
        is_roused(false);
    }
}
