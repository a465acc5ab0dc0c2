//! Channels with options.

use std::{fmt, sync::Arc};

use super::{
    Receiver, Sender,
    shared::{Hook, Shared},
    state::Capacity,
};

/// Options of a channel, for those that need more than [`bounded`](super::bounded()),
/// [`rendezvous`](super::rendezvous()) and [`unbounded`](super::unbounded()) have.
///
/// # Examples
///
/// ```
/// use headcount::channel;
/// use std::sync::{Arc, Mutex};
///
/// let orphans = Arc::new(Mutex::new(Vec::new()));
/// let adopt = Arc::clone(&orphans);
/// let (tx, rx) = channel::Options::new()
///     .on_undelivered(move |page| adopt.lock().unwrap().push(page))
///     .bounded(8);
///
/// tx.try_send("a page that nobody reads").unwrap();
/// drop(rx);
/// assert_eq!(*orphans.lock().unwrap(), ["a page that nobody reads"]);
/// ```
#[must_use = "options do nothing until a channel is made with them"]
pub struct Options<T> {
    hook: Option<Hook<T>>,
}

impl<T> Options<T> {
    /// Starts from the defaults: what is not delivered is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (tx, rx) = channel::Options::<u8>::new().bounded(8);
    /// ```
    pub fn new() -> Self {
        Self { hook: None }
    }

    /// Sets what becomes of items that the channel took or was about to take, and that nobody will
    /// receive, instead of dropping them.
    ///
    /// That is what is in the channel when its last receiver is dropped, or when it is
    /// [discarded](Receiver::discard); what is sent with a [`Permit`](super::Permit) after that; and
    /// the item of a send that was dropped before it was done. Items that come back in an error are
    /// in the caller's hands and not meant.
    ///
    /// For items that own something outside: a connection to be given back to its pool, a job to be
    /// put back into a queue. The hook is called wherever that happens, in destructors too, with no
    /// lock held. It should neither block nor panic; a panic is reported as a failure of the running
    /// task if it cannot go on where it was.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{channel, run, timeout};
    /// use std::{sync::mpsc, time::Duration};
    ///
    /// let (undelivered, returned) = mpsc::channel();
    /// let (tx, _rx) = channel::Options::new()
    ///     .on_undelivered(move |page| undelivered.send(page).unwrap())
    ///     .rendezvous();
    ///
    /// // Nobody receives, so the send runs out of time.
    /// assert!(run(timeout(Duration::ZERO, tx.send("page"))).is_err());
    /// assert_eq!(returned.try_recv(), Ok("page"));
    /// ```
    pub fn on_undelivered(self, hook: impl Fn(T) + Send + Sync + 'static) -> Self {
        Self {
            hook: Some(Box::new(hook)),
        }
    }

    /// Makes a [`bounded`](super::bounded()) channel.
    ///
    /// # Panics
    ///
    /// Panics if the capacity is 0.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (tx, rx) = channel::Options::new().on_undelivered(|page: String| {}).bounded(8);
    /// assert_eq!(tx.capacity(), Some(8));
    /// ```
    #[track_caller]
    #[must_use]
    pub fn bounded(self, capacity: usize) -> (Sender<T>, Receiver<T>) {
        assert!(
            capacity > 0,
            "a bounded channel needs a capacity of at least 1; a channel that holds nothing is \
             made by `rendezvous`"
        );
        self.open(Capacity::Bounded(capacity))
    }

    /// Makes a [`rendezvous`](super::rendezvous()) channel.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (tx, rx) = channel::Options::new().on_undelivered(|page: String| {}).rendezvous();
    /// assert_eq!(tx.capacity(), Some(0));
    /// ```
    #[must_use]
    pub fn rendezvous(self) -> (Sender<T>, Receiver<T>) {
        self.open(Capacity::Rendezvous)
    }

    /// Makes an [`unbounded`](super::unbounded()) channel, with the risk that goes with it.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::channel;
    ///
    /// let (tx, rx) = channel::Options::new().on_undelivered(|page: String| {}).unbounded();
    /// assert_eq!(tx.capacity(), None);
    /// ```
    #[must_use]
    pub fn unbounded(self) -> (Sender<T>, Receiver<T>) {
        self.open(Capacity::Unbounded)
    }

    fn open(self, capacity: Capacity) -> (Sender<T>, Receiver<T>) {
        let shared = Arc::new(Shared::new(capacity, self.hook));
        (Sender::new(Arc::clone(&shared)), Receiver::new(shared))
    }
}

impl<T> Default for Options<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Options<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("on_undelivered", &self.hook.is_some())
            .finish()
    }
}
