//! Small tools for tests.

use std::{
    fmt,
    future::{Future, poll_fn},
    ops::{Deref, DerefMut},
    pin::pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use crate::{
    lock::Mutex,
    sim::{self, Sim},
};

/// A value that is counted: a test run fails if one is not dropped by its end.
///
/// It is the value to everybody else. Outside of a test run it is nothing more; use a [`DropCount`]
/// there.
///
/// # Examples
///
/// ```should_panic
/// use headcount::testing::{self, Tracked};
///
/// testing::run(async {
///     let lost = Tracked::new("a connection");
///     std::mem::forget(lost); // The run fails: one tracked value was not dropped.
/// });
/// ```
pub struct Tracked<T> {
    value: T,
    _entry: Entry,
}

/// Counts a value in, and out when dropped.
struct Entry {
    sim: Option<Weak<Sim>>,
    alive: Option<Arc<AtomicUsize>>,
}

impl Entry {
    fn new(alive: Option<Arc<AtomicUsize>>) -> Self {
        let sim = sim::current();
        if let Some(sim) = &sim {
            sim.tracked(1);
        }
        if let Some(alive) = &alive {
            alive.fetch_add(1, Ordering::SeqCst);
        }
        Self {
            sim: sim.as_ref().map(Arc::downgrade),
            alive,
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(sim) = self.sim.as_ref().and_then(Weak::upgrade) {
            sim.tracked(-1);
        }
        if let Some(alive) = &self.alive {
            alive.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl<T> Tracked<T> {
    /// Counts a value, until it is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::testing::{self, Tracked};
    ///
    /// testing::run(async {
    ///     let name = Tracked::new(String::from("Ada"));
    ///     assert_eq!(name.len(), 3);
    /// });
    /// ```
    pub fn new(value: T) -> Self {
        let entry = Entry::new(None);
        Self {
            value,
            _entry: entry,
        }
    }

    /// Takes the value out. It is not counted any more.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::testing::Tracked;
    ///
    /// assert_eq!(Tracked::new(7).into_inner(), 7);
    /// ```
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<T> Deref for Tracked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Tracked<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Tracked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

/// Counts values in and out: how many were made, how many are alive.
///
/// # Examples
///
/// ```
/// use headcount::testing::DropCount;
///
/// let count = DropCount::new();
/// let (one, two) = (count.track("one"), count.track("two"));
/// drop(one);
/// assert_eq!((count.made(), count.alive()), (2, 1));
/// drop(two);
/// assert_eq!(count.alive(), 0);
/// ```
#[derive(Clone, Debug, Default)]
pub struct DropCount {
    made: Arc<AtomicUsize>,
    alive: Arc<AtomicUsize>,
}

impl DropCount {
    /// Makes a count that is at zero. Its clones are the same one.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::testing::DropCount;
    ///
    /// assert_eq!(DropCount::new().made(), 0);
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a value, until it is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::testing::DropCount;
    ///
    /// let count = DropCount::new();
    /// let name = count.track(String::from("Ada"));
    /// assert_eq!(name.len(), 3);
    /// ```
    pub fn track<T>(&self, value: T) -> Tracked<T> {
        self.made.fetch_add(1, Ordering::SeqCst);
        let entry = Entry::new(Some(Arc::clone(&self.alive)));
        Tracked {
            value,
            _entry: entry,
        }
    }

    /// Returns how many values were counted.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::testing::DropCount;
    ///
    /// let count = DropCount::new();
    /// drop(count.track(1));
    /// assert_eq!(count.made(), 1);
    /// ```
    #[must_use]
    pub fn made(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }

    /// Returns how many of them have not been dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::testing::DropCount;
    ///
    /// let count = DropCount::new();
    /// let _kept = count.track(1);
    /// assert_eq!(count.alive(), 1);
    /// ```
    #[must_use]
    pub fn alive(&self) -> usize {
        self.alive.load(Ordering::SeqCst)
    }
}

/// Forces an order of steps between tasks, whatever the schedule: Trio's `Sequencer`.
///
/// The steps are numbered from 0. Who asks for a number waits until all smaller ones are over.
///
/// # Examples
///
/// ```
/// use headcount::{group, testing::{self, Sequence}};
/// use std::sync::{Arc, Mutex};
///
/// testing::explore(20, || async {
///     let (sequence, order) = (Sequence::new(), Arc::new(Mutex::new(Vec::new())));
///     group(async |g| {
///         for number in [2, 0, 1] {
///             let (sequence, order) = (sequence.clone(), Arc::clone(&order));
///             g.spawn(async move {
///                 let _turn = sequence.turn(number).await;
///                 order.lock().unwrap().push(number);
///                 Ok(())
///             });
///         }
///         Ok(())
///     })
///     .await
///     .unwrap();
///     assert_eq!(*order.lock().unwrap(), [0, 1, 2]);
/// });
/// ```
#[derive(Clone, Debug, Default)]
pub struct Sequence {
    state: Arc<Mutex<Steps>>,
}

#[derive(Debug, Default)]
struct Steps {
    next: usize,
    wakers: Vec<Waker>,
}

/// A step of a [`Sequence`]; the next one may begin when this is dropped.
#[derive(Debug)]
#[must_use = "the step is over when this is dropped"]
pub struct Turn(Sequence);

impl Sequence {
    /// Makes a sequence that is at step 0. Its clones are the same one.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::testing::{Sequence, assert_ready};
    ///
    /// let _first = assert_ready(Sequence::new().turn(0));
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits for the turn of this step. The next step may begin when what is returned is dropped.
    ///
    /// # Cancel safety
    ///
    /// A step that is dropped while it waits has not been made, and those after it wait on.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::testing::{Sequence, assert_ready, assert_waits};
    ///
    /// let sequence = Sequence::new();
    /// assert_waits(sequence.turn(1));
    /// drop(assert_ready(sequence.turn(0)));
    /// drop(assert_ready(sequence.turn(1)));
    /// ```
    pub async fn turn(&self, number: usize) -> Turn {
        poll_fn(|cx| {
            let waker = cx.waker().clone();
            let mut steps = self.state.lock();
            if steps.next == number {
                drop(steps);
                return Poll::Ready(Turn(self.clone()));
            }
            steps.wakers.push(waker);
            Poll::Pending
        })
        .await
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let wakers = {
            let mut steps = self.0.state.lock();
            steps.next += 1;
            std::mem::take(&mut steps.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// Polls a future once, and returns its output.
///
/// # Panics
///
/// Panics if it is not ready in its first poll.
///
/// # Examples
///
/// ```
/// use headcount::{group, testing::assert_ready};
///
/// // An empty group is left in its first poll.
/// assert_ready(group(async |_g| Ok(()))).unwrap();
/// ```
#[track_caller]
pub fn assert_ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future was expected to be ready in its first poll, and waits"),
    }
}

/// Polls a future once, and drops it. Pass a pinned reference to keep it.
///
/// # Panics
///
/// Panics if it does not wait.
///
/// # Examples
///
/// ```
/// use headcount::testing::{assert_ready, assert_waits};
/// use std::{future::poll_fn, pin::pin, task::Poll};
///
/// let mut polls = 0;
/// let mut second = pin!(poll_fn(|_| {
///     polls += 1;
///     if polls == 2 { Poll::Ready(()) } else { Poll::Pending }
/// }));
/// assert_waits(second.as_mut());
/// assert_ready(second);
/// ```
#[track_caller]
pub fn assert_waits<F: Future>(future: F) {
    let polled = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
    assert!(
        polled.is_pending(),
        "the future was expected to wait, and is ready in its first poll"
    );
}

/// Awaits a future, and counts the polls that it takes.
///
/// # Examples
///
/// ```
/// use headcount::{checkpoint, testing};
///
/// testing::run(async {
///     let ((), polls) = testing::count_polls(checkpoint()).await;
///     assert_eq!(polls, 2);
/// });
/// ```
pub async fn count_polls<F: Future>(future: F) -> (F::Output, usize) {
    let mut future = pin!(future);
    let mut polls = 0;
    let output = poll_fn(|cx| {
        polls += 1;
        future.as_mut().poll(cx)
    })
    .await;
    (output, polls)
}

/// Counts how often its waker is woken.
///
/// # Examples
///
/// ```
/// use headcount::testing::WakeCount;
///
/// let count = WakeCount::new();
/// count.waker().wake_by_ref();
/// assert_eq!(count.get(), 1);
/// ```
#[derive(Clone, Debug, Default)]
pub struct WakeCount(Arc<Wakes>);

#[derive(Debug, Default)]
struct Wakes(AtomicUsize);

impl WakeCount {
    /// Makes a count that is at zero.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::testing::WakeCount;
    ///
    /// assert_eq!(WakeCount::new().get(), 0);
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the waker.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::testing::WakeCount;
    ///
    /// let count = WakeCount::new();
    /// count.waker().wake();
    /// assert_eq!(count.get(), 1);
    /// ```
    #[must_use]
    pub fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.0))
    }

    /// Returns how often it has been woken.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::testing::WakeCount;
    ///
    /// assert_eq!(WakeCount::new().get(), 0);
    /// ```
    #[must_use]
    pub fn get(&self) -> usize {
        self.0.0.load(Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
