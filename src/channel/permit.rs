//! Room that is kept for an item.

use std::fmt;

use super::{sender::Sender, shared::Shared};

/// Room in a channel, kept for one item; from [`Sender::reserve`](super::Sender::reserve).
///
/// Dropping it without sending gives the room to the next in line.
///
/// # Examples
///
/// ```
/// use headcount::{channel, run};
///
/// let (tx, rx) = channel::bounded(1);
/// run(async {
///     tx.reserve().await.unwrap().send("page");
///     assert_eq!(rx.recv().await, Ok("page"));
/// });
/// ```
#[must_use = "the room is given back when the permit is dropped; send with it"]
pub struct Permit<'a, T> {
    /// `None` once it was used.
    shared: Option<&'a Shared<T>>,
}

impl<'a, T> Permit<'a, T> {
    /// Stands for room that has been set aside in the state.
    pub(super) fn new(shared: &'a Shared<T>) -> Self {
        Self {
            shared: Some(shared),
        }
    }

    /// Leaves the room set aside, for another permit to stand for.
    pub(super) fn keep(mut self) {
        self.shared = None;
    }

    /// Sends an item. Neither waits nor fails.
    ///
    /// Works also if the channel was closed meanwhile: receivers wait for permits that are out. If
    /// the last receiver has been dropped, the item is disposed of as undelivered; see
    /// [`on_undelivered`](super::Options::on_undelivered).
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{channel, run};
    ///
    /// let (tx, rx) = channel::bounded(1);
    /// let permit = tx.try_reserve().unwrap();
    /// tx.close();
    /// permit.send("page");
    /// assert_eq!(run(rx.recv()), Ok("page"));
    /// ```
    pub fn send(mut self, item: T) {
        if let Some(shared) = self.shared.take() {
            let mut item = Some(item);
            shared.change(|state, after| state.use_permit(&mut item, after));
            if let Some(panic) = shared.dispose(item) {
                panic.resume();
            }
        }
    }
}

impl<T> Drop for Permit<'_, T> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared {
            shared.change(|state, after| state.use_permit(&mut None, after));
        }
    }
}

impl<T> fmt::Debug for Permit<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

/// Room in a channel, kept for one item and for whoever has this; from
/// [`Sender::reserve_owned`](super::Sender::reserve_owned).
///
/// It counts as a sender: the channel does not close before it is used or dropped, and dropping it
/// by a panic breaks the channel. Dropping it without sending gives the room to the next in line.
///
/// # Examples
///
/// ```
/// use headcount::{channel, group, run};
///
/// run(group(async |g| {
///     let (tx, rx) = channel::bounded(1);
///     let permit = tx.reserve_owned().await?;
///     drop(tx);
///     g.spawn(async move {
///         permit.send("page");
///         Ok(())
///     });
///     assert_eq!(rx.recv().await?, "page");
///     assert!(rx.recv().await.is_err()); // Nobody is left who could send.
///     Ok(())
/// }))
/// .unwrap();
/// ```
#[must_use = "the room is given back when the permit is dropped; send with it"]
pub struct OwnedPermit<T> {
    /// `None` once it was used.
    sender: Option<Sender<T>>,
}

impl<T> OwnedPermit<T> {
    /// Stands for room that has been set aside in the state.
    pub(super) fn new(sender: Sender<T>) -> Self {
        Self {
            sender: Some(sender),
        }
    }

    /// Sends an item. Neither waits nor fails.
    ///
    /// As [`Permit::send`].
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{channel, run};
    ///
    /// let (tx, rx) = channel::bounded(1);
    /// tx.try_reserve_owned().unwrap().send("page");
    /// assert_eq!(run(rx.recv()), Ok("page"));
    /// ```
    pub fn send(mut self, item: T) {
        if let Some(sender) = self.sender.take() {
            Permit::new(&sender.shared).send(item);
        }
    }
}

impl<T> Drop for OwnedPermit<T> {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take() {
            drop(Permit::new(&sender.shared));
        }
    }
}

impl<T> fmt::Debug for OwnedPermit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedPermit").finish_non_exhaustive()
    }
}
