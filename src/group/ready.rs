//! The parallel children of a group that are ready.

use std::{collections::VecDeque, mem};

use slab::Slab;

use super::queue::Queue;

/// How many a helper takes along at most.
const ALONG: usize = 7;

/// After how many others newcomers come into the queue at the latest.
const PATIENCE: usize = 256;

/// Entries that are ready to be run, in the order in which they became so, but for long ones that a helper
/// has in hand, and newcomers.
///
/// Who stands next to each other in a queue often has much in common: pages of one folder, requests of
/// one user. If two threads take one each in turns, each fetches all of that from the caches of the other
/// one. So a helper takes a few at a time. They stay here, where everybody finds them who has nothing
/// else to do, and go back into the queue if the helper may be stuck.
///
/// If they are long, what has begun goes before what has not: *newcomers*, who start because somebody else
/// has ended, come in together when nothing else is ready. So less is under way at a time, and the caches
/// hold more of it. Most newcomers ask somebody for something at first, too, and who is asked by many at a
/// time is woken less often.
pub(super) struct Ready<T> {
    queue: Queue<T>,
    /// Made for the first long one that is not in the queue.
    aside: Option<Box<Aside<T>>>,
    /// How many are there.
    count_aside: usize,
}

/// Where long entries are that are not in the queue.
struct Aside<T> {
    /// What each helper has in hand.
    hands: Slab<VecDeque<T>>,
    newcomers: VecDeque<T>,
    /// How many have been taken since the first of the newcomers is there.
    passed_over: usize,
}

impl<T> Default for Aside<T> {
    fn default() -> Self {
        Self {
            hands: Slab::new(),
            newcomers: VecDeque::new(),
            passed_over: 0,
        }
    }
}

/// Which of the hands is that of a helper, once it has one.
#[derive(Default)]
pub(super) struct Hand(Option<usize>);

