//! Why nothing was received from a broadcast channel.

use std::{error::Error as StdError, fmt};

use crate::channel::{RecvError, TryRecvError};

/// Nothing was received from a broadcast channel.
///
/// # Examples
///
/// ```
/// use headcount::{channel::{self, BroadcastRecvError}, run};
///
/// let (tx, mut rx) = channel::broadcast(1);
/// tx.send("first").unwrap();
/// tx.send("second").unwrap();
/// drop(tx);
/// run(async {
///     assert_eq!(rx.recv().await, Err(BroadcastRecvError::Lagged(1)));
///     assert_eq!(rx.recv().await, Ok("second"));
///     assert_eq!(rx.recv().await, Err(BroadcastRecvError::Closed));
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BroadcastRecvError {
    /// The receiver was too slow and has missed this many items. The next call goes on with the
    /// oldest item that is there.
    Lagged(u64),
    /// All senders are done, or the channel was closed, and everything has been received.
    Closed,
    /// As `Closed`, but a sender was dropped by a panic: what it would have sent is missing.
    Broken,
}

impl fmt::Display for BroadcastRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lagged(missed) => write!(
                f,
                "the receiver was too slow and missed {missed} items; receive again to go on"
            ),
            Self::Closed => RecvError::Closed.fmt(f),
            Self::Broken => RecvError::Broken.fmt(f),
        }
    }
}

impl StdError for BroadcastRecvError {}

/// Nothing can be received from a broadcast channel now.
///
/// # Examples
///
/// ```
/// use headcount::channel::{self, BroadcastTryRecvError};
///
/// let (tx, mut rx) = channel::broadcast(1);
/// assert_eq!(rx.try_recv(), Err(BroadcastTryRecvError::Empty));
/// tx.send(1).unwrap();
/// tx.send(2).unwrap();
/// assert_eq!(rx.try_recv(), Err(BroadcastTryRecvError::Lagged(1)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BroadcastTryRecvError {
    /// There is nothing new.
    Empty,
    /// The receiver was too slow and has missed this many items. The next call goes on with the
    /// oldest item that is there.
    Lagged(u64),
    /// All senders are done, or the channel was closed, and everything has been received.
    Closed,
    /// As `Closed`, but a sender was dropped by a panic: what it would have sent is missing.
    Broken,
}

impl BroadcastTryRecvError {
    /// The same, for somebody who waits if there is nothing.
    pub(super) fn unless_empty(self) -> Option<BroadcastRecvError> {
        match self {
            Self::Empty => None,
            Self::Lagged(missed) => Some(BroadcastRecvError::Lagged(missed)),
            Self::Closed => Some(BroadcastRecvError::Closed),
            Self::Broken => Some(BroadcastRecvError::Broken),
        }
    }
}

impl fmt::Display for BroadcastTryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unless_empty() {
            Some(error) => error.fmt(f),
            None => TryRecvError::Empty.fmt(f),
        }
    }
}

impl StdError for BroadcastTryRecvError {}
