//! The run queue of a group.

use std::{collections::VecDeque, iter};

/// How many entries a block has: 512 bytes of pointers.
const BLOCK: usize = 64;

/// How many the first one has, which is all that most groups need.
const FIRST_BLOCK: usize = 15;

/// A queue in blocks.
///
/// A single entry needs no memory: many a group has one child, and many a child is alone in waking itself.
///
/// One that grows as a whole is copied again and again. And glibc's allocator, when it is asked for
/// more than a kilobyte, or has to make a piece longer, tidies away the small pieces that it had put
/// aside for the next child to be made.
pub(super) struct Queue<T> {
    /// The first entry, if it came in when the queue was empty.
    first: Option<T>,
    /// Where the next entries are taken from.
    front: VecDeque<T>,
    /// Blocks behind that.
    others: VecDeque<VecDeque<T>>,
    len: usize,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Self {
            first: None,
            front: VecDeque::new(),
            others: VecDeque::new(),
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push_back(&mut self, entry: T) {
        self.len += 1;
        if self.len == 1 {
            self.first = Some(entry);
            return;
        }
        let last = self.others.back_mut().unwrap_or(&mut self.front);
        if last.len() < last.capacity() {
            last.push_back(entry);
        } else {
            self.add_block(entry);
        }
    }

    #[cold]
    fn add_block(&mut self, entry: T) {
        if self.front.capacity() == 0 {
            self.front.reserve_exact(FIRST_BLOCK);
            return self.front.push_back(entry);
        }
        let mut block = VecDeque::with_capacity(BLOCK);
        block.push_back(entry);
        self.others.push_back(block);
    }

    pub(super) fn push_front(&mut self, entry: T) {
        self.len += 1;
        if let Some(second) = self.first.replace(entry) {
            self.front.push_front(second);
        }
    }

    pub(super) fn pop_front(&mut self) -> Option<T> {
        if let Some(entry) = self.first.take() {
            self.len -= 1;
            return Some(entry);
        }
        let entry = self.front.pop_front()?;
        self.len -= 1;
        if self.front.is_empty() && self.len > 0 {
            self.move_up();
        }
        Some(entry)
    }

    /// Takes an entry from the middle.
    pub(super) fn remove(&mut self, index: usize) -> Option<T> {
        let mut at = index;
        if self.first.is_some() {
            if index == 0 {
                return self.pop_front();
            }
            at -= 1;
        }
        let mut blocks = iter::once(&mut self.front).chain(&mut self.others);
        let entry = blocks.find_map(|block| {
            let entry = block.remove(at);
            at = at.wrapping_sub(block.len());
            entry
        })?;
        self.len -= 1;
        self.move_up();
        Some(entry)
    }

    /// The next block goes to the front if there is nothing left there.
    #[cold]
    fn move_up(&mut self) {
        while self.front.is_empty() {
            match self.others.pop_front() {
                Some(block) => self.front = block,
                None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, Queue};

    #[test]
    fn entries_come_out_in_the_order_they_went_in() {
        for most in [1, 2, BLOCK, BLOCK + 1, 5 * BLOCK] {
            let mut queue = Queue::new();
            let (mut next_in, mut next_out) = (0, 0);
            for round in 0..most {
                for _ in 0..=round % 7 {
                    queue.push_back(next_in);
                    next_in += 1;
                }
                for _ in 0..round % 5 {
                    if let Some(entry) = queue.pop_front() {
                        assert_eq!(entry, next_out);
                        next_out += 1;
                    }
                }
                assert_eq!(queue.len(), next_in - next_out);
            }
            while let Some(entry) = queue.pop_front() {
                assert_eq!(entry, next_out);
                next_out += 1;
            }
            assert_eq!(next_out, next_in);
            assert_eq!(queue.len(), 0);
        }
    }

    #[test]
    fn entries_go_to_the_front() {
        for count in [0, 1, 2, BLOCK, 3 * BLOCK] {
            let mut queue = Queue::new();
            (0..count).for_each(|entry| queue.push_back(entry));
            for taken in 0..count.min(3) {
                assert_eq!(queue.pop_front(), Some(taken));
            }
            (0..count.min(3))
                .rev()
                .for_each(|entry| queue.push_front(entry));
            queue.push_back(count);
            let all: Vec<_> = std::iter::from_fn(|| queue.pop_front()).collect();
            assert_eq!(all, (0..=count).collect::<Vec<_>>());
            assert_eq!(queue.len(), 0);
        }
    }

    #[test]
    fn an_entry_is_taken_from_anywhere() {
        let count = 3 * BLOCK;
        for first in 0..count {
            let mut queue = Queue::new();
            (0..count).for_each(|entry| queue.push_back(entry));
            assert_eq!(queue.remove(first), Some(first));
            assert_eq!(queue.remove(count - 1), None);
            let left: Vec<_> = std::iter::from_fn(|| queue.pop_front()).collect();
            let expected: Vec<_> = (0..count).filter(|entry| *entry != first).collect();
            assert_eq!(left, expected);
        }
    }
}
