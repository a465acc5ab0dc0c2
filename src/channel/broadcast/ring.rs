//! The items of a broadcast channel, and who has received which.

use std::{collections::VecDeque, sync::Arc, thread};

use super::error::BroadcastTryRecvError;
use crate::waiters::{Aftermath, Waiters};

/// The state of a broadcast channel.
///
/// Items are numbered in the order in which they are sent. A receiver has the number of the item
/// that it gets next, and receives in order; so an item that all have received is the oldest one.
#[derive(Debug)]
pub(super) struct Ring<T> {
    capacity: usize,
    slots: VecDeque<Slot<T>>,
    /// The number of the oldest item that is there.
    oldest: u64,
    /// Receivers that wait. What is granted to them is a look.
    pub(super) waiters: Waiters,
    closed: bool,
    broken: bool,
    senders: usize,
    receivers: usize,
    peak: usize,
}

/// An item that somebody has not received.
#[derive(Debug)]
struct Slot<T> {
    item: Arc<T>,
    /// How many have not received it.
    left: usize,
}

/// The most items that room is set aside for in advance.
const SET_ASIDE: usize = 256;

impl<T> Ring<T> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            slots: VecDeque::with_capacity(capacity.min(SET_ASIDE)),
            oldest: 0,
            waiters: Waiters::new(),
            closed: false,
            broken: false,
            senders: 1,
            receivers: 1,
            peak: 0,
        }
    }

    /// The number of the item that will be sent next.
    pub(super) fn next(&self) -> u64 {
        self.oldest + self.slots.len() as u64
    }

    /// How many items there are for a receiver at this number.
    pub(super) fn unread(&self, next: u64) -> usize {
        usize::try_from(self.next() - next.max(self.oldest)).unwrap_or(usize::MAX)
    }

    /// Takes an item, and returns how many will receive it, and the item that had to go for it. Gives
    /// the item back if nobody will.
    pub(super) fn send(
        &mut self,
        item: Arc<T>,
        after: &mut Aftermath,
    ) -> Result<(usize, Option<Arc<T>>), Arc<T>> {
        if self.closed || self.receivers == 0 {
            return Err(item);
        }
        let gone = if self.slots.len() == self.capacity {
            self.pop()
        } else {
            None
        };
        let left = self.receivers;
        self.slots.push_back(Slot { item, left });
        self.peak = self.peak.max(self.slots.len());
        self.waiters.grant_all(after);
        Ok((left, gone))
    }

    /// Takes out the oldest item.
    fn pop(&mut self) -> Option<Arc<T>> {
        let slot = self.slots.pop_front()?;
        self.oldest += 1;
        Some(slot.item)
    }

    /// Receives for a receiver at this number, and moves it on.
    pub(super) fn recv(&mut self, next: &mut u64) -> Result<Arc<T>, BroadcastTryRecvError> {
        if *next < self.oldest {
            let missed = self.oldest - *next;
            *next = self.oldest;
            return Err(BroadcastTryRecvError::Lagged(missed));
        }
        let index = usize::try_from(*next - self.oldest).unwrap_or(usize::MAX);
        let Some(slot) = self.slots.get_mut(index) else {
            return Err(if !self.closed {
                BroadcastTryRecvError::Empty
            } else if self.broken {
                BroadcastTryRecvError::Broken
            } else {
                BroadcastTryRecvError::Closed
            });
        };
        *next += 1;
        slot.left -= 1;
        if slot.left > 0 {
            return Ok(Arc::clone(&slot.item));
        }
        // The last one to receive it is alone with it.
        self.pop().ok_or(BroadcastTryRecvError::Empty)
    }

    /// Counts one more receiver, at this number.
    pub(super) fn add_receiver(&mut self, next: u64) {
        self.receivers += 1;
        for slot in self.unread_slots(next) {
            slot.left += 1;
        }
    }

    /// Counts a receiver off, at this number. Returns the items that nobody will receive any more.
    #[must_use = "to be dropped after unlocking"]
    pub(super) fn remove_receiver(&mut self, next: u64) -> Vec<Arc<T>> {
        self.receivers -= 1;
        for slot in self.unread_slots(next) {
            slot.left -= 1;
        }
        let mut gone = Vec::new();
        while self.slots.front().is_some_and(|slot| slot.left == 0) {
            gone.extend(self.pop());
        }
        gone
    }

    /// The slots that a receiver at this number has not received.
    fn unread_slots(&mut self, next: u64) -> impl Iterator<Item = &mut Slot<T>> {
        let read = self.slots.len() - self.unread(next);
        self.slots.iter_mut().skip(read)
    }

    pub(super) fn add_sender(&mut self) {
        self.senders += 1;
    }

    /// Counts a sender off. If it was the last one, the channel closes.
    pub(super) fn remove_sender(&mut self, after: &mut Aftermath) {
        self.broken |= thread::panicking();
        self.senders -= 1;
        if self.senders == 0 {
            self.close(after);
        }
    }

    /// Lets nothing more be sent. False if that was so already.
    pub(super) fn close(&mut self, after: &mut Aftermath) -> bool {
        self.waiters.grant_all(after);
        !std::mem::replace(&mut self.closed, true)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn peak(&self) -> usize {
        self.peak
    }

    pub(super) fn receivers(&self) -> usize {
        self.receivers
    }
}
