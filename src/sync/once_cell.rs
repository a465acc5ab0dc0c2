//! Made once, by whoever comes first.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::OnceLock,
    task::{Context, Poll, ready},
    thread::{self, ThreadId},
};

use pin_project::{pin_project, pinned_drop};

use super::ledger::{Claim, Held, Ledger};
use crate::lock::Mutex;

/// A value that is made once, asynchronously, by whoever needs it first.
///
/// The others wait until it is there. If making it fails, panics or is cancelled, the next in line
/// tries.
///
/// If making the value does not wait, a [`std::sync::OnceLock`] is enough.
///
/// # Examples
///
/// ```
/// use headcount::{run, sync::OnceCell};
///
/// static CONFIG: OnceCell<String> = OnceCell::new();
///
/// run(async {
///     let config = CONFIG.get_or_init(async || "from the network".to_owned()).await;
///     assert_eq!(config, "from the network");
///     let again = CONFIG.get_or_init(async || unreachable!()).await;
///     assert_eq!(again, config);
/// });
/// ```
pub struct OnceCell<T> {
    value: OnceLock<T>,
    /// One unit: the right to make the value. As many as are wanted once it is there.
    ledger: Ledger,
    /// The thread that polls the future which makes the value, while it does; in builds with debug
    /// assertions. Whoever waits for the value from in there waits for itself.
    maker: Mutex<Option<ThreadId>>,
}

impl<T> OnceCell<T> {
    /// Makes an empty cell.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::OnceCell;
    ///
    /// assert!(OnceCell::<u8>::new().get().is_none());
    /// ```
    #[must_use]
    pub const fn new() -> Self {
        Self {
            value: OnceLock::new(),
            ledger: Ledger::new(1),
            maker: Mutex::new(None),
        }
    }

    /// Returns the value, if it is there.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::OnceCell;
    ///
    /// let cell = OnceCell::new();
    /// cell.set(7).unwrap();
    /// assert_eq!(cell.get(), Some(&7));
    /// ```
    #[must_use]
    pub fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// Sets the value.
    ///
    /// If somebody is making it at this moment, this one counts, and theirs is dropped when it is
    /// done.
    ///
    /// # Errors
    ///
    /// Gives the value back if there is one already.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::OnceCell;
    ///
    /// let cell = OnceCell::new();
    /// assert_eq!(cell.set(7), Ok(()));
    /// assert_eq!(cell.set(8), Err(8));
    /// ```
    pub fn set(&self, value: T) -> Result<(), T> {
        let set = self.value.set(value);
        if set.is_ok() {
            self.let_everybody_in();
        }
        set
    }

    /// Returns the value, making it first if it is not there.
    ///
    /// # Panics
    ///
    /// A panic of `init` goes on from here, and the next in line tries. In builds with debug
    /// assertions, panics if `init` waits for the very value that it is to make.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the one that makes the value, and the next in line tries.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{run, sync::OnceCell};
    ///
    /// let cell = OnceCell::new();
    /// assert_eq!(run(cell.get_or_init(async || 7)), &7);
    /// ```
    pub fn get_or_init<F, Fut>(&self, init: F) -> Initialized<'_, T, F, Fut>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = T>,
    {
        Initialized(Making::new(self, init))
    }

    /// Returns the value, trying to make it first if it is not there.
    ///
    /// # Errors
    ///
    /// Fails with the error of `init`; the next in line tries again.
    ///
    /// # Panics
    ///
    /// As [`get_or_init`](Self::get_or_init).
    ///
    /// # Cancel safety
    ///
    /// As of [`get_or_init`](Self::get_or_init).
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{run, sync::OnceCell};
    ///
    /// let cell = OnceCell::new();
    /// run(async {
    ///     assert_eq!(cell.get_or_try_init(async || Err("no network")).await, Err("no network"));
    ///     assert_eq!(cell.get_or_try_init(async || Ok::<_, &str>(7)).await, Ok(&7));
    /// });
    /// ```
    pub fn get_or_try_init<E, F, Fut>(&self, init: F) -> TryInitialized<'_, T, F, Fut>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        TryInitialized(Making::new(self, init))
    }

    /// Returns the value, if it is there, without the cell.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::OnceCell;
    ///
    /// let cell = OnceCell::new();
    /// cell.set(7).unwrap();
    /// assert_eq!(cell.into_inner(), Some(7));
    /// ```
    #[must_use]
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }

    /// Notes who makes the value, while they do.
    fn while_making<R>(&self, make: impl FnOnce() -> R) -> R {
        /// Clears the note, also on a panic.
        struct Clear<'a>(&'a Mutex<Option<ThreadId>>);

        impl Drop for Clear<'_> {
            fn drop(&mut self) {
                *self.0.lock() = None;
            }
        }

        if !cfg!(debug_assertions) {
            return make();
        }
        *self.maker.lock() = Some(thread::current().id());
        let _clear = Clear(&self.maker);
        make()
    }

    /// Panics if the running code, which waits for the value, is what makes it.
    fn check_maker(&self) {
        let maker = *self.maker.lock();
        assert!(
            maker != Some(thread::current().id()),
            "the future that makes the value of this cell waits for the value, and would wait for \
             ever; make it without looking into the cell"
        );
    }

    /// The value is there, so nobody has to wait any more.
    fn let_everybody_in(&self) {
        self.ledger.set_limit(usize::MAX);
    }
}

