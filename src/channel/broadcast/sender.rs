//! The sending end of a broadcast channel.

use std::{fmt, sync::Arc};

use super::{BroadcastReceiver, Shared, change};
use crate::channel::SendError;

/// The sending end of a [`broadcast`](super::broadcast()) channel.
///
/// Clones send into the same channel; when the last one is dropped, the channel closes, and
/// receivers still get what is in it.
///
/// # Examples
///
/// ```
/// use headcount::channel;
///
/// let (tx, mut rx) = channel::broadcast(8);
/// let other = tx.clone();
/// assert_eq!(other.send("to one receiver"), Ok(1));
/// assert_eq!(rx.try_recv(), Ok("to one receiver"));
/// ```
pub struct BroadcastSender<T> {
    shared: Shared<T>,
}

impl<T> BroadcastSender<T> {
    pub(super) fn new(shared: Shared<T>) -> Self {
        Self { shared }
    }

    /// Sends an item to all receivers that there are now. Returns how many that are.
    ///
    /// Does not wait, and is not affected by cancellation. If the channel is full, its oldest item
    /// goes, and receivers that did not get it are told that they missed one.
    ///
    /// # Errors
    ///
    /// Fails with [`SendError`], which has the item, if there is no receiver, or the channel is
    /// closed.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (tx, rx) = channel::broadcast(8);
    /// assert_eq!(tx.send(1), Ok(1));
    /// drop(rx);
    /// assert_eq!(tx.send(2).unwrap_err().into_item(), 2);
    /// ```
    pub fn send(&self, item: T) -> Result<usize, SendError<T>> {
        let item = Arc::new(item);
        match change(&self.shared, |ring, after| ring.send(item, after)) {
            Ok((receivers, gone)) => {
                drop(gone);
                Ok(receivers)
            }
            // Nobody else has seen the item, so it comes out.
            Err(item) => Arc::into_inner(item).map_or(Ok(0), |item| Err(SendError::new(item))),
        }
    }

    /// Makes a receiver of what is sent from now on.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (tx, _rx) = channel::broadcast(8);
    /// let mut other = tx.subscribe();
    /// assert_eq!(tx.send(7), Ok(2));
    /// assert_eq!(other.try_recv(), Ok(7));
    /// ```
    #[must_use = "items are kept for a receiver that is not used"]
    pub fn subscribe(&self) -> BroadcastReceiver<T> {
        let next = change(&self.shared, |ring, _| {
            let next = ring.next();
            ring.add_receiver(next);
            next
        });
        BroadcastReceiver::new(Arc::clone(&self.shared), next)
    }

    /// Closes the channel for everybody.
    ///
    /// Nothing more can be sent; what is in the channel can still be received. Returns false if the
    /// channel was closed already.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (tx, mut rx) = channel::broadcast(8);
    /// tx.send(1).unwrap();
    /// tx.close();
    /// assert!(tx.send(2).is_err());
    /// assert_eq!(rx.try_recv(), Ok(1));
    /// ```
    pub fn close(&self) -> bool {
        change(&self.shared, |ring, after| ring.close(after))
    }

    /// Tells whether nothing can be sent any more.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (tx, _rx) = channel::broadcast::<u8>(8);
    /// assert!(!tx.is_closed());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.lock().is_closed()
    }

    /// Returns how many items there are that somebody has not received.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (tx, _rx) = channel::broadcast(8);
    /// tx.send(1).unwrap();
    /// assert_eq!(tx.len(), 1);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.lock().len()
    }

    /// Tells whether all receivers have received everything.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (tx, _rx) = channel::broadcast::<u8>(8);
    /// assert!(tx.is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many items the channel keeps for those who have not received them.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// assert_eq!(channel::broadcast::<u8>(8).0.capacity(), 8);
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.lock().capacity()
    }

    /// Returns the most items that there ever were in the channel at the same time.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (tx, mut rx) = channel::broadcast(8);
    /// tx.send(1).unwrap();
    /// rx.try_recv().unwrap();
    /// assert_eq!((tx.len(), tx.peak()), (0, 1));
    /// ```
    #[must_use]
    pub fn peak(&self) -> usize {
        self.shared.lock().peak()
    }

    /// Returns how many receivers there are.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (tx, _rx) = channel::broadcast::<u8>(8);
    /// assert_eq!(tx.receiver_count(), 1);
    /// ```
    #[must_use]
    pub fn receiver_count(&self) -> usize {
        self.shared.lock().receivers()
    }
}

impl<T> Clone for BroadcastSender<T> {
    fn clone(&self) -> Self {
        self.shared.lock().add_sender();
        Self::new(Arc::clone(&self.shared))
    }
}

impl<T> Drop for BroadcastSender<T> {
    fn drop(&mut self) {
        change(&self.shared, |ring, after| ring.remove_sender(after));
    }
}

impl<T> fmt::Debug for BroadcastSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastSender")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}
