//! The run queue of a group.

use std::{collections::VecDeque, iter};

/// How many entries a block has: 512 bytes of pointers.
const BLOCK: usize = 64;

/// A queue in blocks.
///
/// One that grows as a whole is copied again and again. And glibc's allocator, each time that it is
/// asked for more than a kilobyte, tidies away the small pieces that it had put aside for the next
/// child to be made.
pub(super) struct Queue<T> {
    /// Where entries are taken from.
    front: VecDeque<T>,
    /// Blocks behind that.
    others: VecDeque<VecDeque<T>>,
    len: usize,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Self {
            front: VecDeque::new(),
            others: VecDeque::new(),
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn push_back(&mut self, entry: T) {
        self.len += 1;
        let last = self.others.back_mut().unwrap_or(&mut self.front);
        if last.len() < BLOCK {
            last.push_back(entry);
        } else {
            self.add_block(entry);
        }
    }

    #[cold]
    fn add_block(&mut self, entry: T) {
        let mut block = VecDeque::with_capacity(BLOCK);
        block.push_back(entry);
        self.others.push_back(block);
    }

    pub(super) fn pop_front(&mut self) -> Option<T> {
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
