//! The threads that blocking calls are run on.
//!
//! Waking a thread costs 5 to 50 µs, most of it in the system and some of it on the waking side. Reading a file
//! that is in memory takes no longer. So as long as calls are short, a single thread runs one after
//! the other. When they are not, each that comes has a thread of its own if there can be one. And since
//! a call may block until a later one has run, however short those before it have been, somebody looks: whoever
//! brings another call, and the [monitor](crate::pool).

use std::{
    collections::VecDeque,
    io, mem,
    sync::{Arc, Condvar, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{call::Job, lengths};
use crate::{
    clock, frame,
    lock::{Mutex, MutexGuard},
    pool::{self, Pool, Post, Signal, Urgency, Watched},
};

/// How many threads there are at most.
const MOST_THREADS: usize = 512;

/// How long a thread without a call is kept.
const KEPT: Duration = Duration::from_secs(10);

/// If so many short calls wait for each thread, another one is worth it.
const MANY: usize = 8;

/// If no call has been taken for so long, whoever brings another one takes the threads for blocked.
const STUCK: Duration = Duration::from_millis(1);

/// What a thread is to do.
enum Work {
    Call(Arc<dyn Job>),
    /// That of a worker thread of this pool that is blocked, until this is sent. It gets a thread at once, and is
    /// no call.
    StandIn(Arc<Pool>, Arc<Signal>),
}

/// All threads, and the calls that wait for one.
#[derive(Default)]
struct Threads {
    state: Mutex<State>,
    /// Told when a thread is called.
    called: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Work>,
    /// How many threads there are, and those that are being started.
    threads: usize,
    /// How many of them have nothing to do, and have not been called.
    idle: usize,
    /// How many have been called and have not noticed.
    called: usize,
    /// How many have been called or started, and have not looked into the queue since.
    coming: usize,
    /// How many are at something else than calls.
    elsewhere: usize,
    /// When a call was taken last.
    last_taken: Option<Instant>,
    /// How many have been taken.
    taken: usize,
    /// `taken` as the monitor last saw it.
    taken_before: usize,
}

/// Who is to be called, once the lock is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Nobody,
    /// One that has nothing to do; it has been counted.
    Idle,
    /// A new one; it has been counted.
    New,
}

/// Has a call run.
pub(super) fn submit(job: Arc<dyn Job>) {
    let threads = Threads::get();
    let call = {
        let mut state = threads.state.lock();
        state.queue.push_back(Work::Call(job));
        state.whom_to_call(lengths::are_long())
    };
    if call == Call::Nobody {
        // They may be stuck.
        pool::rouse(Urgency::Later);
    }
    threads.call(call);
}

/// Has a thread stand in for a worker that is blocked, until this is sent.
pub(super) fn stand_in(pool: Arc<Pool>, over: Arc<Signal>) {
    let threads = Threads::get();
    let call = {
        let mut state = threads.state.lock();
        state.queue.push_front(Work::StandIn(pool, over));
        state.call_one()
    };
    threads.call(call);
}

impl State {
    /// How many threads are at calls, or about to.
    fn busy(&self) -> usize {
        self.threads - self.idle - self.elsewhere
    }

    /// Who is to be called for a call that has come in.
    fn whom_to_call(&mut self, are_long: bool) -> Call {
        let is_worth_it = match self.coming {
            0 => self.busy() == 0 || are_long || self.is_behind() || self.is_stuck(),
            coming => coming < self.queue.len() && are_long,
        };
        if is_worth_it {
            self.call_one()
        } else {
            Call::Nobody
        }
    }

    /// Whether so many short calls wait that another thread is worth it, and a processor may be free for it.
    fn is_behind(&self) -> bool {
        self.queue.len() > MANY * self.busy() && self.busy() < pool::processors()
    }

    fn is_stuck(&self) -> bool {
        let since = |taken| clock::real_time() - taken;
        self.last_taken.is_some_and(|taken| since(taken) >= STUCK)
    }

    /// Calls one more thread, if there can be one.
    fn call_one(&mut self) -> Call {
        if self.idle > 0 {
            self.idle -= 1;
            self.called += 1;
            self.coming += 1;
            Call::Idle
        } else if self.threads < MOST_THREADS {
            self.threads += 1;
            self.coming += 1;
            Call::New
        } else {
            Call::Nobody
        }
    }

    /// Who else is to be called if those who are there are stuck. `None` if nothing waits.
    fn whom_else_to_call(&mut self) -> Option<Vec<Call>> {
        let is_stuck = self.taken == self.taken_before;
        self.taken_before = self.taken;
        let waiting = self.queue.len().saturating_sub(self.coming);
        // Twice as many each time, so that it does not take long until there are many.
        let most = if is_stuck { self.busy().max(1) } else { 0 };
        let called = (0..waiting.min(most)).map(|_| self.call_one());
        let called = called.collect();
        (waiting > 0).then_some(called)
    }

    /// Takes what is next.
    fn take(&mut self) -> Option<Work> {
        let next = self.queue.pop_front()?;
        match &next {
            Work::StandIn(..) => self.elsewhere += 1,
            Work::Call(_) => {
                self.taken += 1;
                self.last_taken = Some(clock::real_time());
            }
        }
        Some(next)
    }
}

impl Threads {
    fn get() -> &'static Arc<Self> {
        static THREADS: OnceLock<(Arc<Threads>, Post)> = OnceLock::new();

        let (threads, _post) = THREADS.get_or_init(|| {
            let threads = Arc::<Self>::default();
            let post = pool::look_after(Arc::clone(&threads) as _);
            (threads, post)
        });
        threads
    }

    fn call(&self, call: Call) {
        match call {
            Call::Nobody => {}
            Call::Idle => self.called.notify_one(),
            Call::New => {
                let thread = thread::Builder::new().name("headcount-blocking".into());
                if let Err(error) = thread.spawn(|| Self::get().work()) {
                    self.do_without(&error);
                }
            }
        }
    }

    /// A thread could not be started. If there is none, nobody will run what is waiting.
    fn do_without(&self, error: &io::Error) {
        let unserved = {
            let mut state = self.state.lock();
            state.threads -= 1;
            state.coming -= 1;
            if state.threads == 0 {
                mem::take(&mut state.queue)
            } else {
                VecDeque::new()
            }
        };
        let why = error.to_string();
        for work in unserved {
            match work {
                Work::Call(job) => job.refuse(&why),
                // Then the other workers have to do.
                Work::StandIn(..) => {}
            }
        }
    }

    /// What a thread does.
    fn work(&self) {
        let mut state = self.state.lock();
        state.coming -= 1;
        loop {
            let Some(work) = state.take() else {
                match self.wait(state) {
                    Some(called) => state = called,
                    None => return,
                }
                continue;
            };
            drop(state);
            match work {
                Work::Call(job) => {
                    lengths::measure(job, &mut |waker| frame::wake([waker]));
                    state = self.state.lock();
                }
                Work::StandIn(pool, over) => {
                    pool.stand_in(&over);
                    state = self.state.lock();
                    state.elsewhere -= 1;
                }
            }
        }
    }

    /// Waits for a call. `None` if none came, and the thread is to end.
    fn wait<'a>(&self, mut state: MutexGuard<'a, State>) -> Option<MutexGuard<'a, State>> {
        state.idle += 1;
        let has_not_been_called = |state: &mut State| state.called == 0;
        let waited = self
            .called
            .wait_timeout_while(state, KEPT, has_not_been_called);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.called == 0 {
            state.idle -= 1;
            state.threads -= 1;
            return None;
        }
        state.called -= 1;
        state.coming -= 1;
        Some(state)
    }
}

