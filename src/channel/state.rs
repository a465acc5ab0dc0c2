//! What a channel knows, and the rules by which it changes.

use std::{collections::VecDeque, task::Poll, thread};

use super::error::RecvError;
use crate::waiters::{Aftermath, Caller, Left, Place, Waiters};

/// How much a channel holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Capacity {
    /// This many items.
    Bounded(usize),
    /// One for each receiver that waits.
    Rendezvous,
    /// Any number.
    Unbounded,
}

/// The state of a channel, guarded by its lock.
///
/// Items are never put into anybody's hands: they stay in the one queue until they are taken, so
/// they are taken in the order in which they were sent, whoever is cancelled meanwhile. What is
/// granted to a receiver in line is a *turn*: the right to one of the items in the queue. What is
/// granted to a sender in line is a *claim*: the right to room for one item. Its item stays with
/// its future until that runs.
///
/// Whenever the lock is free:
///
/// - every item has a turn, or no receiver is in line;
/// - all room is taken by items, permits and claims, or no sender is in line.
#[derive(Debug)]
pub(super) struct State<T> {
    capacity: Capacity,
    items: VecDeque<T>,
    /// How many permits have been handed out and not used yet.
    permits: usize,
    /// Those who wait for room; a grant is a claim.
    senders: Waiters,
    /// Those who wait for an item; a grant is a turn.
    receivers: Waiters,
    /// Receivers that are read as streams. They are told of items that have no turn, and do not
    /// have a place in line: a stream that is not polled any more would keep its turn.
    streams: Waiters,
    /// Those who wait for the channel to be closed.
    watchers: Waiters,
    /// The limit, while it does not depend on who waits and the channel is open; else 0.
    quiet_limit: usize,
    /// Nothing more can be sent, except with permits.
    closed: bool,
    /// A sender was dropped by a panic.
    broken: bool,
    sender_count: usize,
    receiver_count: usize,
    /// The most items that there ever were in the queue.
    peak: usize,
}

/// Why nothing was sent, or received, at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no room, or no item.
    NotNow,
    /// There never will be.
    Never,
}

impl<T> State<T> {
    /// The most items that room is set aside for in advance.
    const SET_ASIDE: usize = 256;

    pub(super) fn new(capacity: Capacity) -> Self {
        let set_aside = match capacity {
            Capacity::Bounded(capacity) => capacity.min(Self::SET_ASIDE),
            Capacity::Rendezvous => 1,
            Capacity::Unbounded => 0,
        };
        Self {
            capacity,
            items: VecDeque::with_capacity(set_aside),
            permits: 0,
            senders: Waiters::new(),
            receivers: Waiters::new(),
            streams: Waiters::new(),
            watchers: Waiters::new(),
            quiet_limit: match capacity {
                Capacity::Bounded(capacity) => capacity,
                Capacity::Rendezvous => 0,
                Capacity::Unbounded => usize::MAX,
            },
            closed: false,
            broken: false,
            sender_count: 1,
            receiver_count: 1,
            peak: 0,
        }
    }

    /// How many items there may be, permits and claims included.
    fn limit(&self) -> usize {
        match self.capacity {
            Capacity::Bounded(capacity) => capacity,
            Capacity::Rendezvous => self.receivers.len() + self.streams.waiting(),
            Capacity::Unbounded => usize::MAX,
        }
    }

    /// How much of the limit is taken.
    fn taken(&self) -> usize {
        self.items.len() + self.permits + self.senders.granted()
    }

    /// Whether a newcomer may send.
    fn has_room(&self) -> bool {
        self.taken() < self.limit() && self.senders.waiting() == 0
    }

    /// Whether there is an item that a newcomer may take.
    fn has_spare_item(&self) -> bool {
        self.items.len() > self.receivers.granted()
    }

    /// Whether nothing will be received any more.
    fn is_over(&self) -> bool {
        self.closed && self.items.is_empty() && self.permits == 0
    }

    /// Restores what is true whenever the lock is free, after something has changed.
    #[inline]
    fn settle(&mut self, after: &mut Aftermath) {
        if self.receivers.waiting() + self.streams.waiting() > 0 {
            self.give_turns(after);
        }
        if self.senders.waiting() > 0 && !self.closed {
            self.give_claims(after);
        }
        if self.quiet_limit == 0 {
            self.settle_end(after);
        }
    }

    /// Restores what is not to be thought of as long as the limit stands.
    #[inline(never)]
    fn settle_end(&mut self, after: &mut Aftermath) {
        if self.is_over() {
            self.receivers.wake_all(after);
            self.streams.grant_all(after);
        }
        if self.capacity == Capacity::Rendezvous {
            self.revoke_claims();
        }
    }

    /// Tells receivers of items that nobody has a turn for.
    fn give_turns(&mut self, after: &mut Aftermath) {
        while self.has_spare_item() && self.receivers.grant_first(after) {}
        if self.has_spare_item() {
            self.streams.grant_all(after);
        }
    }

