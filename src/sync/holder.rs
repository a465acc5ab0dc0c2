//! Who holds a lock, so that a task that waits for itself can be told.

use std::task::Context;

use crate::{frame, lock::Mutex};

/// A strand of code that waits for one thing at a time, as far as one can tell.
///
/// That is a task; and in a task, each of the futures that are polled with a waker of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Strand {
    task: u64,
    /// The address of the waker.
    waker: usize,
}

impl Strand {
    /// The running one; `None` outside of any task of this crate.
    fn current(cx: &Context<'_>) -> Option<Self> {
        let task = frame::current_member(|member| member.task.id())?;
        let waker = cx.waker().data() as usize;
        Some(Self { task, waker })
    }
}

/// Remembers who holds a lock, in builds with debug assertions.
#[derive(Debug)]
pub(super) struct Holder {
    strand: Mutex<Option<Strand>>,
    /// Whether to look at all.
    checked: bool,
}

impl Holder {
    pub(super) const fn new(checked: bool) -> Self {
        Self {
            strand: Mutex::new(None),
            checked: checked && cfg!(debug_assertions),
        }
    }

    /// The running strand has taken the lock.
    pub(super) fn enter(&self, cx: &Context<'_>) {
        if self.checked {
            let strand = Strand::current(cx);
            *self.strand.lock() = strand;
        }
    }

    /// The lock is about to be given back, or was taken by nobody in particular.
    pub(super) fn leave(&self) {
        if self.checked {
            *self.strand.lock() = None;
        }
    }

    /// Panics if the running strand, which waits for the lock, has it.
    pub(super) fn check(&self, cx: &Context<'_>) {
        if !self.checked {
            return;
        }
        let holder = *self.strand.lock();
        assert!(
            holder.is_none() || holder != Strand::current(cx),
            "this task waits for a lock that it holds already, and would wait for ever; drop the \
             first guard before, or pass it on (if it drives several futures that take turns with \
             the lock, by `zip` or `join!`, make the lock with `Mutex::within_task`)"
        );
    }
}
