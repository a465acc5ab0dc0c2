//! The place of running code among the frames, taken along to another thread.

use std::sync::Arc;

use crate::frame::{
    node::{Node, Role},
    stack::{self, Level, Member, Whose},
};

/// A place under frames, where a future waits for something that another thread does meanwhile.
pub(crate) struct Spot {
    /// The innermost frame, if there is one.
    frame: Option<Arc<dyn Node>>,
    member: Option<Whose>,
}

impl Spot {
    /// Where the running code is.
    pub(crate) fn here() -> Self {
        Self {
            frame: stack::top_node(),
            member: stack::whose(),
        }
    }

    /// Who is there.
    pub(crate) fn member(&self) -> Option<&Whose> {
        self.member.as_ref()
    }

    /// Whether a cancellation has struck there: what [`cancelled`](crate::frame::cancelled) says to code that
    /// runs there.
    pub(crate) fn is_cancelled(&self) -> bool {
        let is_struck = |frame: &Arc<dyn Node>| {
            let state = frame.state();
            !state.role().keeps() && (state.is_cancelled() || self.is_marked(frame))
        };
        self.frame.as_ref().is_some_and(is_struck)
    }

    /// Whether the task was cancelled through its handle: until its next turn, its node does not know.
    fn is_marked(&self, frame: &Arc<dyn Node>) -> bool {
        let mut member = self
            .member
            .as_ref()
            .map(|(home, task)| (Arc::clone(home), task.id()));
        let mut next = Some(Arc::clone(frame));
        while let (Some(node), Some((home, id))) = (next, &member) {
            match node.state().role() {
                Role::Task => return home.is_marked(*id),
                // The body of a group: further out is the task that opened it.
                Role::Group => member = home.home_above().zip(home.opened_by()),
                role if role.keeps() => return false,
                _ => {}
            }
            next = node.state().above();
        }
        false
    }

    /// Runs something as if it were there.
    pub(crate) fn visit<T>(self, run: impl FnOnce() -> T) -> T {
        /// Takes the level off the stack, also if `run` panics.
        struct Leave;

        impl Drop for Leave {
            fn drop(&mut self) {
                let level = stack::pop(|level, _| level);
                drop(level);
            }
        }

        let Self { frame, member } = self;
        let visited = frame.is_some_and(|frame| {
            stack::push(|| Level {
                role: frame.state().role(),
                node: Some(frame),
                linked: true,
                deadline: None,
                member: member.map(|(home, task)| Member::unpolled(home, task)),
                // Further out is what the tree says, not what this thread is doing besides.
                detached: true,
            })
        });
        let _leave = visited.then(|| Leave);
        run()
    }
}
