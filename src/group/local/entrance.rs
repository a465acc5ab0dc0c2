//! Where borrowing children come in.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{
    BoxLocal,
    outcome::{Outcome, make},
};
use crate::{
    error::{GroupClosed, TaskInfo},
    frame,
    group::hub::Hub,
    lock::Mutex,
};

/// Where borrowing children wait for the group's future to take them in.
///
/// A child may hold the group that holds the child. So this has to be emptied when the group ends,
/// or the two keep each other alive.
#[derive(Default)]
pub(crate) struct Entrance<'env> {
    doorway: Mutex<Doorway<'env>>,
    /// How many children are gone, of all that have come in. Written by the group's future only.
    gone: AtomicUsize,
}

/// What is behind the lock of an [`Entrance`].
#[derive(Default)]
struct Doorway<'env> {
    newcomers: Vec<BoxLocal<'env>>,
    /// How many children have come in.
    spawned: usize,
    /// Whether those who are here are counted as a member of the group: as one, all together.
    counted: bool,
    /// Whether the group's future has seen who came in last, or has been told of it since.
    told: bool,
    /// Whether the group's future is gone: nobody will be taken in any more.
    shut: bool,
}

/// Why a borrowing child cannot come in. Gives its future back.
pub(in crate::group) enum Refusal<F> {
    /// The group has returned.
    Closed(F),
    /// There is nobody any more to take it in.
    Shut(TaskInfo, F),
}

impl<'env> Entrance<'env> {
    /// Makes a borrowing child and takes it in.
    pub(in crate::group) fn enter<T, E, F>(
        &self,
        hub: &Arc<Hub>,
        task: TaskInfo,
        body: F,
    ) -> Result<Arc<Outcome<T>>, Refusal<F>>
    where
        T: Send + 'env,
        E: Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'env,
    {
        let id = task.id();
        let mut doorway = self.doorway.lock();
        if doorway.shut {
            return Err(Refusal::Shut(task, body));
        }
        let mut owner = None;
        if !(doorway.counted && doorway.told) {
            match hub.expect_locals(!doorway.counted) {
                Ok(waker) => owner = waker,
                Err(GroupClosed(())) => return Err(Refusal::Closed(body)),
            }
            (doorway.counted, doorway.told) = (true, true);
        }
        let (child, outcome) = make::<T, E, F>(hub, task, body);
        doorway.newcomers.push(child);
        doorway.spawned += 1;
        drop(doorway);
        frame::wake(owner);
        if hub.is_limited() {
            hub.enter_local(id);
        }
        Ok(outcome)
    }

    /// How many children are not gone.
    pub(in crate::group) fn len(&self) -> usize {
        let spawned = self.doorway.lock().spawned;
        // Acquire: pairs with the Release in `count_off`.
        spawned - self.gone.load(Ordering::Acquire).min(spawned)
    }

    /// Counts a child off.
    pub(super) fn count_off(&self) {
        // Release: whoever sees it gone sees what it did. Nobody else writes this.
        let gone = self.gone.load(Ordering::Relaxed) + 1;
        self.gone.store(gone, Ordering::Release);
    }

    /// The newcomers are in. From now on the group's future has to be told of others.
    pub(super) fn take(&self) -> Vec<BoxLocal<'env>> {
        let mut doorway = self.doorway.lock();
        doorway.told = false;
        mem::take(&mut doorway.newcomers)
    }

    /// Whether all who came in are gone, and nobody knows it yet.
    pub(super) fn is_left(&self) -> bool {
        let gone = self.gone.load(Ordering::Relaxed);
        let mut doorway = self.doorway.lock();
        let is_left = doorway.counted && doorway.spawned == gone;
        doorway.counted &= !is_left;
        is_left
    }

    /// Takes nobody in any more, unless there is somebody already. True if it is done.
    pub(super) fn shut(&self) -> bool {
        let mut doorway = self.doorway.lock();
        doorway.shut |= doorway.newcomers.is_empty();
        doorway.shut
    }
}
