//! The tasks of a group that wait, so that a cancellation can wake them.

use std::{
    collections::{HashMap, HashSet},
    mem,
    num::NonZeroU32,
    task::Waker,
};

use slab::Slab;

use crate::frame::Bed;

/// The tasks of a group that wait for something, and those that were cancelled through their handle.
///
/// A task comes here when it first waits, and stays until it is gone. It knows its bed, so nothing
/// has to be searched for; only the handle of a task does not. From the first time that a task of
/// this group is cancelled through its handle there is an index.
#[derive(Default)]
pub(super) struct Sleepers {
    beds: Slab<Sleeper>,
    /// There from the first time on that a task was cancelled through its handle.
    marks: Option<Box<Marks>>,
}

struct Marks {
    /// Where each task is.
    index: HashMap<u64, Bed>,
    /// The tasks that were cancelled through their handle.
    marked: HashSet<u64>,
}

/// Those who were waiting when their group was cancelled.
pub(super) struct Roused {
    beds: Slab<Sleeper>,
    /// Not needed any more; here to be dropped without the lock.
    _index: HashMap<u64, Bed>,
}

impl Roused {
    pub(super) fn into_wakers(self) -> impl Iterator<Item = Waker> {
        self.beds.into_iter().map(|(_, sleeper)| sleeper.waker)
    }
}

struct Sleeper {
    id: u64,
    /// One that wakes nobody once it was used; `None` would take 8 bytes more.
    waker: Waker,
}

impl Sleepers {
    /// Keeps the waker of a task.
    pub(super) fn lie_down(&mut self, id: u64, waker: Waker) -> Bed {
        let bed = bed(self.beds.insert(Sleeper { id, waker }));
        if let Some(marks) = &mut self.marks {
            marks.index.insert(id, bed);
        }
        bed
    }

    /// Forgets a task. Returns its waker, if there is one.
    pub(super) fn forget(&mut self, id: u64, bed: Option<Bed>) -> Option<Waker> {
        if let Some(marks) = &mut self.marks {
            marks.marked.remove(&id);
            marks.index.remove(&id);
        }
        // After a cancellation another task may have the bed.
        let bed = key(bed?);
        let is_own = self.beds.get(bed).is_some_and(|sleeper| sleeper.id == id);
        is_own.then(|| self.beds.remove(bed).waker)
    }

    /// Notes that a task was cancelled through its handle. Returns its waker, if it waits.
    pub(super) fn mark(&mut self, id: u64) -> Option<Waker> {
        let beds = &self.beds;
        let marks = self.marks.get_or_insert_with(|| {
            let known = beds.iter().map(|(key, sleeper)| (sleeper.id, bed(key)));
            Box::new(Marks {
                index: known.collect(),
                marked: HashSet::new(),
            })
        });
        marks.marked.insert(id);
        let bed = *marks.index.get(&id)?;
        let sleeper = self.beds.get_mut(key(bed))?;
        Some(mem::replace(&mut sleeper.waker, Waker::noop().clone()))
    }

    pub(super) fn is_marked(&self, id: u64) -> bool {
        let marks = self.marks.as_ref();
        marks.is_some_and(|marks| marks.marked.contains(&id))
    }

    /// Takes the wakers of all, for a cancellation of the group.
    ///
    /// All at once: those who run meanwhile need the lock, and must not have to wait until each has
    /// been looked at.
    pub(super) fn rouse(&mut self) -> Roused {
        Roused {
            beds: mem::take(&mut self.beds),
            _index: self
                .marks
                .as_mut()
                .map(|marks| mem::take(&mut marks.index))
                .unwrap_or_default(),
        }
    }

    /// The wakers of all. These are this crate's own: cloning them under a lock is harmless.
    pub(super) fn wakers(&self) -> Vec<Waker> {
        let sleepers = self.beds.iter();
        sleepers.map(|(_, sleeper)| sleeper.waker.clone()).collect()
    }
}

/// Beds are counted from 1, so that a task that has none needs no more room to say so.
fn bed(key: usize) -> Bed {
    let number = u32::try_from(key + 1).ok().and_then(NonZeroU32::new);
    Bed(number.expect("a group has fewer than four billion tasks at a time"))
}

fn key(bed: Bed) -> usize {
    bed.0.get() as usize - 1
}
