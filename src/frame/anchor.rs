//! A frame's own end of the stack and the tree.

use std::{
    mem,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use crate::{
    error::Cause,
    frame::{
        node::{Frame, Node, Role},
        stack::{self, Level, Member},
    },
};

/// What a frame keeps of its place among the frames.
///
/// At first that is nothing but its role. It gets a [node](Node) when a frame below it needs one
/// above, or when it has to be woken itself. Dropping the anchor takes the frame out of the tree.
pub(crate) struct Anchor {
    role: Role,
    node: Option<Arc<dyn Node>>,
    /// Whether the node has been put below that of the enclosing frame.
    linked: bool,
    /// The node it was put below, if there was an enclosing frame. Kept, so that no other one can
    /// have its address.
    under: Option<Arc<dyn Node>>,
    /// Set while this frame is protected.
    shelter: Option<Shelter>,
    /// Why the frame was cancelled, if it has no node to keep that.
    cause: Option<Cause>,
}

/// The protection of a frame from being dropped by a cancellation further out; until dropped.
pub(crate) struct Shelter(Arc<dyn Node>);

impl Drop for Shelter {
    fn drop(&mut self) {
        self.0.unprotect();
    }
}

/// Drops something.
///
/// A destructor cannot be cut. If it waits for something, with a `block_on`, what it waits for must
/// not wait in turn to be dropped by a cancellation that has struck already.
pub(crate) fn dropping<T>(drop: impl FnOnce() -> T) -> T {
    Anchor::new(Role::Destructor).within(None, drop)
}

impl Anchor {
    /// The anchor of a frame that nobody knows yet.
    pub(crate) fn new(role: Role) -> Self {
        Self {
            role,
            node: None,
            linked: false,
            under: None,
            shelter: None,
            cause: None,
        }
    }

    /// The anchor of a frame that somebody has a handle to.
    pub(crate) fn with_node(node: Arc<dyn Node>) -> Self {
        let mut anchor = Self::new(node.state().role());
        anchor.node = Some(node);
        anchor
    }

    /// Looks whether the frame is still where it was last polled.
    ///
    /// To be called at the beginning of each poll. A future may be polled in one place and then be
    /// moved to another: `timeout(d, &mut future)` is enough. Its place in the tree moves with it.
    /// True if it did.
    #[inline]
    pub(crate) fn settle(&mut self) -> bool {
        // What is not in the tree has no place there.
        self.linked && self.follow()
    }

    /// Looks whether the frame is still where it was put into the tree. If not, its place moves along.
    fn follow(&mut self) -> bool {
        let under = self.under.as_ref().map_or(0, stack::address);
        let moved = stack::top_address() != under;
        if moved {
            if let Some(node) = &self.node {
                node.unlink();
                node.pardon();
            }
            self.linked = false;
            self.link();
            if self.shelter.take().is_some() {
                self.protect();
            }
        }
        moved
    }

    /// Polls or drops what the frame wraps: `f` runs under this frame.
    #[inline]
    pub(crate) fn within<T>(&mut self, deadline: Option<Instant>, f: impl FnOnce() -> T) -> T {
        /// Takes the level off the stack, also if `f` panics.
        struct Leave<'a>(&'a mut Anchor);

        impl Drop for Leave<'_> {
            #[inline]
            fn drop(&mut self) {
                stack::pop_in_place(|level, below| {
                    if level.node.is_some() {
                        self.0.take_back(level.node.take(), level.linked, below);
                    }
                });
            }
        }

        let _leave = stack::push(|| self.level(deadline, None)).then(|| Leave(self));
        f()
    }

    /// Polls or drops a member of a group. Returns the member as well.
    pub(crate) fn within_member<T>(
        &mut self,
        member: Member,
        f: impl FnOnce() -> T,
    ) -> (T, Option<Member>) {
        /// Takes the level off the stack, also if `f` panics.
        struct Leave<'a> {
            anchor: &'a mut Anchor,
            member: &'a mut Option<Member>,
        }

        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                stack::pop(|level, below| {
                    self.anchor.take_back(level.node, level.linked, below);
                    *self.member = level.member;
                });
            }
        }

        let mut member = Some(member);
        if !stack::push(|| self.level(None, member.take())) {
            return (f(), member);
        }
        let leave = Leave {
            anchor: self,
            member: &mut member,
        };
        let result = f();
        drop(leave);
        (result, member)
    }

    /// The level of the frame. It has the node until it is taken off the stack.
    #[inline]
    fn level(&mut self, deadline: Option<Instant>, member: Option<Member>) -> Level {
        Level {
            role: self.role,
            node: self.node.take(),
            linked: self.linked,
            deadline,
            member,
            detached: false,
        }
    }

    /// Takes the node over that the frame's level has, or has got meanwhile.
    fn take_back(&mut self, node: Option<Arc<dyn Node>>, linked: bool, below: Option<&Level>) {
        let newly_linked = linked && !self.linked;
        (self.node, self.linked) = (node, linked);
        if newly_linked && self.role != Role::Task {
            self.under = below.and_then(|level| level.node.clone());
        }
    }

    /// Puts the frame into the tree, below the enclosing one.
    pub(crate) fn link(&mut self) -> &Arc<dyn Node> {
        let role = self.role;
        let node = self.node.get_or_insert_with(|| Frame::make(role, None));
        if !self.linked {
            self.linked = true;
            self.under = stack::top_node();
            if let Some(above) = &self.under {
                node.link(above);
            }
        }
        node
    }

    /// Puts the frame into the tree and leaves the waker there, so that a cancellation from above
    /// wakes it wherever it is polled from.
    ///
    /// What the frame waits for has to be looked at again afterwards.
    pub(crate) fn watch(&mut self, waker: &Waker) {
        self.link().state().set_waker(waker);
    }

    /// Leaves the waker for those who know the frame, if anybody does.
    pub(crate) fn watch_if_known(&self, cx: &Context<'_>) {
        if let Some(node) = &self.node {
            node.state().set_waker(cx.waker());
        }
    }

    /// Keeps the frames above from dropping this one, until [`unprotect`](Self::unprotect).
    pub(crate) fn protect(&mut self) {
        // One that is not in the tree may have been moved since.
        let is_here = |Shelter(above): &Shelter| stack::address(above) == stack::top_address();
        if !self.shelter.as_ref().is_some_and(is_here) {
            self.shelter = stack::top_node().map(|above| {
                above.protect();
                Shelter(above)
            });
        }
    }

    /// Lets the frames above drop this one again.
    pub(crate) fn unprotect(&mut self) {
        self.shelter = None;
    }

    /// Takes the protection over: whoever gets it decides how long it lasts.
    pub(crate) fn take_shelter(&mut self) -> Option<Shelter> {
        self.shelter.take()
    }

    /// Waits for a frame further out to drop this one.
    pub(crate) fn leave_it<T>(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        // If a deadline further out is moved, it is this frame's turn after all.
        self.watch(cx.waker());
        if !stack::due() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Takes the frame out of the tree. What it wraps must have been dropped before.
    #[inline]
    pub(crate) fn leave(&mut self) {
        self.shelter = None;
        // What was never put into the tree has nothing below it either.
        if mem::take(&mut self.linked) {
            if let Some(node) = &self.node {
                node.retire();
            }
        }
    }

    /// Cancels the frame and everything below it.
    pub(crate) fn cancel(&mut self, cause: Cause) {
        match &self.node {
            Some(node) => node.cancel(cause),
            None => drop(self.cause.get_or_insert(cause)),
        }
    }

    /// Why the frame itself was cancelled, if it was.
    pub(crate) fn cause(&self) -> Option<Cause> {
        match &self.node {
            Some(node) if node.state().is_cancelled_itself() => node.state().cause(),
            _ => self.cause.clone(),
        }
    }

    /// Whether the frame itself was cancelled.
    pub(crate) fn is_cancelled_itself(&self) -> bool {
        let node = self.node.as_ref();
        self.cause.is_some() || node.is_some_and(|node| node.state().is_cancelled_itself())
    }

    /// Whether a frame above was cancelled and reaches this one. Known only to a frame that watches.
    pub(crate) fn is_enclosed(&self) -> bool {
        let node = self.node.as_ref();
        node.is_some_and(|node| node.state().is_enclosed())
    }

    /// Whether nothing protected is alive below this frame.
    pub(crate) fn is_idle(&self) -> bool {
        let node = self.node.as_ref();
        node.is_none_or(|node| node.state().is_idle())
    }

    /// The frame's node, if it has one.
    pub(crate) fn node(&self) -> Option<&Arc<dyn Node>> {
        self.node.as_ref()
    }
}

impl Drop for Anchor {
    fn drop(&mut self) {
        self.leave();
    }
}
