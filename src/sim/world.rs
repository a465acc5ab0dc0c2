//! A test run: what is ready, what time it is, and what comes next.

use std::{
    cell::RefCell,
    collections::VecDeque,
    mem,
    sync::{Arc, Condvar},
    task::{Wake, Waker},
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use slab::Slab;

use super::{
    Call, Cleanup, Event, Job, Mark, Staged,
    schedule::{Choice, Schedule},
    story::{Finding, Step, Story},
    timers::{TimerKey, Timers},
};
use crate::{error::TaskInfo, lock::Mutex};

thread_local! {
    /// The test run that this thread is in.
    static HERE: RefCell<Option<Arc<Sim>>> = const { RefCell::new(None) };
}

/// The test run that this thread is in.
pub(crate) fn current() -> Option<Arc<Sim>> {
    HERE.try_with(|here| here.borrow().clone()).ok().flatten()
}

/// The test run that something belongs to.
pub(crate) fn held(sim: &Option<Arc<Sim>>) -> Option<&Arc<Sim>> {
    sim.as_ref()
}

/// Makes this thread be in a test run, until dropped.
pub(crate) struct Here(());

/// Enters a test run.
pub(crate) fn here(sim: &Arc<Sim>) -> Here {
    HERE.with(|here| *here.borrow_mut() = Some(Arc::clone(sim)));
    Here(())
}

impl Drop for Here {
    fn drop(&mut self) {
        let sim = HERE.try_with(|here| here.borrow_mut().take());
        drop(sim);
    }
}

/// How many steps are made between two looks at the real clock.
const LOOK: usize = 64;

/// A test run.
pub(crate) struct Sim {
    thread: ThreadId,
    /// The real time at which the run is given up; never, if that is too far away to be told.
    give_up: Option<Instant>,
    /// How long to wait, in real time, for somebody else's thread before the clock is moved.
    patience: Duration,
    /// Told when another thread has woken something.
    woken: Condvar,
    world: Mutex<World>,
}

struct World {
    epoch: Instant,
    now: Instant,
    /// What is ready, in the order in which it became so.
    ready: VecDeque<Entry>,
    main_is_ready: bool,
    /// Whether `main` is to go next if it is ready, without asking the schedule.
    main_is_next: bool,
    jobs: Slab<JobState>,
    timers: Timers,
    /// Those who wait until nothing else is ready.
    settling: Vec<Waker>,
    /// Real operations that are under way: the clock stands still meanwhile.
    holds: usize,
    schedule: Schedule,
    steps: usize,
    foreign_wakes: usize,
    story: Story,
}

/// Something that is ready.
enum Entry {
    Main,
    Job(usize),
    /// A child of this group: as many entries as it has children that are ready, in their order.
    Turn(Arc<dyn Staged>),
    Call(Call),
}

struct JobState {
    /// `None` while it runs.
    job: Option<Job>,
    is_ready: bool,
}

/// What comes next.
pub(crate) enum Next {
    Main,
    Job(usize, Job),
    Turn(Arc<dyn Staged>, usize),
    Call(Call),
    /// Nothing will ever come.
    Stuck(Stuck),
}

/// Why a run does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stuck {
    /// Nothing is ready and nothing will be.
    Deadlock,
    /// It has taken too much real time.
    TooLong,
}

impl Sim {
    pub(crate) fn new(
        schedule: Schedule,
        limit: Duration,
        patience: Duration,
        recording: bool,
    ) -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Self {
            thread: thread::current().id(),
            give_up: now.checked_add(limit),
            patience,
            woken: Condvar::new(),
            world: Mutex::new(World {
                epoch: now,
                now,
                ready: VecDeque::new(),
                main_is_ready: false,
                main_is_next: false,
                jobs: Slab::new(),
                timers: Timers::default(),
                settling: Vec::new(),
                holds: 0,
                schedule,
                steps: 0,
                foreign_wakes: 0,
                story: Story::new(recording),
            }),
        })
    }

    /// Changes the world; tells the run if this is another thread's doing.
    fn wake_up(&self, change: impl FnOnce(&mut World)) {
        let is_foreign = thread::current().id() != self.thread;
        {
            let mut world = self.world.lock();
            change(&mut world);
            world.foreign_wakes += usize::from(is_foreign);
        }
        if is_foreign {
            self.woken.notify_all();
        }
    }
}