impl<T> Ready<T> {
    pub(super) fn new() -> Self {
        Self {
            queue: Queue::new(),
            aside: None,
            count_aside: 0,
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.queue.len() + self.count_aside
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub(super) fn push(&mut self, entry: T) {
        self.queue.push_back(entry);
    }

    /// Adds one that is long, probably, and starts because another one has ended.
    pub(super) fn push_newcomer(&mut self, entry: T) {
        let aside = self.aside.get_or_insert_default();
        aside.newcomers.push_back(entry);
        self.count_aside += 1;
    }

    /// Takes the next entry.
    #[inline]
    pub(super) fn take(&mut self) -> Option<T> {
        match self.queue.pop_front() {
            None if self.count_aside > 0 => self.take_from_aside(),
            entry => entry,
        }
    }

    /// Takes the next entry for a helper. If they are long, that is one that it has in hand; the hand is
    /// filled when it is empty, and most is left to others. Those that are short are everybody's.
    pub(super) fn take_with(&mut self, hand: &mut Hand, are_long: bool) -> Option<T> {
        if !are_long {
            self.lay_down(hand);
            self.let_newcomers_in();
            return self.take();
        }
        self.pass_over_newcomers();
        let known = hand.0.zip(self.aside.as_mut());
        let own = known.and_then(|(key, aside)| aside.hands.get_mut(key)?.pop_front());
        if own.is_some() {
            self.count_aside -= 1;
            return own;
        }
        let next = self.take()?;
        let along = ALONG.min(self.queue.len() / 4);
        if along > 0 {
            let hands = &mut self.aside.get_or_insert_default().hands;
            let key = *hand.0.get_or_insert_with(|| hands.insert(VecDeque::new()));
            let entries = std::iter::from_fn(|| self.queue.pop_front()).take(along);
            hands[key].extend(entries);
            self.count_aside += along;
        }
        Some(next)
    }

    /// Takes an entry that is not in the queue: that is empty.
    #[cold]
    fn take_from_aside(&mut self) -> Option<T> {
        let hands = self.aside.iter_mut().flat_map(|aside| &mut aside.hands);
        let in_hand = hands.map(|(_, hand)| hand).find_map(VecDeque::pop_front);
        if in_hand.is_some() {
            self.count_aside -= 1;
            return in_hand;
        }
        self.let_newcomers_in();
        self.queue.pop_front()
    }

    fn pass_over_newcomers(&mut self) {
        let Some(aside) = &mut self.aside else { return };
        if !aside.newcomers.is_empty() {
            aside.passed_over += 1;
            if aside.passed_over > PATIENCE {
                self.let_newcomers_in();
            }
        }
    }

    #[inline]
    fn let_newcomers_in(&mut self) {
        let Some(aside) = &mut self.aside else { return };
        aside.passed_over = 0;
        for newcomer in aside.newcomers.drain(..) {
            self.queue.push_back(newcomer);
            self.count_aside -= 1;
        }
    }

    /// A helper leaves. What it still has goes back into the queue.
    #[inline]
    pub(super) fn lay_down(&mut self, hand: &mut Hand) {
        if let Some((key, aside)) = hand.0.take().zip(self.aside.as_mut()) {
            let left = aside.hands.remove(key);
            self.put_back(left);
        }
    }

    /// What is not in the queue goes there: whoever has it in hand may be stuck.
    pub(super) fn take_back(&mut self) {
        if self.count_aside == 0 {
            return;
        }
        self.let_newcomers_in();
        let hands = self.aside.iter_mut().flat_map(|aside| &mut aside.hands);
        let all: Vec<_> = hands.map(|(_, hand)| mem::take(hand)).collect();
        all.into_iter().for_each(|hand| self.put_back(hand));
    }

    fn put_back(&mut self, hand: VecDeque<T>) {
        self.count_aside -= hand.len();
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
    use super::{ALONG, Hand, PATIENCE, Ready};

    fn of(count: usize) -> Ready<usize> {
        let mut ready = Ready::new();
        (0..count).for_each(|entry| ready.push(entry));
        ready
    }

    /// What a helper gets, if they are long, until there is nothing left.
    fn rest(ready: &mut Ready<usize>, hand: &mut Hand) -> Vec<usize> {
        std::iter::from_fn(|| ready.take_with(hand, true)).collect()
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
        assert_eq!(ready.count_aside, 0);
        assert_eq!(ready.take(), Some(2));
    }

    #[test]
    fn whoever_finds_the_queue_empty_takes_from_the_hands() {
        let mut ready = of(9);
        let mut stuck = Hand::default();
        assert_eq!(ready.take_with(&mut stuck, true), Some(0));
        assert_eq!(rest(&mut ready, &mut Hand::default()).len(), 8);
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

    #[test]
    fn newcomers_come_after_those_who_have_begun() {
        let mut ready = of(30);
        let (mut one, mut other) = (Hand::default(), Hand::default());
        ready.push_newcomer(30);
        ready.push_newcomer(31);
        assert_eq!(ready.len(), 32);
        assert_eq!(ready.take_with(&mut one, true), Some(0));
        let rest = rest(&mut ready, &mut other);
        assert_eq!(rest.len(), 31);
        assert_eq!(rest[29..], [30, 31]);
        assert!(ready.is_empty());
    }

    #[test]
    fn newcomers_do_not_wait_for_ever_for_those_who_are_always_ready() {
        let mut ready = of(1);
        let mut hand = Hand::default();
        ready.push_newcomer(1);
        for _ in 0..PATIENCE {
            assert_eq!(ready.take_with(&mut hand, true), Some(0));
            ready.push(0);
        }
        assert_eq!(ready.take_with(&mut hand, true), Some(0));
        ready.push(0);
        assert_eq!(ready.take_with(&mut hand, true), Some(1));
        // The next one waits as long.
        ready.push_newcomer(2);
        assert_eq!(ready.take_with(&mut hand, true), Some(0));
        assert_eq!(ready.take_with(&mut hand, true), Some(2));
    }

    #[test]
    fn newcomers_do_not_wait_once_children_are_short_or_somebody_may_be_stuck() {
        for are_short in [true, false] {
            let mut ready = of(2);
            ready.push_newcomer(2);
            let mut hand = Hand::default();
            if are_short {
                assert_eq!(ready.take_with(&mut hand, false), Some(0));
            } else {
                ready.take_back();
                assert_eq!(ready.take_with(&mut hand, true), Some(0));
            }
            ready.push(3);
            assert_eq!(rest(&mut ready, &mut hand), [1, 2, 3]);
        }
    }
}
