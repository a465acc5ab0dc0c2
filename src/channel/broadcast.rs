//! Every item to every receiver.

mod error;
mod receiver;
mod ring;
mod sender;

use std::sync::Arc;

use self::ring::Ring;
use crate::{lock::Mutex, waiters::Aftermath};

pub use self::{
    error::{BroadcastRecvError, BroadcastTryRecvError},
    receiver::{BroadcastReceived, BroadcastReceiver},
    sender::BroadcastSender,
};

/// Makes a channel in which every receiver gets every item.
///
/// It keeps the last `capacity` items that somebody has not received yet. Sending never waits: a
/// receiver that is further behind than that is *lagging*; it is told how many items it missed, and
/// goes on with the oldest that is there. So one slow receiver holds up neither senders nor the
/// other receivers.
///
/// If a receiver must not miss anything, give it a [`bounded`](super::bounded()) channel of its own.
/// If only the newest value matters, [`watch`](super::watch()) has no capacity to be chosen.
///
/// # Panics
///
/// Panics if the capacity is 0.
///
/// # Examples
///
/// ```
/// use headcount::{channel, run};
///
/// let (tx, mut early) = channel::broadcast(8);
/// tx.send("first").unwrap();
/// let mut late = tx.subscribe(); // Gets what is sent from now on.
/// tx.send("second").unwrap();
/// run(async {
///     assert_eq!(early.recv().await, Ok("first"));
///     assert_eq!(early.recv().await, Ok("second"));
///     assert_eq!(late.recv().await, Ok("second"));
/// });
/// ```
#[track_caller]
#[must_use]
pub fn broadcast<T>(capacity: usize) -> (BroadcastSender<T>, BroadcastReceiver<T>) {
    assert!(
        capacity > 0,
        "a broadcast channel needs a capacity of at least 1, or every receiver misses everything"
    );
    let shared = Arc::new(Mutex::new(Ring::new(capacity)));
    let receiver = BroadcastReceiver::new(Arc::clone(&shared), 0);
    (BroadcastSender::new(shared), receiver)
}

/// What the ends share.
type Shared<T> = Arc<Mutex<Ring<T>>>;

/// Changes the state, and then wakes whom that concerns.
fn change<T, R>(shared: &Mutex<Ring<T>>, f: impl FnOnce(&mut Ring<T>, &mut Aftermath) -> R) -> R {
    let mut after = Aftermath::default();
    let result = f(&mut shared.lock(), &mut after);
    after.run();
    result
}
