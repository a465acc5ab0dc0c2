//! It has happened.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use crate::{
    frame,
    lock::Mutex,
    waiters::{Aftermath, Left, Place, Waiters, poll_locked},
};

/// Something that happens once, and that any number of tasks can wait for.
///
/// It cannot be taken back: whoever comes after it has happened does not wait. That is what makes
/// it free of races. For something that happens again and again there are
/// [`watch`](crate::channel::watch()), which has a value as well, and
/// [`Condition`](super::Condition).
///
/// # Examples
///
/// ```
/// use headcount::{group, run, sync::Event};
/// use std::sync::Arc;
///
/// let ready = Arc::new(Event::new());
/// run(group(async |g| {
///     for _ in 0..3 {
///         let ready = Arc::clone(&ready);
///         g.spawn(async move {
///             ready.wait().await;
///             Ok(())
///         });
///     }
///     ready.set();
///     Ok(())
/// }))
/// .unwrap();
/// assert!(ready.is_set());
/// ```
#[derive(Default)]
pub struct Event {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_set: bool,
    waiters: Waiters,
}

impl Event {
    /// Makes an event that has not happened.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::Event;
    ///
    /// assert!(!Event::new().is_set());
    /// ```
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: Mutex::new(State {
                is_set: false,
                waiters: Waiters::new(),
            }),
        }
    }

    /// Lets the event happen: everybody who waits goes on.
    ///
    /// Returns false if it had happened already.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{run, sync::Event};
    ///
    /// let event = Event::new();
    /// assert!(event.set() && !event.set());
    /// run(event.wait());
    /// ```
    pub fn set(&self) -> bool {
        let mut after = Aftermath::default();
        let was_set = {
            let mut state = self.state.lock();
            state.waiters.grant_all(&mut after);
            std::mem::replace(&mut state.is_set, true)
        };
        after.run();
        !was_set
    }

    /// Tells whether the event has happened.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::Event;
    ///
    /// let event = Event::new();
    /// event.set();
    /// assert!(event.is_set());
    /// ```
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.state.lock().is_set
    }

    /// Waits until the event has happened; does not wait if it has.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect on anybody else.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{run, sync::Event};
    ///
    /// let event = Event::new();
    /// run(async { futures_lite::future::zip(event.wait(), async { event.set() }).await });
    /// ```
    pub fn wait(&self) -> Occurred<'_> {
        Occurred {
            event: self,
            place: Place::default(),
        }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("is_set", &self.is_set())
            .finish_non_exhaustive()
    }
}

/// The future returned by [`Event::wait`].
#[derive(Debug)]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Occurred<'a> {
    event: &'a Event,
    place: Place,
}

impl Occurred<'_> {
    /// Stops waiting.
    fn withdraw(&mut self) {
        if self.place.is_taken() {
            let mut after = Aftermath::default();
            let mut state = self.event.state.lock();
            // An event concerns everybody: there is no grant to pass on.
            let (Left::Nothing | Left::Place | Left::Grant) =
                state.waiters.leave(&mut self.place, &mut after);
            drop(state);
            after.run();
        }
    }
}

impl Future for Occurred<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if frame::cancelled() {
            self.withdraw();
            return Poll::Pending;
        }
        let Self { event, place } = &mut *self;
        poll_locked(&event.state, cx, |state, caller, _| {
            if state.is_set {
                state.waiters.collect(place);
                return Poll::Ready(());
            }
            state.waiters.park(place, caller, ());
            Poll::Pending
        })
    }
}

impl Drop for Occurred<'_> {
    fn drop(&mut self) {
        self.withdraw();
    }
}
