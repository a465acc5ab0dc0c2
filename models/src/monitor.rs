//! `Monitor::watch` and `rouse` of src/pool/monitor.rs: a thread that rests when nothing has happened for
//! a while, and must not sleep through what happens then.

use loom::sync::{
    Condvar, Mutex,
    atomic::{AtomicBool, AtomicU8, Ordering, fence},
};

/// How soon somebody wants the monitor to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    Later,
    Soon,
}

/// How the monitor rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    Awake,
    /// In the source this ends by itself after a while. Here it does not: nobody is to count on that
    /// who wants a look soon.
    Dozing,
    Asleep,
}

/// The flags of the monitor.
pub struct Monitor {
    roused: AtomicBool,
    hurried: AtomicBool,
    rest: AtomicU8,
    /// What `park` and `unpark` do in the source: one token, which is kept until it is taken.
    token: Mutex<bool>,
    given: Condvar,
    /// Whether the flags are ordered against each other.
    is_ordered: bool,
}

impl Monitor {
    pub fn new(is_ordered: bool) -> Self {
        Self {
            roused: AtomicBool::new(false),
            hurried: AtomicBool::new(false),
            rest: AtomicU8::new(Rest::Awake as u8),
            token: Mutex::new(false),
            given: Condvar::new(),
            is_ordered,
        }
    }

    /// Rests, so deeply, until it has been roused. In the source there is a look at all groups before
    /// each rest.
    pub fn rest_until_roused(&self, rest: Rest) {
        loop {
            let hurried = self.hurried.swap(false, Ordering::AcqRel);
            let roused = self.roused.swap(false, Ordering::AcqRel);
            if hurried || roused && rest == Rest::Asleep {
                return;
            }
            self.rest(rest);
        }
    }

    fn rest(&self, rest: Rest) {
        self.rest.swap(rest as u8, Ordering::AcqRel);
        self.order();
        let hurried = self.hurried.load(Ordering::Acquire);
        match rest {
            Rest::Asleep if !hurried && !self.roused.load(Ordering::Acquire) => self.park(),
            Rest::Dozing if !hurried => self.park(),
            _ => {}
        }
        self.rest.store(Rest::Awake as u8, Ordering::Release);
    }

    /// Says that there is something to look after.
    pub fn rouse(&self, urgency: Urgency) {
        let flag = match urgency {
            Urgency::Soon => &self.hurried,
            Urgency::Later => &self.roused,
        };
        if !flag.load(Ordering::Acquire) {
            flag.swap(true, Ordering::AcqRel);
            self.order();
            let rest = self.rest.load(Ordering::Acquire);
            if rest == Rest::Asleep as u8 || rest == Rest::Dozing as u8 && urgency == Urgency::Soon
            {
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

    /// What `SeqCst` on all flags does in the source: of two threads that each set one flag and then
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

    fn is_roused(is_ordered: bool, rest: Rest, by: &'static [Urgency]) {
        check(move || {
            let monitor = Arc::new(Monitor::new(is_ordered));
            let rests = {
                let monitor = Arc::clone(&monitor);
                thread::spawn(move || monitor.rest_until_roused(rest))
            };
            for urgency in by {
                monitor.rouse(*urgency);
            }
            rests.join().unwrap();
        });
    }

    #[test]
    fn the_monitor_does_not_sleep_through_what_happens() {
        is_roused(true, Rest::Asleep, &[Urgency::Later]);
        is_roused(true, Rest::Asleep, &[Urgency::Soon]);
    }

    #[test]
    fn the_monitor_does_not_doze_through_what_is_urgent() {
        is_roused(true, Rest::Dozing, &[Urgency::Soon]);
        is_roused(true, Rest::Dozing, &[Urgency::Later, Urgency::Soon]);
    }

    #[test]
    #[should_panic(expected = "deadlock")]
    fn what_is_not_urgent_does_not_wake_a_monitor_that_dozes() {
        is_roused(true, Rest::Dozing, &[Urgency::Later]);
    }

    #[test]
    #[should_panic(expected = "deadlock")]
    fn without_an_order_between_the_flags_it_sleeps_through_it() {
        is_roused(false, Rest::Asleep, &[Urgency::Later]);
    }
}
