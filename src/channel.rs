//! Channels: items that move from task to task, and are not lost on the way.
//!
//! | for | there is |
//! | --- | --- |
//! | a queue with back-pressure | [`bounded`] |
//! | a handshake: sent means received | [`rendezvous`] |
//! | a queue that never makes anybody wait | [`unbounded`], at a risk |
//! | one answer | [`oneshot`] |
//! | every item to every receiver | [`broadcast`] |
//! | the newest value to every receiver | [`watch`] |
//!
//! For the result of a task, its [handle](crate::Task) is enough.
//!
//! # What all of them promise
//!
//! - *Dropping a future undoes it.* A send that was dropped before it was done has sent nothing, a
//!   receive has received nothing. There are no other cases, however close the race.
//! - *An item that was granted to a receiver which is cancelled before it runs* stays where it was,
//!   at the head of the queue, and the next receiver in line has it.
//! - *Nobody overtakes those who wait*, not even with the `try_` twins: what becomes free is granted
//!   to the first in line before anybody else can look.
//! - *Items come in the order in which they were sent.*
//! - *What has been cancelled does not happen.* In a scope that was cancelled, no send or receive
//!   takes effect any more: its future stays pending until its scope drops it. The `try_` twins and
//!   everything else that does not wait are not affected.
//! - *The end is told, and tells why.* When all senders are gone and everything is received, the
//!   channel is *closed*; if one of them was dropped by a panic, it is *broken*, and that is a
//!   different error. When all receivers are gone, a send gives its item back.
//!
//! They work under every executor, in and out of [`run`](crate::run()), and from any thread.
//!
//! # Which task owns which end
//!
//! A receiver waits for as long as a sender exists. The classic hang is a sender that the receiving
//! task, or the body of the group, keeps by mistake: move the senders into the tasks that send. A
//! group that is cancelled drops its tasks and their ends with them, so whoever waits at the other
//! end is told.
//!
//! One difference to channels whose handles have a `close` of their own: here, a handle is given up
//! by dropping it, and an operation that waits borrows its handle. So there is no waiting on a
//! handle that was closed; [`close`](Sender::close) closes the channel.

mod broadcast;
mod error;
pub mod futures;
mod oneshot;
mod options;
mod permit;
mod receiver;
mod sender;
mod shared;
mod state;
mod watch;

pub use self::{
    broadcast::{
        BroadcastReceiver, BroadcastRecvError, BroadcastSender, BroadcastTryRecvError, broadcast,
    },
    error::{RecvError, ReserveError, SendError, TryRecvError, TryReserveError, TrySendError},
    oneshot::{OneshotReceiver, OneshotSender, oneshot},
    options::Options,
    permit::{OwnedPermit, Permit},
    receiver::Receiver,
    sender::Sender,
    watch::{WatchReceiver, WatchSender, watch},
};

/// Makes a channel that holds at most `capacity` items.
///
/// When it is full, senders wait: that is the back-pressure that keeps a fast producer from running
/// away from a slow consumer. Small capacities are enough; [`peak`](Sender::peak) tells how much of
/// it was ever used.
///
/// # Panics
///
/// Panics if the capacity is 0; use [`rendezvous`].
///
/// # Examples
///
/// ```
/// use headcount::{channel, group, run};
///
/// run(group(async |g| {
///     let (tx, rx) = channel::bounded(2);
///     g.spawn(async move {
///         for page in 1..=5 {
///             tx.send(page).await?; // Waits while two pages are unread.
///         }
///         Ok(())
///     });
///     let mut pages = Vec::new();
///     while let Ok(page) = rx.recv().await {
///         pages.push(page);
///     }
///     assert_eq!(pages, [1, 2, 3, 4, 5]);
///     Ok(())
/// }))
/// .unwrap();
/// ```
#[track_caller]
#[must_use]
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    Options::new().bounded(capacity)
}

/// Makes a channel that holds nothing: a send is done when a receiver is there to have the item.
///
/// A receiver that is cancelled at that very moment leaves the item in the channel, for the next
/// one; it is not lost, and not sent back.
///
/// # Examples
///
/// ```
/// use headcount::{channel, group, run};
///
/// run(group(async |g| {
///     let (tx, rx) = channel::rendezvous();
///     assert!(tx.try_send("nobody waits").is_err());
///     g.spawn(async move { Ok(tx.send("page").await?) });
///     assert_eq!(rx.recv().await?, "page");
///     Ok(())
/// }))
/// .unwrap();
/// ```
#[must_use]
pub fn rendezvous<T>() -> (Sender<T>, Receiver<T>) {
    Options::new().rendezvous()
}

/// Makes a channel that holds any number of items.
///
/// **A risk**: nothing slows the senders down. If they are faster than the receivers for long
/// enough, the process runs out of memory, and every item waits longer than the one before. Right
/// where the number of items is bounded by something else, or where the sender must not wait at any
/// price, in a destructor for one. Everywhere else, [`bounded`] with a large capacity says when
/// something is wrong.
///
/// # Examples
///
/// ```
/// use headcount::{channel, run};
///
/// let (tx, rx) = channel::unbounded();
/// for page in 0..1_000 {
///     tx.try_send(page).unwrap(); // Fails only if there is no receiver any more.
/// }
/// assert_eq!(run(rx.recv()), Ok(0));
/// ```
#[must_use]
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    Options::new().unbounded()
}
