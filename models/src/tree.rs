//! `deliver`, `relink` and `retire` of src/frame/node.rs: a cancellation that goes down a tree whose
//! nodes come and go at the same time.

use std::sync::Arc;

use loom::sync::{
    Mutex,
    atomic::{AtomicU8, AtomicUsize, Ordering},
};

/// Set when the frame itself was cancelled.
const CANCELLED: u8 = 1;

/// Set when a frame above was cancelled.
const ENCLOSED: u8 = 2;

/// A place in the tree of frames.
pub struct Node {
    name: usize,
    flags: AtomicU8,
    /// How often the frame was told to look.
    stirred: AtomicUsize,
    links: Mutex<Links>,
}

#[derive(Default)]
struct Links {
    above: Option<Arc<Node>>,
    below: Vec<Arc<Node>>,
    cause: Option<u8>,
}

impl Node {
    pub fn new(name: usize) -> Arc<Self> {
        Arc::new(Self {
            name,
            flags: AtomicU8::new(0),
            stirred: AtomicUsize::new(0),
            links: Mutex::new(Links::default()),
        })
    }

    pub fn is_cancelled(&self) -> bool {
        self.flags.load(Ordering::Acquire) != 0
    }

    pub fn cause(&self) -> Option<u8> {
        self.links.lock().unwrap().cause
    }

    /// How often the frame was told to look.
    pub fn stirred(&self) -> usize {
        self.stirred.load(Ordering::Acquire)
    }

    /// Cancels the frame and everything below it.
    pub fn cancel(self: &Arc<Self>, cause: u8) {
        {
            let mut links = self.links.lock().unwrap();
            links.cause.get_or_insert(cause);
        }
        deliver(Arc::clone(self), CANCELLED);
    }

    /// Puts the node below another one, and hands it what has been cancelled there.
    pub fn link(self: &Arc<Self>, above: &Arc<Self>) {
        self.relink(Some(above), |_| true);
    }

    /// The same with the flag read too early: before the node above knows this one.
    pub fn link_wrongly(self: &Arc<Self>, above: &Arc<Self>) {
        let is_cancelled = above.is_cancelled();
        self.links.lock().unwrap().above = Some(Arc::clone(above));
        above.links.lock().unwrap().below.push(Arc::clone(self));
        if is_cancelled {
            deliver(Arc::clone(self), ENCLOSED);
        }
    }

    fn relink(
        self: &Arc<Self>,
        to: Option<&Arc<Self>>,
        is_expected: impl FnOnce(Option<&Arc<Self>>) -> bool,
    ) {
        let is_cancelled = {
            let mut links = self.links.lock().unwrap();
            if !is_expected(links.above.as_ref()) {
                return;
            }
            if let Some(before) = links.above.take() {
                let mut before = before.links.lock().unwrap();
                before.below.retain(|node| node.name != self.name);
            }
            to.is_some_and(|to| {
                let mut above = to.links.lock().unwrap();
                links.above = Some(Arc::clone(to));
                above.below.push(Arc::clone(self));
                to.is_cancelled()
            })
        };
        if is_cancelled {
            deliver(Arc::clone(self), ENCLOSED);
        }
    }

    /// Takes the node out of the tree; what is still below it goes to the node above.
    pub fn retire(self: &Arc<Self>) {
        let above = self.links.lock().unwrap().above.clone();
        self.relink(None, |_| true);
        let below = std::mem::take(&mut self.links.lock().unwrap().below);
        for node in below {
            let is_here = |above: Option<&Arc<Self>>| above.is_some_and(|it| it.name == self.name);
            node.relink(above.as_ref(), is_here);
        }
    }
}

/// Marks a node and everything below it as cancelled, and has the frames look.
fn deliver(node: Arc<Node>, flag: u8) {
    let mut nodes = vec![(node, flag)];
    while let Some((node, flag)) = nodes.pop() {
        let before = node.flags.fetch_or(flag, Ordering::AcqRel);
        if before == 0 {
            let below = node.links.lock().unwrap().below.clone();
            nodes.extend(below.into_iter().map(|below| (below, ENCLOSED)));
            node.stirred.fetch_add(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use loom::thread;

    use super::*;
    use crate::check;

    /// A chain of nodes, each below the one before.
    fn chain<const N: usize>() -> [Arc<Node>; N] {
        let nodes: [Arc<Node>; N] = std::array::from_fn(Node::new);
        for pair in nodes.windows(2) {
            pair[1].link(&pair[0]);
        }
        nodes
    }

    fn on_a_thread(
        node: &Arc<Node>,
        f: impl FnOnce(Arc<Node>) + 'static,
    ) -> thread::JoinHandle<()> {
        let node = Arc::clone(node);
        thread::spawn(move || f(node))
    }

    fn linked_while_cancelled(link: fn(&Arc<Node>, &Arc<Node>)) {
        check(move || {
            let [root] = chain();
            let node = Node::new(9);
            let canceller = on_a_thread(&root, |root| root.cancel(1));
            link(&node, &root);
            canceller.join().unwrap();
            assert!(node.is_cancelled(), "it was not told");
            assert_eq!(node.stirred(), 1);
        });
    }

    #[test]
    fn what_is_linked_during_a_cancellation_is_told_once() {
        linked_while_cancelled(Node::link);
    }

    #[test]
    #[should_panic(expected = "it was not told")]
    fn a_flag_that_is_read_before_linking_misses_a_cancellation() {
        linked_while_cancelled(Node::link_wrongly);
    }

    #[test]
    fn what_is_linked_on_the_way_down_is_told() {
        check(|| {
            let [root, middle] = chain();
            let leaf = Node::new(9);
            let canceller = on_a_thread(&root, |root| root.cancel(1));
            leaf.link(&middle);
            canceller.join().unwrap();
            assert!(leaf.is_cancelled());
            assert_eq!((middle.stirred(), leaf.stirred()), (1, 1));
        });
    }

    #[test]
    fn what_is_handed_up_during_a_cancellation_is_told() {
        check(|| {
            let [root, middle, leaf] = chain();
            let canceller = on_a_thread(&root, |root| root.cancel(1));
            middle.retire();
            canceller.join().unwrap();
            assert!(leaf.is_cancelled());
            assert_eq!(leaf.stirred(), 1);
        });
    }

    #[test]
    fn of_two_cancellations_one_gives_the_cause_and_each_node_is_told_once() {
        check(|| {
            let [root, leaf] = chain();
            let other = on_a_thread(&root, |root| root.cancel(1));
            root.cancel(2);
            other.join().unwrap();
            assert!(matches!(root.cause(), Some(1 | 2)));
            assert_eq!((root.stirred(), leaf.stirred()), (1, 1));
        });
    }

    #[test]
    fn who_sees_the_flag_sees_the_cause() {
        check(|| {
            let [root] = chain();
            let canceller = on_a_thread(&root, |root| root.cancel(1));
            if root.is_cancelled() {
                assert_eq!(root.cause(), Some(1));
            }
            canceller.join().unwrap();
        });
    }
}
