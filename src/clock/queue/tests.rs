//! Alarms in a queue, with a clock that is a number.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    task::{Wake, Waker},
};

use super::*;

const US: u64 = 1_000;
const MS: u64 = 1_000 * US;
const HOUR: u64 = 3_600_000 * MS;

/// Whose alarms have come, in order.
type Log = Arc<Mutex<Vec<usize>>>;

struct Named(usize, Log);

impl Wake for Named {
    fn wake(self: Arc<Self>) {
        self.1.lock().expect("nothing panics").push(self.0);
    }
}

fn named(name: usize, log: &Log) -> Waker {
    Waker::from(Arc::new(Named(name, Arc::clone(log))))
}

/// Takes out what is due, and returns whose it was.
fn come(queue: &mut Queue, now: u64, log: &Log) -> Vec<usize> {
    while let Some(waker) = queue.pop_due(now) {
        waker.wake();
    }
    mem::take(&mut *log.lock().expect("nothing panics"))
}

/// Numbers that look random, always the same.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

#[test]
fn what_is_due_comes_out_in_order() {
    let log = Log::default();
    let mut queue = Queue::new();
    for (name, due) in [70 * MS, 3, HOUR, 20 * MS, 3, 500 * US]
        .into_iter()
        .enumerate()
    {
        queue.insert(0, due, named(name, &log));
    }
    assert_eq!(come(&mut queue, 2, &log), [0; 0]);
    assert_eq!(come(&mut queue, 70 * MS, &log), [1, 4, 5, 3, 0]);
    assert_eq!(come(&mut queue, HOUR, &log), [2]);
    assert_eq!(queue.next(), None);
}

/// Against a model that is too simple to be wrong.
#[test]
fn any_order_of_setting_and_taking_out_is_right() {
    let mut random = Random(88_172_645_463_325_252);
    let log = Log::default();
    let mut queue = Queue::new();
    let mut model = BTreeMap::new();
    let mut tickets = Vec::new();
    let mut now = 0;
    for turn in 0..20_000 {
        match random.below(10) {
            0..=4 => {
                let longest = [100 * US, 10 * MS, HOUR][random.below(3) as usize];
                let due = now + 1 + random.below(longest);
                let (ticket, _) = queue.insert(now, due, named(turn, &log));
                model.insert((due, turn), ());
                tickets.push((ticket, due, turn));
            }
            5..=7 if !tickets.is_empty() => {
                let index = random.below(tickets.len() as u64) as usize;
                let (ticket, due, turn) = tickets.swap_remove(index);
                let was_there = model.remove(&(due, turn)).is_some();
                assert_eq!(queue.remove(ticket).is_some(), was_there);
            }
            _ => {
                now += random.below(2 * MS);
                let later = model.split_off(&(now + 1, 0));
                let due: Vec<_> = model.into_keys().map(|(_, turn)| turn).collect();
                model = later;
                assert_eq!(come(&mut queue, now, &log), due);
            }
        }
        let earliest = model.keys().next().map(|(due, _)| *due);
        assert_eq!(queue.next().is_some(), earliest.is_some());
        assert!(queue.next() >= earliest);
        let set: usize = queue.heaps.iter().map(Vec::len).sum();
        assert_eq!(set, model.len());
    }
}

#[test]
fn an_alarm_is_never_early_and_little_late() {
    for left in (0..64).map(|bit| 1_u64 << bit).chain([
        0,
        3,
        900 * US,
        10 * MS,
        HOUR,
        u64::MAX / 2,
        u64::MAX,
    ]) {
        for now in [0, 1, 12_345_678_901, HOUR - 1] {
            let due = left.saturating_add(now);
            let (_, latest) = Queue::new().insert(now, due, Waker::noop().clone());
            let late = latest.checked_sub(due).expect("never early");
            assert!(late <= left / 32, "{late} ns of {left}");
            assert!(late < 1 << COARSEST);
        }
    }
}

#[test]
fn alarms_that_come_at_about_the_same_time_come_together() {
    let mut queue = Queue::new();
    let looks = (0..1_000).map(|i| {
        let due = 20 * MS + i * 10 * US;
        queue.insert(0, due, Waker::noop().clone()).1
    });
    let mut looks: Vec<_> = looks.collect();
    looks.dedup();
    assert!(looks.len() <= 21, "{}", looks.len());
}

#[test]
fn a_ticket_of_an_alarm_that_has_come_is_void() {
    let log = Log::default();
    let mut queue = Queue::new();
    let (old, _) = queue.insert(0, 1, named(0, &log));
    assert_eq!(come(&mut queue, 1, &log), [0]);
    // In the same slot.
    let (new, _) = queue.insert(1, 2, named(1, &log));
    assert!(queue.remove(old).is_none());
    assert!(queue.exchange(old, named(2, &log)).is_err());
    assert!(queue.exchange(new, named(3, &log)).is_ok());
    assert_eq!(come(&mut queue, 2, &log), [3]);
}

#[test]
fn memory_for_many_alarms_is_given_back() {
    let mut queue = Queue::new();
    let set = |queue: &mut Queue| queue.insert(0, HOUR, Waker::noop().clone()).0;
    let tickets: Vec<_> = (0..3 * KEPT).map(|_| set(&mut queue)).collect();
    let last = tickets[tickets.len() - 1];
    for ticket in tickets {
        assert!(queue.remove(ticket).is_some());
    }
    assert_eq!(queue.slots.capacity(), 0);
    assert!(queue.heaps.iter().all(|heap| heap.capacity() == 0));
    let ticket = set(&mut queue);
    assert!(queue.remove(last).is_none());
    assert!(queue.remove(ticket).is_some());
}