    /// Tells senders of room.
    fn give_claims(&mut self, after: &mut Aftermath) {
        while self.taken() < self.limit() && self.senders.grant_first(after) {}
    }

    /// Takes claims back that were for receivers which have gone since.
    fn revoke_claims(&mut self) {
        while self.taken() > self.limit() && self.senders.revoke_last() {}
    }

    fn push(&mut self, item: T) {
        self.items.push_back(item);
        self.peak = self.peak.max(self.items.len());
    }

    fn pop(&mut self, after: &mut Aftermath) -> Option<T> {
        let item = self.items.pop_front();
        self.settle(after);
        item
    }

    /// What receivers are told when it is over.
    fn end(&self) -> RecvError {
        if self.broken {
            RecvError::Broken
        } else {
            RecvError::Closed
        }
    }
}

/// Sending.
impl<T> State<T> {
    /// Takes the item of a newcomer, if that concerns nobody else. False if it may.
    #[inline]
    pub(super) fn send_unnoticed(&mut self, item: &mut Option<T>) -> bool {
        let nobody_waits =
            self.senders.waiting() + self.receivers.waiting() + self.streams.waiting() == 0;
        let unnoticed = nobody_waits && self.taken() < self.quiet_limit;
        if unnoticed {
            if let Some(item) = item.take() {
                self.push(item);
            }
        }
        unnoticed
    }

    /// Finds room for an item at once.
    fn find_room(&self) -> Result<(), Refusal> {
        if self.closed {
            Err(Refusal::Never)
        } else if self.has_room() {
            Ok(())
        } else {
            Err(Refusal::NotNow)
        }
    }

    /// Waits for room. Fails if the channel is closed.
    fn poll_room(
        &mut self,
        place: &mut Place,
        caller: &mut Caller<'_>,
        after: &mut Aftermath,
    ) -> Poll<Result<(), Refusal>> {
        if self.closed {
            // The claims of a closed channel count for nothing.
            let (Left::Nothing | Left::Place | Left::Grant) = self.senders.leave(place, after);
            return Poll::Ready(Err(Refusal::Never));
        }
        if self.senders.collect(place) || !place.is_taken() && self.has_room() {
            return Poll::Ready(Ok(()));
        }
        self.senders.park(place, caller, ());
        Poll::Pending
    }

    /// Takes the item if there is room for it.
    pub(super) fn try_send(
        &mut self,
        item: &mut Option<T>,
        after: &mut Aftermath,
    ) -> Result<(), Refusal> {
        self.find_room()?;
        self.send(item, after);
        Ok(())
    }

    /// Takes the item once there is room for it.
    #[inline]
    pub(super) fn poll_send(
        &mut self,
        item: &mut Option<T>,
        place: &mut Place,
        caller: &mut Caller<'_>,
        after: &mut Aftermath,
    ) -> Poll<Result<(), Refusal>> {
        let polled = self.poll_room(place, caller, after);
        if let Poll::Ready(Ok(())) = polled {
            self.send(item, after);
        }
        polled
    }

    fn send(&mut self, item: &mut Option<T>, after: &mut Aftermath) {
        if let Some(item) = item.take() {
            self.push(item);
        }
        self.settle(after);
    }

    /// Hands out a permit if there is room.
    pub(super) fn try_reserve(&mut self) -> Result<(), Refusal> {
        self.find_room()?;
        self.permits += 1;
        Ok(())
    }

    /// Hands out a permit once there is room.
    pub(super) fn poll_reserve(
        &mut self,
        place: &mut Place,
        caller: &mut Caller<'_>,
        after: &mut Aftermath,
    ) -> Poll<Result<(), Refusal>> {
        let polled = self.poll_room(place, caller, after);
        if let Poll::Ready(Ok(())) = polled {
            self.permits += 1;
        }
        polled
    }

    /// Takes a permit back, with an item or without. An item that nobody can receive stays.
    pub(super) fn use_permit(&mut self, item: &mut Option<T>, after: &mut Aftermath) {
        self.permits -= 1;
        if self.receiver_count == 0 {
            return;
        }
        self.send(item, after);
    }

    /// Gives up the place of a future that waits for room.
    pub(super) fn leave_senders(&mut self, place: &mut Place, after: &mut Aftermath) {
        if self.senders.leave(place, after) == Left::Grant {
            self.settle(after);
        }
    }

    pub(super) fn add_sender(&mut self) {
        self.sender_count += 1;
    }

    /// Counts a sender off. If it was the last one, the channel closes.
    pub(super) fn remove_sender(&mut self, after: &mut Aftermath) {
        self.broken |= thread::panicking();
        self.sender_count -= 1;
        if self.sender_count == 0 {
            self.close(after);
        }
    }
}

