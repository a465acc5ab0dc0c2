//! Why nothing was sent or received.

use std::{error::Error as StdError, fmt};

/// The channel is closed, and the item that was to be sent comes back.
///
/// # Examples
///
/// ```
/// use headcount::{channel, run};
///
/// let (tx, rx) = channel::bounded(1);
/// drop(rx);
/// let refused = run(tx.send("page")).unwrap_err();
/// assert_eq!(refused.into_item(), "page");
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SendError<T> {
    item: T,
}

impl<T> SendError<T> {
    pub(super) fn new(item: T) -> Self {
        Self { item }
    }

    /// Returns the item that was not sent.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (tx, rx) = channel::oneshot();
    /// drop(rx);
    /// assert_eq!(tx.send(7).unwrap_err().into_item(), 7);
    /// ```
    #[must_use = "the item is what this error brings back"]
    pub fn into_item(self) -> T {
        self.item
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError").finish_non_exhaustive()
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the channel is closed; the item was not sent and is in this error")
    }
}

impl<T> StdError for SendError<T> {}

/// The item cannot be sent now, and comes back.
///
/// # Examples
///
/// ```
/// use headcount::channel::{self, TrySendError};
///
/// let (tx, _rx) = channel::bounded(1);
/// tx.try_send(1).unwrap();
/// assert!(matches!(tx.try_send(2), Err(TrySendError::Full(2))));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TrySendError<T> {
    /// There is no room now, or others wait for it.
    Full(T),
    /// The channel is closed.
    Closed(T),
}

impl<T> TrySendError<T> {
    /// Returns the item that was not sent.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (tx, _rx) = channel::rendezvous();
    /// assert_eq!(tx.try_send(7).unwrap_err().into_item(), 7);
    /// ```
    #[must_use = "the item is what this error brings back"]
    pub fn into_item(self) -> T {
        match self {
            Self::Full(item) | Self::Closed(item) => item,
        }
    }
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Full(_) => "Full",
            Self::Closed(_) => "Closed",
        };
        f.debug_tuple(name).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the channel is full; the item was not sent and is in this error",
            Self::Closed(_) => "the channel is closed; the item was not sent and is in this error",
        })
    }
}

impl<T> StdError for TrySendError<T> {}

/// No room can be reserved: the channel is closed.
///
/// # Examples
///
/// ```
/// use headcount::{channel::{self, ReserveError}, run};
///
/// let (tx, rx) = channel::bounded::<u8>(1);
/// drop(rx);
/// assert_eq!(run(tx.reserve()).unwrap_err(), ReserveError);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReserveError;

impl fmt::Display for ReserveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the channel is closed; nothing can be sent any more")
    }
}

impl StdError for ReserveError {}

/// No room can be reserved now.
///
/// # Examples
///
/// ```
/// use headcount::channel::{self, TryReserveError};
///
/// let (tx, _rx) = channel::bounded(1);
/// tx.try_send(1).unwrap();
/// assert_eq!(tx.try_reserve().unwrap_err(), TryReserveError::Full);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryReserveError {
    /// There is no room now, or others wait for it.
    Full,
    /// The channel is closed.
    Closed,
}

impl fmt::Display for TryReserveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the channel is full; wait with `reserve`, or try again later",
            Self::Closed => "the channel is closed; nothing can be sent any more",
        })
    }
}

impl StdError for TryReserveError {}

/// Nothing will be received any more.
///
/// # Examples
///
/// ```
/// use headcount::{channel::{self, RecvError}, run};
///
/// let (tx, rx) = channel::bounded(1);
/// tx.try_send("the last").unwrap();
/// drop(tx);
/// assert_eq!(run(rx.recv()), Ok("the last"));
/// assert_eq!(run(rx.recv()), Err(RecvError::Closed));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecvError {
    /// The channel was closed, or all senders are done, and everything has been received.
    Closed,
    /// As `Closed`, but a sender was dropped by a panic: what it would have sent is missing.
    Broken,
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the channel is closed, and everything has been received",
            Self::Broken => {
                "the channel is broken: a sender was dropped by a panic, and what it would have \
                 sent is missing"
            }
        })
    }
}

impl StdError for RecvError {}

/// Nothing can be received now.
///
/// # Examples
///
/// ```
/// use headcount::channel::{self, TryRecvError};
///
/// let (tx, rx) = channel::bounded::<u8>(1);
/// assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
/// drop(tx);
/// assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TryRecvError {
    /// There is nothing now, or what there is goes to others who wait.
    Empty,
    /// The channel was closed, or all senders are done, and everything has been received.
    Closed,
    /// As `Closed`, but a sender was dropped by a panic: what it would have sent is missing.
    Broken,
}

impl From<RecvError> for TryRecvError {
    fn from(error: RecvError) -> Self {
        match error {
            RecvError::Closed => Self::Closed,
            RecvError::Broken => Self::Broken,
        }
    }
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => {
                f.write_str("the channel is empty; wait with `recv`, or try again later")
            }
            Self::Closed => RecvError::Closed.fmt(f),
            Self::Broken => RecvError::Broken.fmt(f),
        }
    }
}

impl StdError for TryRecvError {}