impl Watched for Threads {
    fn look_after(self: Arc<Self>) -> Option<Urgency> {
        let calls = self.state.lock().whom_else_to_call()?;
        let is_anybody_left = calls.iter().any(|call| *call != Call::Nobody);
        for call in calls {
            self.call(call);
        }
        Some(if is_anybody_left {
            Urgency::Soon
        } else {
            Urgency::Later
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::call::Nothing, *};

    impl State {
        fn bring(&mut self, are_long: bool) -> Call {
            self.queue.push_back(Work::Call(Arc::new(Nothing)));
            self.whom_to_call(are_long)
        }

        /// Those who were called come, and take a call each.
        fn arrive(&mut self) {
            while self.coming > 0 {
                self.coming -= 1;
                self.called = self.called.saturating_sub(1);
                drop(self.take());
            }
        }

        /// One that is at a call comes back from it and finds nothing.
        fn rest(&mut self) {
            self.idle += 1;
        }
    }

    #[test]
    fn each_long_call_has_a_thread() {
        let mut state = State::default();
        for _ in 0..3 {
            assert_eq!(state.bring(true), Call::New);
        }
        state.arrive();
        assert_eq!((state.busy(), state.queue.len()), (3, 0));
        state.rest();
        assert_eq!(state.bring(true), Call::Idle);
        assert_eq!(state.bring(true), Call::New);
    }

    #[test]
    fn a_few_short_calls_have_one() {
        let mut state = State::default();
        assert_eq!(state.bring(false), Call::New);
        state.arrive();
        for _ in 0..MANY {
            assert_eq!(state.bring(false), Call::Nobody);
        }
    }

    #[test]
    fn many_short_calls_have_one_for_each_processor() {
        let mut state = State::default();
        for _ in 0..1000 {
            state.bring(false);
            // Whoever was called comes, and takes as long as the others bring calls.
            state.arrive();
        }
        assert_eq!(state.busy(), pool::processors().max(1));
    }

    #[test]
    fn whoever_brings_another_call_sees_that_the_one_thread_is_stuck() {
        let mut state = State::default();
        assert_eq!(state.bring(false), Call::New);
        state.arrive();
        state.last_taken = state.last_taken.and_then(|taken| taken.checked_sub(STUCK));
        assert_eq!(state.bring(false), Call::New);
        // There is somebody coming now.
        assert_eq!(state.bring(false), Call::Nobody);
    }

    #[test]
    fn the_monitor_doubles_the_threads_while_they_are_stuck() {
        let mut state = State::default();
        for _ in 0..20 {
            state.bring(false);
        }
        state.arrive();
        assert_eq!(state.whom_else_to_call(), Some(Vec::new()), "one was taken");
        for threads in [1, 2, 4, 8] {
            assert_eq!(state.whom_else_to_call(), Some(vec![Call::New; threads]));
            assert_eq!(state.busy(), 2 * threads);
            state.arrive();
            assert!(
                state
                    .whom_else_to_call()
                    .is_some_and(|calls| calls.is_empty())
            );
        }
        assert_eq!(state.whom_else_to_call(), Some(vec![Call::New; 4]));
        state.arrive();
        assert_eq!(state.whom_else_to_call(), None, "nothing is left");
    }

    #[test]
    fn there_is_a_limit() {
        let mut state = State::default();
        for _ in 0..MOST_THREADS {
            assert_eq!(state.bring(true), Call::New);
        }
        assert_eq!(state.bring(true), Call::Nobody);
    }

    #[test]
    fn those_who_stand_in_are_not_taken_for_those_who_make_calls() {
        let mut state = State::default();
        let (pool, workers) = Pool::start(1, "of-a-test");
        let over = Arc::default();
        state
            .queue
            .push_front(Work::StandIn(Arc::clone(&pool), over));
        assert_eq!(state.call_one(), Call::New);
        state.arrive();
        assert_eq!((state.busy(), state.threads), (0, 1));
        assert_eq!(state.bring(false), Call::New);
        pool.stop(workers);
    }
}
