//! The limit on how many children of a group are alive at a time.

mod line;

use self::line::{Known, Line};
use super::child::Runnable;

/// A child that waits for its turn.
pub(super) enum Queued {
    Parallel(Runnable),
    /// A borrowing child, by its id.
    Local(u64),
}

impl Known for Queued {
    fn id(&self) -> u64 {
        match self {
            Self::Parallel(runnable) => runnable.metadata().task.id(),
            Self::Local(id) => *id,
        }
    }
}

/// Who may start, and who waits for it.
///
/// A child takes a place when it starts and gives it back when it is gone; then the one that was
/// spawned first among those who wait takes it.
///
/// Most groups have no limit, and pay for none.
pub(super) struct Limit(Option<Box<Places>>);

struct Places {
    /// Places that are free. Below zero while cancelled children, which need no place but only to
    /// be dropped, have started out of turn.
    free: isize,
    waiting: Line<Queued>,
}

impl Limit {
    pub(super) fn new(places: usize) -> Self {
        if places == usize::MAX {
            return Self(None);
        }
        Self(Some(Box::new(Places {
            free: isize::try_from(places).unwrap_or(isize::MAX),
            waiting: Line::default(),
        })))
    }

    /// Gives a child a place, and hands it back to be started; or keeps it waiting.
    #[inline]
    pub(super) fn enter(&mut self, child: Queued) -> Option<Queued> {
        let Some(places) = &mut self.0 else {
            return Some(child);
        };
        if places.free <= 0 {
            places.waiting.push(child);
            return None;
        }
        places.free -= 1;
        Some(child)
    }

    /// Takes a place back, if nobody waits for it.
    pub(super) fn leave_unnoticed(&mut self) -> bool {
        let Some(places) = &mut self.0 else {
            return true;
        };
        let is_unnoticed = places.waiting.is_empty() && places.free >= 0;
        places.free += isize::from(is_unnoticed);
        is_unnoticed
    }

    /// Takes a place back, or passes it on to the child that is returned.
    pub(super) fn leave(&mut self) -> Option<Queued> {
        let places = self.0.as_mut()?;
        if places.free < 0 {
            places.free += 1;
            return None;
        }
        let next = places.waiting.pop();
        if next.is_none() {
            places.free += 1;
        }
        next
    }

    /// Lets the first who waits start: it was cancelled with all others, and will be dropped
    /// unpolled.
    pub(super) fn flush(&mut self) -> Option<Queued> {
        let places = self.0.as_mut()?;
        let flushed = places.waiting.pop()?;
        places.free -= 1;
        Some(flushed)
    }

    /// Lets one start that was cancelled, if it waits: it will be dropped unpolled.
    pub(super) fn flush_one(&mut self, id: u64) -> Option<Queued> {
        let places = self.0.as_mut()?;
        let flushed = places.waiting.take(id)?;
        places.free -= 1;
        Some(flushed)
    }
}
