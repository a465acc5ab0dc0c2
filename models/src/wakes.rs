//! `LocalWaker::woken` of src/group/local.rs and `Bell::rung` of src/crew/roster.rs: a flag that keeps
//! a task that is woken many times from being queued more than once.

use loom::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

/// A task's flag, and the queue of those that are ready.
pub struct Bell {
    rung: AtomicBool,
    queue: Mutex<usize>,
    /// Whether the flag is cleared by a store, as it once was.
    is_stored: bool,
}

impl Bell {
    pub fn new(is_stored: bool) -> Self {
        Self {
            rung: AtomicBool::new(true),
            queue: Mutex::new(1),
            is_stored,
        }
    }

    /// Has the task polled.
    pub fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            *self.queue.lock().unwrap() += 1;
        }
    }

    /// Takes the task out of the queue, if it is there: it is about to be polled.
    pub fn answer(&self) -> bool {
        {
            let mut queue = self.queue.lock().unwrap();
            if *queue == 0 {
                return false;
            }
            *queue -= 1;
        }
        if self.is_stored {
            self.rung.store(false, Ordering::Release);
        } else {
            self.rung.swap(false, Ordering::AcqRel);
        }
        true
    }

    /// How often the task is in the queue.
    pub fn queued(&self) -> usize {
        *self.queue.lock().unwrap()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use loom::{sync::atomic::AtomicUsize, thread};

    use super::*;
    use crate::check;

    /// What is written before a wake is seen by a poll that comes after it.
    fn is_seen(is_stored: bool) {
        check(move || {
            let bell = Arc::new(Bell::new(is_stored));
            let news = Arc::new(AtomicUsize::new(0));
            let waker = {
                let (bell, news) = (Arc::clone(&bell), Arc::clone(&news));
                thread::spawn(move || {
                    // Relaxed: nothing but the wake carries it over.
                    news.store(1, Ordering::Relaxed);
                    bell.ring();
                })
            };
            let mut seen = 0;
            if bell.answer() {
                seen = news.load(Ordering::Relaxed);
            }
            waker.join().unwrap();
            let is_queued = bell.queued() == 1;
            assert!(bell.queued() <= 1, "queued twice");
            assert!(seen == 1 || is_queued, "nobody will look at it again");
        });
    }

    #[test]
    fn what_is_written_before_a_wake_is_seen_by_the_next_poll() {
        is_seen(false);
    }

    #[test]
    #[should_panic(expected = "nobody will look at it again")]
    fn a_flag_that_is_cleared_by_a_store_loses_news() {
        is_seen(true);
    }

    #[test]
    fn two_who_wake_queue_once() {
        check(|| {
            let bell = Arc::new(Bell::new(false));
            assert!(bell.answer());
            let other = {
                let bell = Arc::clone(&bell);
                thread::spawn(move || bell.ring())
            };
            bell.ring();
            other.join().unwrap();
            assert_eq!(bell.queued(), 1);
        });
    }
}
