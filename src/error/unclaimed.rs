//! Failures that no group is there to report.

use std::{
    any::TypeId,
    fmt,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use super::{Error, Failure, FailureKind, RawFailure, catch, discard};

/// What is done with an unclaimed failure.
type Hook = Arc<dyn Fn(&Failure) + Send + Sync>;

/// The hook that was set; `None` is the default.
static HOOK: Mutex<Option<Hook>> = Mutex::new(None);

/// Sets what happens to failures that no group is there to report.
///
/// A failure always goes to the error group of its group. But the future of a group may be dropped,
/// by another crate's `select!` for example, and then its children, while they are being cancelled,
/// may still fail. Such failures are reported by the group further out. If there is none, they
/// come here, each exactly once: nothing is lost without a word.
///
/// The hook belongs to the whole process, like the panic hook; setting another one replaces it.
/// Without a hook, one line on standard error is written for an error, and nothing for a panic,
/// which the panic hook has printed already. A hook that panics is ignored.
///
/// # Examples
///
/// ```
/// use headcount::{finally, group, on_unclaimed, run, sleep};
/// use std::{sync::mpsc, time::Duration};
///
/// let (tell, told) = mpsc::channel();
/// on_unclaimed(move |failure| tell.send(failure.task().name().map(String::from)).unwrap());
///
/// run(async {
///     let group = group(async |g| {
///         g.spawn_named("upload", async {
///             finally(sleep(Duration::MAX), async { panic!("cannot say goodbye") }).await;
///             Ok(())
///         });
///         sleep(Duration::MAX).await;
///         Ok(())
///     });
///     // Somebody else's timeout drops the group.
///     futures_lite::future::or(async { drop(group.await) }, async {
///         sleep(Duration::from_millis(20)).await;
///     })
///     .await;
/// });
///
/// assert_eq!(told.recv().unwrap().as_deref(), Some("upload"));
/// ```
pub fn on_unclaimed(hook: impl Fn(&Failure) + Send + Sync + 'static) {
    let before = replace(Some(Arc::new(hook)));
    discard(before);
}

fn replace(hook: Option<Hook>) -> Option<Hook> {
    let mut current = HOOK.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::replace(&mut current, hook)
}

impl RawFailure {
    /// Tells the hook, since nobody else is there to be told.
    pub(crate) fn unclaimed(self) {
        let failure = self.fitted(TypeId::of::<Error>());
        let task = failure.task.clone();
        let Ok(kind) = failure.downcast::<Error>() else {
            return;
        };
        let failure = Failure::new(task, kind);
        let hook = HOOK.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let told = catch(|| match &hook {
            Some(hook) => hook(&failure),
            None => print(&failure),
        });
        discard((told, hook));
        discard(failure);
    }
}

/// What is done without a hook.
fn print(failure: &Failure) {
    if let FailureKind::Error(error) = failure.kind() {
        let line = format!(
            "headcount: {} failed after its group was dropped: {error}\n",
            failure.task()
        );
        // There is nobody to be told that nobody could be told.
        let _written = io::stderr().write_all(line.as_bytes());
    }
}

impl fmt::Debug for RawFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawFailure")
            .field("task", &self.task)
            .field("type_name", &self.type_name)
            .finish_non_exhaustive()
    }
}
