//! Frames: the boundaries that cancellation acts on.
//!
//! Cancelling in Rust means not polling a future any more, and dropping it. So every boundary that
//! can be cancelled, or that holds a cancellation off, is a future that wraps another one and
//! decides at each poll whether to pass it on: a *frame*. Scopes, shields, finalizers, tasks and
//! groups are frames.
//!
//! These make up this module:
//!
//! - [`stack`]: which frames the running code is under. While a frame polls or drops what it wraps,
//!   it has a level on a stack of this thread. What is asked from inside (am I cancelled? what is
//!   my deadline?) is answered from that stack.
//! - [`node`]: the tree of frames across tasks, so that a cancellation can travel *down* and wake
//!   what it reaches. A frame gets a node only when something needs it: a handle that may cancel it,
//!   or a frame below that must be woken.
//! - [`anchor`]: a frame's own end of both; [`enclosed`]: a future with such an anchor.
//! - [`home`]: what groups, which are made elsewhere, are to those inside; [`spot`]: a place among the frames,
//!   taken along to another thread.
//!
//! # Protected
//!
//! A frame that is cancelled drops what it wraps, unless something *protected* is alive below: a
//! shield, a finalizer, or a group. Each of them counts itself as `busy` on the frame right above it,
//! and a scope that is busy makes the frame above it busy in turn. Shields, finalizers, groups and
//! tasks are the ends of such a chain: they are protected themselves, whatever goes on inside.

mod anchor;
mod enclosed;
mod home;
mod node;
mod spot;
mod stack;

pub(crate) use self::{
    anchor::{Anchor, Shelter, dropping},
    enclosed::Enclosed,
    home::{Bed, Home, Notice, Refused, Ward, adopt, release, report},
    node::{Node, NodeState, Role, abandon_below, new_node, wake},
    spot::Spot,
    stack::{
        Member, Seat, Whose, arrive, cancelled, current_member, deadline, depart, dispose, due,
        enclosing_home, is_cancelled, is_under, leave_seat, lend, note_aborted, place_of,
        report_panic, rethrow, set_aside, tell, tell_cleanup, tell_gone, tell_mark, trusts, whose,
    },
};
