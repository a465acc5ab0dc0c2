//! The newest value to every receiver.

mod receiver;
mod sender;

use std::{sync::Arc, thread};

use crate::{
    lock::Mutex,
    waiters::{Aftermath, Waiters},
};

pub use self::{
    receiver::{Changed, WatchReceiver, WatchedUntil},
    sender::WatchSender,
};

/// Makes a channel that has one value, which receivers can look at, and wait for changes of.
///
/// For configuration, progress, a state that others follow. Receivers see the newest value; what it
/// was in between, a slow one does not get to know. If every item matters, use
/// [`broadcast`](super::broadcast()) or [`bounded`](super::bounded()).
///
/// Values are handed out behind an [`Arc`], so receivers can keep what they have for as long as they
/// like and never hold up the sender.
///
/// # Examples
///
/// ```
/// use headcount::{channel, group, run};
///
/// run(group(async |g| {
///     let (tx, mut rx) = channel::watch("starting");
///     let follower = g.spawn(async move {
///         let state = rx.wait_until(|state| *state == "ready").await?;
///         Ok(*state)
///     });
///     tx.send("warming up")?;
///     tx.send("ready")?;
///     assert_eq!(follower.await?, "ready");
///     Ok(())
/// }))
/// .unwrap();
/// ```
#[must_use]
pub fn watch<T>(value: T) -> (WatchSender<T>, WatchReceiver<T>) {
    let shared = Arc::new(Mutex::new(State {
        value: Arc::new(value),
        version: 0,
        waiters: Waiters::new(),
        broken: false,
        senders: 1,
        receivers: 1,
    }));
    let receiver = WatchReceiver::new(Arc::clone(&shared), 0);
    (WatchSender::new(shared), receiver)
}

/// What the ends share.
type Shared<T> = Arc<Mutex<State<T>>>;

#[derive(Debug)]
struct State<T> {
    value: Arc<T>,
    /// How often the value was changed.
    version: u64,
    /// Receivers that wait. What is granted to them is a look.
    waiters: Waiters,
    /// A sender was dropped by a panic.
    broken: bool,
    senders: usize,
    receivers: usize,
}

impl<T> State<T> {
    /// Sets the value, and returns the one before.
    fn set(&mut self, value: Arc<T>, after: &mut Aftermath) -> Arc<T> {
        self.version += 1;
        self.waiters.grant_all(after);
        std::mem::replace(&mut self.value, value)
    }

    /// Counts a sender off.
    fn remove_sender(&mut self, after: &mut Aftermath) {
        self.broken |= thread::panicking();
        self.senders -= 1;
        if self.senders == 0 {
            self.waiters.grant_all(after);
        }
    }
}

/// Changes the state, and then wakes whom that concerns.
fn change<T, R>(shared: &Mutex<State<T>>, f: impl FnOnce(&mut State<T>, &mut Aftermath) -> R) -> R {
    let mut after = Aftermath::default();
    let result = f(&mut shared.lock(), &mut after);
    after.run();
    result
}
