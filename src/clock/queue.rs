//! The alarms that are set, as plain data: who is to be woken when.

use std::{mem, task::Waker};

/// How many places there are below each place of a heap. They lie next to each other, in one or two cache
/// lines, and there are half as many steps as in a binary heap.
const BRANCHES: usize = 4;

/// An alarm may come later than it was set to by this fraction of the time that was left then: one
/// thirty-second.
const SLACK: u32 = 5;

/// The finest grain, as a power of two: 65 µs. What has no slack for that, being less than 2 ms away,
/// comes on time.
const FINEST: u32 = 16;

/// The coarsest grain: 1.05 ms.
const COARSEST: u32 = 20;

/// How many grades of exactness there are: on time, and one for each grain.
const GRADES: usize = 2 + (COARSEST - FINEST) as usize;

/// No place.
const NOWHERE: u32 = u32::MAX;

/// Memory for more alarms than this is given back when there are none.
const KEPT: usize = 1024;

/// A set of alarms, each with a waker. Times are in nanoseconds since some beginning.
///
/// Every alarm has a *grade*: how far its time may be rounded up to a multiple of a grain, so that one
/// turn of the reactor serves many. There is a heap for each grade. An alarm is due when its own time has
/// come, whatever its grain: what makes one come late is only that [`next`](Self::next) tells the rounded
/// time. So whenever anybody looks, all that are due come out, in the order of their times.
///
/// # Why heaps
///
/// The heaps know each alarm by its slot, and a slot knows its place in the heap. So an alarm that is not
/// needed any more, which is the end of most timeouts, is taken out at once. Measured, in nanoseconds: set
/// and taken out alone; the same among 10,000; set among 100,000 and coming, in order and at random.
///
/// | | alone | among 10,000 | in order | at random |
/// |---|---:|---:|---:|---:|
/// | this one | 20 | 29 | 52 | 77 |
/// | `BinaryHeap`, sweeping up what is dead | 15 | 27 | 52 | 82 |
/// | `BTreeMap` | 33 | 142 | 79 | 127 |
/// | hierarchical wheel | 20 | 18 | 19 | 45 |
///
/// Sweeping up stops everybody at the lock once in a while, for as long as it takes to go through all of
/// them, and a program that never waits long enough for that keeps what is dead. A wheel is as exact as its finest
/// slots, and has to be woken to move alarms from the coarse ones to the fine ones. What it would save is
/// little beside what it costs to wake a task.
#[derive(Debug)]
pub(super) struct Queue {
    heaps: [Vec<Entry>; GRADES],
    slots: Vec<Slot>,
    /// The first vacant slot, if there is one. Each of them knows the next.
    vacant: u32,
    /// How many alarms have been set, ever.
    turns: u64,
}

/// An alarm in a heap: when it is due, the lower half of its turn, its slot.
///
/// What is set to the same time comes in the order in which it was set, except that twice in 4 billion
/// alarms the order may be another one. All of it in one number, so that comparing does not branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry(u128);

impl Entry {
    fn new(due: u64, turn: u64, slot: u32) -> Self {
        Self(u128::from(due) << 64 | u128::from(turn as u32) << 32 | u128::from(slot))
    }

    fn due(self) -> u64 {
        (self.0 >> 64) as u64
    }

    fn slot(self) -> usize {
        self.0 as u32 as usize
    }
}

/// What else there is to know about an alarm.
#[derive(Debug)]
struct Slot {
    /// Which alarm this is, of all that ever had the slot.
    turn: u64,
    /// `None` in a vacant slot.
    waker: Option<Waker>,
    /// Its place in the heap. In a vacant slot, the next one that is.
    place: u32,
    grade: u8,
}

/// Names an alarm that was set. It may have come out since.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    turn: u64,
    slot: u32,
}

impl Queue {
    pub(super) const fn new() -> Self {
        Self {
            heaps: [const { Vec::new() }; GRADES],
            slots: Vec::new(),
            vacant: NOWHERE,
            turns: 0,
        }
    }

    /// Sets an alarm. Returns it, and when somebody is to look after it.
    ///
    /// # Panics
    ///
    /// Panics if there are 4 billion alarms.
    pub(super) fn insert(&mut self, now: u64, due: u64, waker: Waker) -> (Ticket, u64) {
        let grade = grade(due.saturating_sub(now));
        let turn = self.turns;
        self.turns += 1;
        let slot = self.occupy(turn, grade, waker);
        let heap = &mut self.heaps[usize::from(grade)];
        let place = heap.len();
        let entry = Entry::new(due, turn, slot);
        heap.push(entry);
        rise(heap, &mut self.slots, place, entry);
        (Ticket { turn, slot }, latest(grade, due))
    }

    fn occupy(&mut self, turn: u64, grade: u8, waker: Waker) -> u32 {
        let slot = Slot {
            turn,
            waker: Some(waker),
            place: NOWHERE,
            grade,
        };
        let vacant = self.vacant;
        if let Some(known) = self.slots.get_mut(vacant as usize) {
            self.vacant = known.place;
            *known = slot;
            return vacant;
        }
        let index = u32::try_from(self.slots.len()).ok();
        let index = index.filter(|&index| index != NOWHERE);
        self.slots.push(slot);
        index.expect("4 billion alarms are set at the same time")
    }