// What is ready, and what comes next.
impl Sim {
    /// The waker of `main`.
    pub(crate) fn main_waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::new(MainWaker(Arc::clone(self))))
    }

    /// A child of this group is ready.
    pub(crate) fn offer(&self, group: Arc<dyn Staged>) {
        self.wake_up(|world| world.ready.push_back(Entry::Turn(group)));
    }

    /// Takes a job over.
    pub(crate) fn spawn(&self, job: Job) {
        self.wake_up(|world| {
            let id = world.jobs.insert(JobState {
                job: Some(job),
                is_ready: true,
            });
            world.ready.push_back(Entry::Job(id));
        });
    }

    /// Takes over a call that is to be made once, or that was taken back and does nothing.
    pub(crate) fn call_later(&self, call: Call) {
        self.wake_up(|world| world.ready.push_back(Entry::Call(call)));
    }

    /// The waker of a job.
    pub(crate) fn job_waker(self: &Arc<Self>, id: usize) -> Waker {
        let sim = Arc::clone(self);
        Waker::from(Arc::new(JobWaker { sim, id }))
    }

    /// Takes a job back that has to wait, or forgets one that is done.
    pub(crate) fn put_back(&self, id: usize, job: Option<Job>) {
        let mut world = self.world.lock();
        if job.is_some() {
            world.jobs[id].job = job;
        } else {
            world.jobs.remove(id);
        }
    }

    /// Decides what comes next. If nothing is ready, lets time pass.
    pub(crate) fn next(self: &Arc<Self>) -> Next {
        let mut was_patient = false;
        loop {
            let mut world = self.world.lock();
            if !world.ready.is_empty() {
                world.steps += 1;
                if world.steps % LOOK == 0 && self.has_taken_too_long() {
                    return Next::Stuck(Stuck::TooLong);
                }
                return world.take_next();
            }
            let settled = mem::take(&mut world.settling);
            if !settled.is_empty() {
                drop(world);
                settled.into_iter().for_each(Waker::wake);
                continue;
            }
            if world.holds > 0 || !self.patience.is_zero() && !was_patient {
                let left = self.time_left();
                let wait = if world.holds > 0 { left } else { self.patience };
                was_patient = world.holds == 0;
                let foreign_wakes = world.foreign_wakes;
                let is_waiting = |world: &mut World| world.foreign_wakes == foreign_wakes;
                let waited = self.woken.wait_timeout_while(world, wait, is_waiting);
                drop(waited);
                if self.has_taken_too_long() {
                    return Next::Stuck(Stuck::TooLong);
                }
                continue;
            }
            let Some(due) = world.let_time_pass() else {
                return Next::Stuck(Stuck::Deadlock);
            };
            drop(world);
            was_patient = false;
            due.into_iter().for_each(Waker::wake);
        }
    }

    fn has_taken_too_long(&self) -> bool {
        self.give_up
            .is_some_and(|give_up| Instant::now() >= give_up)
    }

    /// How much real time the run still has.
    fn time_left(&self) -> Duration {
        self.give_up.map_or(Duration::MAX, |give_up| {
            give_up.saturating_duration_since(Instant::now())
        })
    }

    /// Lets `main` go next, if it is ready.
    pub(crate) fn main_goes_next(&self) {
        self.world.lock().main_is_next = true;
    }

    /// Chooses one of so many.
    pub(crate) fn choose(&self, among: usize) -> usize {
        self.world.lock().schedule.choose(among)
    }

    /// What has been chosen so far.
    pub(crate) fn choices(&self) -> Vec<Choice> {
        self.world.lock().schedule.log().to_vec()
    }

    /// How often another thread has woken something.
    pub(crate) fn foreign_wakes(&self) -> usize {
        self.world.lock().foreign_wakes
    }

    /// Takes out all that is left, so that it can be dropped.
    pub(crate) fn clear(&self) {
        let left = {
            let mut world = self.world.lock();
            let ready = mem::take(&mut world.ready);
            (
                ready,
                mem::take(&mut world.jobs),
                mem::take(&mut world.timers),
                mem::take(&mut world.settling),
            )
        };
        drop(left);
    }
}

impl World {
    fn take_next(&mut self) -> Next {
        let main = |entry: &Entry| matches!(entry, Entry::Main);
        let forced = mem::take(&mut self.main_is_next)
            .then(|| self.ready.iter().position(main))
            .flatten();
        let index = forced.unwrap_or_else(|| self.schedule.choose(self.ready.len()));
        let Some(entry) = self.ready.remove(index) else {
            return Next::Stuck(Stuck::Deadlock);
        };
        match entry {
            Entry::Main => {
                self.main_is_ready = false;
                Next::Main
            }
            Entry::Job(id) => {
                let state = &mut self.jobs[id];
                state.is_ready = false;
                match state.job.take() {
                    Some(job) => Next::Job(id, job),
                    None => unreachable!("a job is not run twice at a time"),
                }
            }
            Entry::Turn(group) => {
                let is_of_group = |entry: &&Entry| match entry {
                    Entry::Turn(other) => {
                        std::ptr::addr_eq(Arc::as_ptr(other), Arc::as_ptr(&group))
                    }
                    _ => false,
                };
                let rank = self.ready.iter().take(index).filter(is_of_group).count();
                Next::Turn(group, rank)
            }
            Entry::Call(call) => Next::Call(call),
        }
    }