impl<T> Default for OnceCell<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnceCell")
            .field("value", &self.value.get())
            .finish_non_exhaustive()
    }
}

/// The future returned by [`OnceCell::get_or_init`].
#[pin_project]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Initialized<'a, T, F, Fut>(#[pin] Making<'a, T, F, Fut>);

impl<'a, T, F, Fut> Future for Initialized<'a, T, F, Fut>
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = T>,
{
    type Output = &'a T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<&'a T> {
        let made = self.project().0.poll(cx, Ok::<T, Infallible>);
        made.map(|made| match made {
            Ok(value) => value,
            Err(never) => match never {},
        })
    }
}

impl<T, F, Fut> fmt::Debug for Initialized<'_, T, F, Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Initialized").finish_non_exhaustive()
    }
}

/// The future returned by [`OnceCell::get_or_try_init`].
#[pin_project]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct TryInitialized<'a, T, F, Fut>(#[pin] Making<'a, T, F, Fut>);

impl<'a, T, E, F, Fut> Future for TryInitialized<'a, T, F, Fut>
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    type Output = Result<&'a T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().0.poll(cx, |made| made)
    }
}

impl<T, F, Fut> fmt::Debug for TryInitialized<'_, T, F, Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryInitialized").finish_non_exhaustive()
    }
}

/// Waits for the right to make the value, and makes it.
#[pin_project(PinnedDrop)]
struct Making<'a, T, F, Fut> {
    cell: &'a OnceCell<T>,
    claim: Claim,
    /// `None` once the value is being made.
    init: Option<F>,
    #[pin]
    making: Option<Fut>,
    /// The right to make the value. Dropped after `making`.
    held: Option<Held<'a>>,
}

impl<'a, T, F, Fut> Making<'a, T, F, Fut>
where
    F: FnOnce() -> Fut,
    Fut: Future,
{
    fn new(cell: &'a OnceCell<T>, init: F) -> Self {
        Self {
            cell,
            claim: Claim::new(1),
            init: Some(init),
            making: None,
            held: None,
        }
    }

    fn poll<E>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into_result: impl FnOnce(Fut::Output) -> Result<T, E>,
    ) -> Poll<Result<&'a T, E>> {
        let mut this = self.project();
        let cell = *this.cell;
        if this.held.is_none() {
            let polled = this.claim.poll(&cell.ledger, cx);
            if this.claim.is_waiting() {
                cell.check_maker();
            }
            ready!(polled);
            *this.held = Some(Held::new(&cell.ledger, 1));
            if let Some(value) = cell.get() {
                *this.held = None;
                return Poll::Ready(Ok(value));
            }
            let init = this.init.take();
            this.making.set(init.map(|init| init()));
        }
        let making = this.making.as_mut().as_pin_mut();
        let making = making.expect("a future was polled after it was done");
        let made = ready!(cell.while_making(|| making.poll(cx)));
        this.making.set(None);
        let made = into_result(made);
        if let Ok(value) = made {
            // If somebody has set another one meanwhile, that counts.
            drop(cell.set(value));
        } else if let Err(error) = made {
            *this.held = None;
            return Poll::Ready(Err(error));
        }
        *this.held = None;
        let value = cell.get();
        Poll::Ready(Ok(value.expect("it has been set")))
    }
}

#[pinned_drop]
impl<T, F, Fut> PinnedDrop for Making<'_, T, F, Fut> {
    fn drop(self: Pin<&mut Self>) {
        let this = self.project();
        this.claim.withdraw(&this.cell.ledger);
    }
}
