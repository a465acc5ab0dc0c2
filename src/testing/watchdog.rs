//! For polls that do not return.

use std::{
    process,
    sync::{Arc, Condvar},
    thread,
    time::Duration,
};

use super::report;
use crate::lock::Mutex;

/// How long a single poll may take beyond the limit of its run.
const GRACE: Duration = Duration::from_secs(10);

/// Ends the process if a run on this thread gets stuck within one poll: no thread can be made to
/// return.
pub(super) struct Watchdog(Arc<Waiting>);

#[derive(Default)]
struct Waiting {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    runs: u64,
    is_over: bool,
}

impl Watchdog {
    /// Watches this thread, for somewhat longer per run than a run may take.
    ///
    /// If the system refuses a thread for it, a hang stays a hang.
    pub(super) fn new(limit: Duration) -> Self {
        let waiting = Arc::new(Waiting::default());
        let watched = Arc::clone(&waiting);
        let name = thread::current().name().unwrap_or("a test").to_owned();
        let limit = limit.saturating_add(GRACE);
        let thread = thread::Builder::new().name("headcount-watchdog".into());
        drop(thread.spawn(move || watched.watch(limit, &name)));
        Self(waiting)
    }

    /// Another run begins.
    pub(super) fn next_run(&self) {
        self.0.state.lock().runs += 1;
        self.0.changed.notify_all();
    }
}

impl Waiting {
    fn watch(&self, limit: Duration, name: &str) {
        let mut state = self.state.lock();
        while !state.is_over {
            let runs = state.runs;
            let goes_on = |state: &mut State| state.runs == runs && !state.is_over;
            let Ok((after, waited)) = self.changed.wait_timeout_while(state, limit, goes_on) else {
                return;
            };
            if waited.timed_out() {
                report::say(&format!(
                    "headcount: a poll in {name} does not return: it computes without end, or \
                     blocks its thread; the process is ended"
                ));
                process::abort();
            }
            state = after;
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.state.lock().is_over = true;
        self.0.changed.notify_all();
    }
}
