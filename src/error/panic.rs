//! Captured panics.

use std::{
    any::Any,
    error::Error,
    fmt,
    panic::{self, AssertUnwindSafe},
};

use crate::lock::Mutex;

/// A panic that was captured and is now a member of an error group.
///
/// A panicking task does not take the process or its thread down. It counts as a failure of its
/// group like an error does, after the panic hook has printed its usual message.
/// [`resume`](Panic::resume) lets the panic go on from where it is called.
///
/// # Examples
///
/// ```
/// use headcount::{FailureKind, group, run};
///
/// let failed = run(group(async |g| {
///     g.spawn(async { if true { panic!("no page {}", 7) } else { Ok(()) } });
///     Ok(())
/// }))
/// .unwrap_err();
///
/// match failed.first().unwrap().kind() {
///     FailureKind::Panic(panic) => assert_eq!(panic.message(), Some("no page 7")),
///     FailureKind::Error(_) => unreachable!(),
/// }
/// ```
pub struct Panic {
    /// What the panic was raised with. The lock makes it `Sync`; nothing ever contends for it.
    payload: Mutex<Option<Box<dyn Any + Send>>>,
    /// The text of the payload, if it is text.
    message: Option<Box<str>>,
}

impl Panic {
    /// Takes over what `catch_unwind` returned.
    pub(crate) fn new(payload: Box<dyn Any + Send>) -> Self {
        let message = payload
            .downcast_ref::<&'static str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .map(Box::from);
        Self {
            payload: Mutex::new(Some(payload)),
            message,
        }
    }

    /// Returns the message of the panic, if it was raised with a text.
    ///
    /// That is the case for every `panic!("…")`. A value passed to [`std::panic::panic_any`] has no
    /// message unless it is a `String` or a `&'static str`.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{FailureKind, group, run};
    ///
    /// let failed = run(group(async |_g| if true { std::panic::panic_any(7) } else { Ok(()) }));
    /// let failure = failed.unwrap_err().into_iter().next().unwrap();
    /// let FailureKind::Panic(panic) = failure.into_kind() else { unreachable!() };
    /// assert_eq!(panic.message(), None);
    /// ```
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// Lets the panic go on, from here.
    ///
    /// The panic hook is not called a second time.
    ///
    /// # Panics
    ///
    /// Always: that is its purpose.
    ///
    /// # Examples
    ///
    /// ```should_panic
    /// use headcount::{FailureKind, group, run};
    ///
    /// let failed = run(group(async |_g| if true { panic!("boom") } else { Ok(()) }));
    /// for failure in failed.unwrap_err() {
    ///     if let FailureKind::Panic(panic) = failure.into_kind() {
    ///         panic.resume();
    ///     }
    /// }
    /// ```
    pub fn resume(self) -> ! {
        panic::resume_unwind(self.into_payload())
    }

    /// Returns what the panic was raised with.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{FailureKind, group, run};
    ///
    /// let failed = run(group(async |_g| if true { std::panic::panic_any(7_u8) } else { Ok(()) }));
    /// let failure = failed.unwrap_err().into_iter().next().unwrap();
    /// let FailureKind::Panic(panic) = failure.into_kind() else { unreachable!() };
    /// assert_eq!(*panic.into_payload().downcast::<u8>().unwrap(), 7);
    /// ```
    #[must_use]
    pub fn into_payload(self) -> Box<dyn Any + Send> {
        let payload = self.payload.lock().take();
        // It is there: this is the only place that it is taken from, and takes `self` too.
        payload.unwrap_or_else(|| Box::new(()))
    }
}

impl Drop for Panic {
    /// Drops the payload, which may be a value with a panicking destructor.
    fn drop(&mut self) {
        let payload = self.payload.lock().take();
        discard(payload);
    }
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Panic")
            .field("message", &self.message)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message() {
            Some(message) => write!(f, "panicked: {message}"),
            None => f.write_str("panicked with a value that is not text"),
        }
    }
}

impl Error for Panic {}

/// Runs foreign code and captures its panic.
///
/// Whatever the code leaves behind half changed is dropped by every caller, never used again; that
/// is what makes asserting unwind safety right here.
pub(crate) fn catch<T>(code: impl FnOnce() -> T) -> Result<T, Panic> {
    panic::catch_unwind(AssertUnwindSafe(code)).map_err(Panic::new)
}

/// Drops a value nobody can be told about if its destructor panics.
///
/// The panic hook has printed its message by then. The payload of that second panic may have a
/// panicking destructor in turn, and so on; forgetting it ends the chain.
pub(crate) fn discard<T>(value: T) {
    if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(|| drop(value))) {
        #[expect(
            clippy::mem_forget,
            reason = "the payload of a panic raised while dropping the payload of a panic"
        )]
        std::mem::forget(payload);
    }
}
