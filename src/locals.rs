//! Task-locals: values that code finds without being handed them.

use std::{
    any::Any,
    cell::RefCell,
    fmt,
    future::Future,
    marker::PhantomData,
    mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use pin_project::{pin_project, pinned_drop};

/// Declares task-locals.
///
/// A task-local is a value that a region of code has: everything that runs in there finds it, however
/// deep, without having been handed it. For what accompanies a piece of work everywhere, and is no
/// business of the functions in between: a request id, a user, a tracing span. Python has it as
/// `contextvars`.
///
/// Each declaration makes a static [`Local`]; see there for how it is used.
///
/// # Examples
///
/// ```
/// use headcount::{group, local, run};
///
/// local! {
///     /// The id of the request that is being served.
///     static REQUEST_ID: String;
///     pub(crate) static VERBOSE: bool;
/// }
///
/// async fn handle() -> String {
///     // A task that is spawned in the region has the value too.
///     let answer = group(async |g| {
///         let task = g.spawn(async { Ok(REQUEST_ID.get().unwrap()) });
///         Ok(task.await?)
///     });
///     answer.await.unwrap()
/// }
///
/// assert_eq!(run(REQUEST_ID.bind("r-7".to_owned(), handle())), "r-7");
/// assert_eq!(REQUEST_ID.get(), None);
/// ```
#[macro_export]
macro_rules! local {
    ($($(#[$attribute:meta])* $visibility:vis static $name:ident: $T:ty;)*) => {$(
        $(#[$attribute])*
        $visibility static $name: $crate::Local<$T> = $crate::Local::new(stringify!($name));
    )*};
}

/// A task-local, declared with [`local!`](crate::local).
///
/// It has a value inside the futures that one was [bound](Self::bind) for:
///
/// - A task has the values of the place where it was *spawned*, also if it is spawned into a group of
///   somebody else's. What is bound there later on does not reach it, and what it binds itself reaches
///   neither its siblings nor its spawner.
/// - Finalizers have the values of the place they were written at, [deferred] ones those of the place
///   where they were deferred. Destructors of what a region owned find the value too, also when the
///   region is cancelled.
/// - Outside of any region there is none, nor on threads that are not running a region's code.
///
/// Values are shared, never copied, and freed when the last region and task that have them are gone.
/// A program that binds none pays nothing for this.
///
/// [deferred]: crate::TaskGroup::defer
///
/// # Examples
///
/// See [`local!`](crate::local).
pub struct Local<T> {
    /// For messages. Also what makes this a type of a size: its address is its identity.
    name: &'static str,
    value: PhantomData<fn() -> T>,
}

impl<T> Local<T> {
    #[doc(hidden)]
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            value: PhantomData,
        }
    }
}

impl<T: Send + Sync + 'static> Local<T> {
    fn key(&'static self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    /// Gives this local a value inside a future.
    ///
    /// If it had one around there, the inner one counts inside, and the outer one again after.
    ///
    /// # Cancel safety
    ///
    /// Dropping the returned future drops the one inside, whose destructors still find the value.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{local, run};
    ///
    /// local! { static DEPTH: u32; }
    ///
    /// run(DEPTH.bind(1, async {
    ///     assert_eq!(DEPTH.get(), Some(1));
    ///     DEPTH.bind(2, async { assert_eq!(DEPTH.get(), Some(2)) }).await;
    ///     assert_eq!(DEPTH.get(), Some(1));
    /// }));
    /// ```
    pub fn bind<F: Future>(&'static self, value: T, body: F) -> Bound<F> {
        Bound {
            body: Some(body),
            values: Binding::New(self.key(), Arc::new(value)),
        }
    }

    /// Gives this local a value while a function runs.
    ///
    /// For code that does not wait. A future that the function returns is not in the region; for
    /// that there is [`bind`](Self::bind).
    ///
    /// # Examples
    ///
    /// ```
    /// headcount::local! { static DEPTH: u32; }
    ///
    /// assert_eq!(DEPTH.bind_sync(1, || DEPTH.get()), Some(1));
    /// ```
    pub fn bind_sync<R>(&'static self, value: T, f: impl FnOnce() -> R) -> R {
        let values = Snapshot::take().with(self.key(), Arc::new(value));
        let _entered = values.enter();
        f()
    }

    /// Returns a copy of the value, if there is one here.
    ///
    /// # Examples
    ///
    /// ```
    /// headcount::local! { static DEPTH: u32; }
    ///
    /// assert_eq!(DEPTH.get(), None);
    /// ```
    #[must_use]
    pub fn get(&'static self) -> Option<T>
    where
        T: Clone,
    {
        self.with(|value| value.cloned())
    }

    /// Calls a function with the value, if there is one here.
    ///
    /// # Examples
    ///
    /// ```
    /// headcount::local! { static NAME: String; }
    ///
    /// let length = NAME.bind_sync("seven".to_owned(), || NAME.with(|name| name.map(String::len)));
    /// assert_eq!(length, Some(5));
    /// ```
    pub fn with<R>(&'static self, f: impl FnOnce(Option<&T>) -> R) -> R {
        let value = Snapshot::take().find(self.key());
        f(value.as_ref().and_then(|value| value.downcast_ref()))
    }
}

impl<T> fmt::Debug for Local<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A value, of whatever type.
type Value = Arc<dyn Any + Send + Sync>;

/// The values that a piece of code has, by the address of their local. A few at most, so a vector.
type Values = Arc<Vec<(usize, Value)>>;

thread_local! {
    /// The values that the running code has.
    static CURRENT: RefCell<Option<Values>> = const { RefCell::new(None) };
}

/// Whether any local was ever bound in this process.
static USED: AtomicBool = AtomicBool::new(false);

/// The values that were there at one time.
#[derive(Clone, Default)]
pub(crate) struct Snapshot(Option<Values>);

impl Snapshot {
    /// Takes the values that the running code has.
    pub(crate) fn take() -> Self {
        // Relaxed: whoever has values bound them, or got them in a way that orders this after it.
        if !USED.load(Ordering::Relaxed) {
            return Self(None);
        }
        let current = CURRENT.try_with(|current| current.borrow().clone());
        // A thread that is ending has none.
        Self(current.ok().flatten())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Adds a value, in place of another one of the same local.
    fn with(&self, key: usize, value: Value) -> Self {
        USED.store(true, Ordering::Relaxed);
        let others = self.0.iter().flat_map(|values| values.iter());
        let others = others.filter(|(other, _)| *other != key).cloned();
        Self(Some(Arc::new(others.chain([(key, value)]).collect())))
    }

    fn find(&self, key: usize) -> Option<Value> {
        let values = self.0.as_ref()?;
        let found = values.iter().find(|(other, _)| *other == key);
        found.map(|(_, value)| Arc::clone(value))
    }

    /// Makes these the values of the running code, and of no other, until the guard is dropped.
    pub(crate) fn enter(&self) -> Entered {
        if !USED.load(Ordering::Relaxed) {
            return Entered(None);
        }
        Entered(swap(self.0.clone()).map(Self))
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

/// Replaces the values of the running code. `None` if this thread is ending, and has none.
fn swap(values: Option<Values>) -> Option<Option<Values>> {
    CURRENT
        .try_with(|current| mem::replace(&mut *current.borrow_mut(), values))
        .ok()
}

/// Puts the values back that were there before.
#[must_use = "the values are those from before once this is dropped"]
pub(crate) struct Entered(Option<Snapshot>);

impl Drop for Entered {
    fn drop(&mut self) {
        if let Some(before) = self.0.take() {
            // Dropped outside of the cell: a value's destructor may ask for values.
            drop(swap(before.0));
        }
    }
}

/// The future returned by [`Local::bind`].
#[pin_project(PinnedDrop)]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Bound<F> {
    /// `None` once it is done.
    #[pin]
    body: Option<F>,
    values: Binding,
}

/// The values of a region.
enum Binding {
    /// What is to be bound, before the region is entered for the first time.
    New(usize, Value),
    Entered(Snapshot),
}

impl Binding {
    fn enter(&mut self) -> Entered {
        if let Self::New(key, value) = self {
            *self = Self::Entered(Snapshot::take().with(*key, Arc::clone(value)));
        }
        match self {
            Self::Entered(values) => values.enter(),
            Self::New(..) => unreachable!("that was changed above"),
        }
    }
}

impl<F: Future> Future for Bound<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let _entered = this.values.enter();
        let body = this.body.as_mut().as_pin_mut();
        let polled = body
            .expect("a future was polled after it was done")
            .poll(cx);
        if polled.is_ready() {
            this.body.set(None);
        }
        polled
    }
}

#[pinned_drop]
impl<F> PinnedDrop for Bound<F> {
    fn drop(self: Pin<&mut Self>) {
        let mut this = self.project();
        if this.body.is_some() {
            let _entered = this.values.enter();
            this.body.set(None);
        }
    }
}

impl<F> fmt::Debug for Bound<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound").finish_non_exhaustive()
    }
}

/// A future that takes the values along from where it was made.
#[pin_project(PinnedDrop)]
pub(crate) struct Carried<F> {
    #[pin]
    body: Option<F>,
    values: Snapshot,
}

/// Makes a future have the values that the running code has, wherever it is polled.
pub(crate) fn carry<F>(body: F) -> Carried<F> {
    Carried {
        body: Some(body),
        values: Snapshot::take(),
    }
}

impl<F: Future> Future for Carried<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _entered = this.values.enter();
        match this.body.as_pin_mut() {
            Some(body) => body.poll(cx),
            None => Poll::Pending,
        }
    }
}

#[pinned_drop]
impl<F> PinnedDrop for Carried<F> {
    fn drop(self: Pin<&mut Self>) {
        let mut this = self.project();
        let _entered = this.values.enter();
        this.body.set(None);
    }
}