    /// Moves the clock to the next timer. Returns who is due, in an order drawn from the schedule.
    fn let_time_pass(&mut self) -> Option<Vec<Waker>> {
        let (at, mut wakers) = self.timers.take_earliest()?;
        if at > self.now {
            self.now = at;
            self.story.clock(at - self.epoch);
        }
        let mut due = Vec::with_capacity(wakers.len());
        while !wakers.is_empty() {
            due.push(wakers.remove(self.schedule.choose(wakers.len())));
        }
        Some(due)
    }
}

// Time.
impl Sim {
    /// The virtual time.
    pub(crate) fn now(&self) -> Instant {
        self.world.lock().now
    }

    /// Sets a timer, or the same one again.
    pub(crate) fn set_timer(
        self: &Arc<Self>,
        key: &mut Option<TimerKey>,
        at: Instant,
        waker: &Waker,
    ) {
        let mut waker = waker.clone();
        if let Some(key) = key.as_ref().filter(|key| key.key().0 == at) {
            let rearmed = self.world.lock().timers.rearm(key.key(), waker);
            match rearmed {
                Ok(before) => return drop(before),
                Err(mine) => waker = mine,
            }
        }
        let set = self.world.lock().timers.set(at, waker);
        *key = Some(TimerKey::new(self, set));
    }

    pub(super) fn remove_timer(&self, key: (Instant, u64)) {
        let waker = self.world.lock().timers.remove(key);
        drop(waker);
    }

    /// Wakes this one when nothing else is ready.
    pub(crate) fn when_settled(&self, waker: Waker) {
        self.world.lock().settling.push(waker);
    }

    /// Stops the clock.
    pub(crate) fn hold(&self) {
        self.world.lock().holds += 1;
    }

    /// Lets the clock go on.
    pub(crate) fn let_go(&self) {
        self.wake_up(|world| world.holds -= 1);
    }
}

// The story.
impl Sim {
    /// A group has been opened.
    pub(crate) fn opened(&self, group: &Arc<dyn Staged>, body: &TaskInfo) {
        self.world.lock().story.opened(group, body);
    }

    /// A task has been taken in by a group.
    pub(crate) fn entered(&self, group: &Arc<dyn Staged>, task: &TaskInfo) {
        self.world.lock().story.entered(group, task);
    }

    /// A task has been polled or dropped.
    pub(crate) fn step(&self, task: &TaskInfo, event: Event) {
        let mut world = self.world.lock();
        let at = world.now - world.epoch;
        world.story.step(task, event, at);
    }

    /// Something was done to the program from outside.
    pub(crate) fn remark(&self, remark: &'static str) {
        let mut world = self.world.lock();
        let at = world.now - world.epoch;
        world.story.remark(remark, at);
    }

    /// A task is gone.
    pub(crate) fn gone(&self, task: &TaskInfo) {
        let gone = self.world.lock().story.gone(task);
        drop(gone);
    }

    /// A member waits under this.
    pub(crate) fn mark(&self, member: u64, mark: Mark) {
        self.world.lock().story.mark(member, mark);
    }

    /// A finalizer is owed, or done.
    pub(crate) fn cleanup(&self, cleanup: Cleanup) {
        self.world.lock().story.cleanup(cleanup);
    }

    /// A value that counts is there, or gone.
    pub(crate) fn tracked(&self, change: isize) {
        self.world.lock().story.tracked(change);
    }

    /// The steps so far.
    pub(crate) fn steps(&self) -> Vec<Step> {
        self.world.lock().story.steps().to_vec()
    }

    /// The last step.
    pub(crate) fn last_step(&self) -> Option<Step> {
        self.world.lock().story.steps().last().cloned()
    }

    /// Writes down who is alive.
    pub(crate) fn living(&self) -> String {
        let (living, now) = {
            let world = self.world.lock();
            (world.story.living(), world.now)
        };
        living.to_text(now)
    }

    /// Looks for what a run must not leave behind.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let world = self.world.lock();
        let mut findings = world.story.findings();
        if world.timers.len() > 0 {
            findings.push(Finding::Timers(world.timers.len()));
        }
        if !world.jobs.is_empty() {
            findings.push(Finding::Jobs(world.jobs.len()));
        }
        if world.holds > 0 {
            findings.push(Finding::Holds(world.holds));
        }
        findings
    }

    /// How many tasks have panicked.
    pub(crate) fn panics(&self) -> usize {
        self.world.lock().story.panics()
    }
}

struct MainWaker(Arc<Sim>);

impl Wake for MainWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.wake_up(|world| {
            if !mem::replace(&mut world.main_is_ready, true) {
                world.ready.push_back(Entry::Main);
            }
        });
    }
}

struct JobWaker {
    sim: Arc<Sim>,
    id: usize,
}

impl Wake for JobWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.sim.wake_up(|world| {
            // A waker may be kept for longer than its job.
            let Some(state) = world.jobs.get_mut(self.id) else {
                return;
            };
            if !mem::replace(&mut state.is_ready, true) {
                world.ready.push_back(Entry::Job(self.id));
            }
        });
    }
}