/// Receiving.
impl<T> State<T> {
    /// Takes an item for a newcomer, if there is one and that concerns nobody else.
    #[inline]
    pub(super) fn recv_unnoticed(&mut self) -> Option<T> {
        // Where there is a spare item, no receiver is in line.
        let unnoticed = self.senders.waiting() == 0 && self.has_spare_item();
        unnoticed.then(|| self.items.pop_front()).flatten()
    }

    /// Takes an item if there is one for a newcomer.
    pub(super) fn try_recv(&mut self, after: &mut Aftermath) -> Result<T, Refusal> {
        let item = self.has_spare_item().then(|| self.pop(after)).flatten();
        item.ok_or(if self.is_over() {
            Refusal::Never
        } else {
            Refusal::NotNow
        })
    }

    /// Takes an item once there is one.
    #[inline]
    pub(super) fn poll_recv(
        &mut self,
        place: &mut Place,
        caller: &mut Caller<'_>,
        after: &mut Aftermath,
    ) -> Poll<Result<T, RecvError>> {
        if self.receivers.collect(place) || !place.is_taken() && self.has_spare_item() {
            if let Some(item) = self.pop(after) {
                return Poll::Ready(Ok(item));
            }
        }
        if self.is_over() {
            let (Left::Nothing | Left::Place | Left::Grant) = self.receivers.leave(place, after);
            return Poll::Ready(Err(self.end()));
        }
        self.receivers.park(place, caller, ());
        if self.quiet_limit == 0 {
            // In a rendezvous channel, a receiver that waits is room for a sender.
            self.settle(after);
        }
        Poll::Pending
    }

    /// Takes an item that no receiver in line has a turn for, once there is one.
    pub(super) fn poll_next(
        &mut self,
        place: &mut Place,
        caller: &mut Caller<'_>,
        after: &mut Aftermath,
    ) -> Poll<Option<T>> {
        self.streams.collect(place);
        let item = self.has_spare_item().then(|| self.pop(after)).flatten();
        if item.is_some() || self.is_over() {
            self.leave_streams(place, after);
            return Poll::Ready(item);
        }
        self.streams.park(place, caller, ());
        self.settle(after);
        Poll::Pending
    }

    /// Gives up the place of a future that waits for an item.
    pub(super) fn leave_receivers(&mut self, place: &mut Place, after: &mut Aftermath) {
        if self.receivers.leave(place, after) != Left::Nothing {
            self.settle(after);
        }
    }

    /// Gives up the place of a stream.
    pub(super) fn leave_streams(&mut self, place: &mut Place, after: &mut Aftermath) {
        // What it was told others were told as well; but a rendezvous may have counted on it.
        if self.streams.leave(place, after) != Left::Nothing {
            self.settle(after);
        }
    }

    pub(super) fn add_receiver(&mut self) {
        self.receiver_count += 1;
    }

    /// Counts a receiver off. If it was the last one, the channel closes, and returns the items that
    /// nobody can receive any more.
    #[must_use = "they are to be disposed of, after unlocking"]
    pub(super) fn remove_receiver(&mut self, after: &mut Aftermath) -> VecDeque<T> {
        self.receiver_count -= 1;
        if self.receiver_count > 0 {
            return VecDeque::new();
        }
        self.empty(after)
    }
}

/// Closing, and looking.
impl<T> State<T> {
    /// Lets nothing more be sent. False if that was so already.
    pub(super) fn close(&mut self, after: &mut Aftermath) -> bool {
        let was_open = !self.closed;
        if was_open {
            self.closed = true;
            self.quiet_limit = 0;
            self.senders.wake_all(after);
            self.watchers.grant_all(after);
            self.settle(after);
        }
        was_open
    }

    /// Closes the channel and takes out what is in it.
    #[must_use = "it is to be disposed of, after unlocking"]
    pub(super) fn empty(&mut self, after: &mut Aftermath) -> VecDeque<T> {
        self.close(after);
        let items = std::mem::take(&mut self.items);
        self.settle(after);
        items
    }

    /// Waits until the channel is closed.
    pub(super) fn poll_closed(&mut self, place: &mut Place, caller: &mut Caller<'_>) -> Poll<()> {
        if self.watchers.collect(place) || self.closed {
            return Poll::Ready(());
        }
        self.watchers.park(place, caller, ());
        Poll::Pending
    }

    /// Gives up the place of a future that waits for the channel to be closed.
    pub(super) fn leave_watchers(&mut self, place: &mut Place, after: &mut Aftermath) {
        let (Left::Nothing | Left::Place | Left::Grant) = self.watchers.leave(place, after);
    }

    pub(super) fn capacity(&self) -> Option<usize> {
        match self.capacity {
            Capacity::Bounded(capacity) => Some(capacity),
            Capacity::Rendezvous => Some(0),
            Capacity::Unbounded => None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn is_full(&self) -> bool {
        !self.has_room()
    }

    pub(super) fn peak(&self) -> usize {
        self.peak
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    pub(super) fn sender_count(&self) -> usize {
        self.sender_count
    }

    pub(super) fn receiver_count(&self) -> usize {
        self.receiver_count
    }
}
