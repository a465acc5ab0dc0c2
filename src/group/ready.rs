//! The parallel children of a group that are ready.

use std::{collections::VecDeque, mem};

use slab::Slab;

use super::queue::Queue;

/// How many a helper takes along at most.
const ALONG: usize = 7;

/// Entries that are ready to be run, in the order in which they became so, but for those that a helper
/// has in hand.
///
/// Who stands next to each other in a queue often has much in common: pages of one folder, requests of
/// one user. If two threads take one each in turns, each fetches all of that from the caches of the other
/// one. So a helper takes a few at a time. They stay here, where everybody finds them who has nothing
/// else to do, and go back into the queue if the helper may be stuck.
pub(super) struct Ready<T> {
    queue: Queue<T>,
    /// What each helper has in hand. Made for the first one.
    hands: Option<Box<Slab<VecDeque<T>>>>,
    in_hands: usize,
}

/// Which of the hands is that of a helper, once it has one.
#[derive(Default)]
pub(super) struct Hand(Option<usize>);

impl<T> Ready<T> {
    pub(super) fn new() -> Self {
        Self {
            queue: Queue::new(),
            hands: None,
            in_hands: 0,
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.queue.len() + self.in_hands
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub(super) fn push(&mut self, entry: T) {
        self.queue.push_back(entry);
    }

    /// Takes the next entry.
    #[inline]
    pub(super) fn take(&mut self) -> Option<T> {
        match self.queue.pop_front() {
            None if self.in_hands > 0 => self.take_from_others(),
            entry => entry,
        }
    }

    /// Takes the next entry for a helper. If they are long, that is one that it has in hand; the hand is
    /// filled when it is empty, and most is left to others. Those that are short are everybody's.
    pub(super) fn take_with(&mut self, hand: &mut Hand, are_long: bool) -> Option<T> {
        if !are_long {
            self.lay_down(hand);
            return self.take();
        }
        let known = hand.0.zip(self.hands.as_mut());
        let own = known.and_then(|(key, hands)| hands.get_mut(key)?.pop_front());
        if own.is_some() {
            self.in_hands -= 1;
            return own;
        }
        let next = self.take()?;
        let along = ALONG.min(self.queue.len() / 4);
        if along > 0 {
            let hands = self.hands.get_or_insert_default();
            let key = *hand.0.get_or_insert_with(|| hands.insert(VecDeque::new()));
            let entries = std::iter::from_fn(|| self.queue.pop_front()).take(along);
            hands[key].extend(entries);
            self.in_hands += along;
        }
        Some(next)
    }

    #[cold]
    fn take_from_others(&mut self) -> Option<T> {
        let mut hands = self.hands.iter_mut().flat_map(|hands| hands.iter_mut());
        let entry = hands.find_map(|(_, hand)| hand.pop_front())?;
        self.in_hands -= 1;
        Some(entry)
    }

    /// A helper leaves. What it still has goes back into the queue.
    #[inline]
    pub(super) fn lay_down(&mut self, hand: &mut Hand) {
        if let Some((key, hands)) = hand.0.take().zip(self.hands.as_mut()) {
            let left = hands.remove(key);
            self.put_back(left);
        }
    }

    /// What is in any hand goes back into the queue: whoever has it may be stuck.
    pub(super) fn take_back(&mut self) {
        if self.in_hands == 0 {
            return;
        }
        let hands = self.hands.iter_mut().flat_map(|hands| hands.iter_mut());
        let all: Vec<_> = hands.map(|(_, hand)| mem::take(hand)).collect();
        all.into_iter().for_each(|hand| self.put_back(hand));
    }

    fn put_back(&mut self, hand: VecDeque<T>) {
        self.in_hands -= hand.len();
        for entry in hand.into_iter().rev() {
            self.queue.push_front(entry);
        }
    }

    /// Takes an entry from the middle of the queue, for a test run: there are no helpers.
    pub(super) fn remove(&mut self, index: usize) -> Option<T> {
        self.queue.remove(index)
    }
}

#[cfg(test)]
mod tests {
    use super::{ALONG, Hand, Ready};

    fn of(count: usize) -> Ready<usize> {
        let mut ready = Ready::new();
        (0..count).for_each(|entry| ready.push(entry));
        ready
    }

    #[test]
    fn a_hand_holds_neighbours() {
        let mut ready = of(100);
        let (mut one, mut other) = (Hand::default(), Hand::default());
        for turn in 0..=ALONG {
            assert_eq!(ready.take_with(&mut one, true), Some(turn));
            assert_eq!(ready.take_with(&mut other, true), Some(ALONG + 1 + turn));
        }
        assert_eq!(ready.len(), 100 - 2 * (ALONG + 1));
        assert_eq!(ready.take_with(&mut one, true), Some(2 * (ALONG + 1)));
    }

    #[test]
    fn a_hand_leaves_most_of_a_short_queue_to_others() {
        let mut ready = of(9);
        let mut hand = Hand::default();
        assert_eq!(ready.take_with(&mut hand, true), Some(0));
        assert_eq!(ready.take(), Some(3));
        let mut ready = of(4);
        assert_eq!(ready.take_with(&mut Hand::default(), true), Some(0));
        assert_eq!(ready.take(), Some(1));
    }

    #[test]
    fn those_that_are_short_are_not_kept_in_hand() {
        let mut ready = of(30);
        let mut hand = Hand::default();
        assert_eq!(ready.take_with(&mut hand, true), Some(0));
        assert_eq!(ready.take_with(&mut hand, false), Some(1));
        assert_eq!(ready.in_hands, 0);
        assert_eq!(ready.take(), Some(2));
    }

    #[test]
    fn whoever_finds_the_queue_empty_takes_from_the_hands() {
        let mut ready = of(9);
        let mut stuck = Hand::default();
        assert_eq!(ready.take_with(&mut stuck, true), Some(0));
        let mut other = Hand::default();
        let rest: Vec<_> = std::iter::from_fn(|| ready.take_with(&mut other, true)).collect();
        assert_eq!(rest.len(), 8);
        assert!(ready.is_empty());
        assert_eq!(ready.take_with(&mut stuck, true), None);
    }

    #[test]
    fn what_goes_back_from_a_hand_is_next() {
        for lays_down in [true, false] {
            let mut ready = of(30);
            let mut hand = Hand::default();
            assert_eq!(ready.take_with(&mut hand, true), Some(0));
            assert_eq!(ready.take_with(&mut hand, true), Some(1));
            if lays_down {
                ready.lay_down(&mut hand);
            } else {
                ready.take_back();
            }
            assert_eq!(ready.len(), 28);
            let rest: Vec<_> = std::iter::from_fn(|| ready.take()).collect();
            assert_eq!(rest, (2..30).collect::<Vec<_>>());
            assert!(ready.is_empty());
        }
    }
}
