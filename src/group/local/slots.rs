//! The slots of borrowing children.

use std::{array, mem};

/// How many slots are one piece.
const TOGETHER: usize = 16;

/// Slots, each known by its number, which are used again.
///
/// They come in small pieces: nothing is moved when there are more, and what is given back at the end
/// is not so large that the allocator stops to tidy up.
pub(super) struct Slots<T> {
    pieces: Vec<Box<[Slot<T>; TOGETHER]>>,
    /// The one that is used next: the first that is not there yet, if all are taken.
    free: usize,
}

enum Slot<T> {
    /// With the one that is used after it.
    Free(usize),
    Taken(T),
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self {
            pieces: Vec::new(),
            free: 0,
        }
    }
}

impl<T> Slots<T> {
    /// The slot that will be taken next.
    pub(super) fn next(&self) -> usize {
        self.free
    }

    /// Takes the next slot.
    pub(super) fn insert(&mut self, item: T) {
        let end = self.pieces.len() * TOGETHER;
        if self.free == end {
            let slots = array::from_fn(|index| Slot::Free(end + index + 1));
            self.pieces.push(Box::new(slots));
        }
        let slot = &mut self.pieces[self.free / TOGETHER][self.free % TOGETHER];
        if let Slot::Free(next) = mem::replace(slot, Slot::Taken(item)) {
            self.free = next;
        }
    }

    fn slot(&mut self, key: usize) -> Option<&mut Slot<T>> {
        let piece = self.pieces.get_mut(key / TOGETHER)?;
        Some(&mut piece[key % TOGETHER])
    }

    pub(super) fn get(&mut self, key: usize) -> Option<&mut T> {
        match self.slot(key)? {
            Slot::Free(_) => None,
            Slot::Taken(item) => Some(item),
        }
    }

    /// Frees a slot that is taken.
    pub(super) fn remove(&mut self, key: usize) -> Option<T> {
        let free = self.free;
        let slot = self.slot(key)?;
        if let Slot::Free(_) = slot {
            return None;
        }
        let before = mem::replace(slot, Slot::Free(free));
        self.free = key;
        match before {
            Slot::Taken(item) => Some(item),
            Slot::Free(_) => None,
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        let slots = self.pieces.iter().flat_map(|piece| piece.iter());
        slots.filter_map(|slot| match slot {
            Slot::Free(_) => None,
            Slot::Taken(item) => Some(item),
        })
    }

    /// What is in the slots, in their order.
    pub(super) fn into_items(self) -> impl Iterator<Item = T> {
        let slots = self.pieces.into_iter().flat_map(|piece| *piece);
        slots.filter_map(|slot| match slot {
            Slot::Free(_) => None,
            Slot::Taken(item) => Some(item),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Slots;

    #[test]
    fn slots_are_used_again() {
        let mut slots = Slots::default();
        for item in 0..20 {
            assert_eq!(slots.next(), item);
            slots.insert(item);
        }
        assert_eq!(slots.remove(3), Some(3));
        assert_eq!(slots.remove(3), None);
        assert_eq!(slots.remove(17), Some(17));
        assert_eq!(slots.get(3), None);
        assert_eq!(slots.get(4), Some(&mut 4));
        assert_eq!(slots.get(99), None);
        for key in [17, 3, 20] {
            assert_eq!(slots.next(), key);
            slots.insert(key + 100);
        }
        assert_eq!(slots.iter().count(), 21);
        assert_eq!(slots.into_items().nth(17), Some(117));
    }
}