    /// Gives an alarm another waker. Returns the one that it had, or the new one if the alarm is not
    /// set any more.
    pub(super) fn exchange(&mut self, ticket: Ticket, waker: Waker) -> Result<Waker, Waker> {
        match self.slots.get_mut(ticket.slot as usize) {
            Some(slot) if slot.turn == ticket.turn => match &mut slot.waker {
                Some(known) => Ok(mem::replace(known, waker)),
                None => Err(waker),
            },
            _ => Err(waker),
        }
    }

    /// Takes an alarm out, if it is set.
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Waker> {
        let slot = self.slots.get(ticket.slot as usize)?;
        if slot.turn != ticket.turn || slot.waker.is_none() {
            return None;
        }
        let (grade, place) = (usize::from(slot.grade), slot.place as usize);
        self.take_from_heap(grade, place);
        self.vacate(ticket.slot)
    }

    /// Takes the earliest alarm out, if it is due.
    pub(super) fn pop_due(&mut self, now: u64) -> Option<Waker> {
        let heads = self.heaps.iter().enumerate();
        let due = heads
            .filter_map(|(grade, heap)| heap.first().map(|entry| (*entry, grade)))
            .min()
            .filter(|(entry, _)| entry.due() <= now);
        let (entry, grade) = due?;
        self.take_from_heap(grade, 0);
        self.vacate(entry.slot() as u32)
    }

    /// When somebody is to look after the alarms; never later than the first of them may come.
    pub(super) fn next(&self) -> Option<u64> {
        let heads = self.heaps.iter().zip(0..);
        heads
            .filter_map(|(heap, grade)| heap.first().map(|entry| latest(grade, entry.due())))
            .min()
    }

    fn take_from_heap(&mut self, grade: usize, place: usize) {
        let heap = &mut self.heaps[grade];
        let taken = heap[place];
        let Some(last) = heap.pop().filter(|_| place < heap.len()) else {
            return;
        };
        // The hole is filled with the last one, which belongs further up or further down.
        if last < taken {
            rise(heap, &mut self.slots, place, last);
        } else {
            sink(heap, &mut self.slots, place, last);
        }
    }

    fn vacate(&mut self, index: u32) -> Option<Waker> {
        let slot = &mut self.slots[index as usize];
        slot.place = self.vacant;
        self.vacant = index;
        let waker = slot.waker.take();
        if self.slots.len() > KEPT && self.heaps.iter().all(Vec::is_empty) {
            // No ticket is mistaken for one of an alarm yet to come: turns go on.
            self.slots = Vec::new();
            self.vacant = NOWHERE;
            self.heaps = [const { Vec::new() }; GRADES];
        }
        waker
    }
}

/// How exact an alarm has to be, by the time that is left until it is due.
fn grade(left: u64) -> u8 {
    let grain = (left >> SLACK).checked_ilog2().unwrap_or(0);
    let grade = (grain.min(COARSEST) + 1).saturating_sub(FINEST);
    grade as u8
}

/// When an alarm comes at the latest.
fn latest(grade: u8, due: u64) -> u64 {
    let grain = match grade {
        0 => return due,
        grade => 1 << (FINEST + u32::from(grade) - 1),
    };
    due.checked_next_multiple_of(grain).unwrap_or(u64::MAX)
}

/// Puts an entry where it belongs, at this place of the heap or above it.
fn rise(heap: &mut [Entry], slots: &mut [Slot], mut place: usize, entry: Entry) {
    while place > 0 {
        let above = (place - 1) / BRANCHES;
        if heap[above] <= entry {
            break;
        }
        settle(heap, slots, place, heap[above]);
        place = above;
    }
    settle(heap, slots, place, entry);
}

/// Puts an entry where it belongs, at this place of the heap or below it.
///
/// It goes all the way down first and then up again: it was the last one, so it belongs far down.
fn sink(heap: &mut [Entry], slots: &mut [Slot], mut place: usize, entry: Entry) {
    loop {
        let first = place * BRANCHES + 1;
        let below = match heap.get(first..first + BRANCHES) {
            Some(&[a, b, c, d]) => {
                let (left, least_left) = if b < a { (1, b) } else { (0, a) };
                let (right, least_right) = if d < c { (3, d) } else { (2, c) };
                first
                    + if least_right < least_left {
                        right
                    } else {
                        left
                    }
            }
            _ => match (first..heap.len()).min_by_key(|&below| heap[below]) {
                Some(below) => below,
                None => break,
            },
        };
        settle(heap, slots, place, heap[below]);
        place = below;
    }
    rise(heap, slots, place, entry);
}

fn settle(heap: &mut [Entry], slots: &mut [Slot], place: usize, entry: Entry) {
    heap[place] = entry;
    slots[entry.slot()].place = place as u32;
}

#[cfg(test)]
mod tests;
