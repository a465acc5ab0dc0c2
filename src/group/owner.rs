//! The owner of a group: the future that runs its body and waits for its tasks.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use pin_project::{pin_project, pinned_drop};

use super::{
    budget::Budget,
    child::{self, Finalizing},
    hub::{Hub, Turn},
    local::{Entrance, Locals},
};
use crate::{
    clock::Alarm,
    error::{Cause, Origin, Panic, RawFailure, TaskInfo, TaskRole, catch},
    frame::{self, Anchor, Enclosed, Home, Member},
    pool::{self, Inline},
    sim::{self, Event, Sim},
};

/// How a group ended.
pub(crate) struct Verdict<R> {
    /// What the body returned, if it did.
    pub(crate) value: Option<R>,
    /// What failed, in order of arrival.
    pub(crate) failures: Vec<RawFailure>,
    pub(crate) origin: Origin,
}

/// Runs the body of a group and its borrowing children, helps to run the others, waits until all of
/// them are gone, and then runs the deferred finalizers.
///
/// The body is polled when its own waker has been woken, which is that of the [`Hub`]; the task that
/// the owner is in is woken only while the owner is not being polled.
#[pin_project(PinnedDrop)]
pub(crate) struct Owner<'env, F: Future> {
    #[pin]
    body: Enclosed<F>,
    /// Whether the body has been polled.
    started: bool,
    /// Whether the body, or the finalizer that is being run, is to be polled in this turn.
    body_woken: bool,
    /// What the body has returned, until the tasks are gone too.
    value: Option<F::Output>,
    hub: Arc<Hub>,
    locals: Locals<'env>,
    /// Who the body is.
    info: TaskInfo,
    saw_aborted: bool,
    finalizing: Option<Pin<Box<Finalizing>>>,
    alarm: Alarm,
    stage: Stage,
    /// The report of the group, once that is closed.
    failures: Vec<RawFailure>,
    /// In a test run: whether the body was what went last.
    body_was_last: bool,
}

/// How far a group has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The body or children are alive.
    Running,
    /// All of them are gone, and the finalizers have their turn.
    Finalizing,
    /// Everything is done; how the group ended has to be said yet.
    Closed,
    /// That has been said.
    Judged,
}

impl<'env, F: Future> Owner<'env, F> {
    pub(crate) fn new(hub: Arc<Hub>, entrance: Arc<Entrance<'env>>, body: F) -> Self {
        let info = TaskInfo::new(TaskRole::Body, hub.label.clone(), hub.location);
        Self {
            body: Enclosed::with_anchor(Anchor::with_node(hub.as_node()), body),
            started: false,
            body_woken: false,
            value: None,
            locals: Locals::new(entrance),
            hub,
            info,
            saw_aborted: false,
            finalizing: None,
            alarm: Alarm::default(),
            stage: Stage::Running,
            failures: Vec::new(),
            body_was_last: false,
        }
    }

    /// Who the body is.
    pub(crate) fn info(&self) -> &TaskInfo {
        &self.info
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }
}

impl<F, R, E> Owner<'_, F>
where
    F: Future<Output = Result<R, E>>,
    E: Send + 'static,
{
    /// Polls the group.
    ///
    /// If the group was cancelled from further out and has nothing to say, this never completes: it
    /// waits to be dropped.
    pub(crate) fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Verdict<R>> {
        self.as_mut().settle();
        assert!(
            self.stage != Stage::Judged,
            "a task group was polled again after it was done"
        );
        if self.stage != Stage::Closed {
            ready!(self.as_mut().take_turns(cx));
            *self.as_mut().project().stage = Stage::Closed;
        }
        self.judge(cx)
    }

    /// Goes on until everything has been done, or nothing can be done now.
    fn take_turns(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // First of all: it may be anybody's and panic, and the group must not be taken for one that
        // is being polled then.
        let mut waker = Some(cx.waker().clone());
        let inline = Inline::enter(self.hub.pool().as_ref());
        let Some(body_woken) = self.hub.begin_poll(inline.is_some()) else {
            self.as_mut().clear();
            return Poll::Ready(());
        };
        *self.as_mut().project().body_woken = body_woken;
        let sim = sim::current();
        // In a test run there are no threads to be called for help.
        let _watch = sim
            .is_none()
            .then(|| pool::watch(Arc::clone(&self.hub) as _));
        if let Some(sim) = sim.as_ref().filter(|_| !self.started) {
            sim.opened(&self.hub.as_staged(), &self.info);
        }
        let mut budget = Budget::new();
        // Those that come in while the body has its turn are seen at the end of it.
        let mut may_run_children = inline.is_some();
        loop {
            budget.turn();
            match &sim {
                None => self.as_mut().run_ready(&mut budget, may_run_children),
                Some(sim) => self.as_mut().run_chosen(sim),
            }
            self.as_mut().watch_deadline(cx);
            let body_done = self.body.is_clear() && self.finalizing.is_none();
            let out_of_budget = sim.is_some() || !budget.is_left();
            let this = self.as_mut().project();
            match this
                .hub
                .end_turn(body_done, out_of_budget, this.body_woken, &mut waker)
            {
                Turn::Again { children } => may_run_children = children && inline.is_some(),
                Turn::Wait => {
                    this.body.anchor().protect();
                    return Poll::Pending;
                }
                Turn::Finalize(task, finalizer) => {
                    *this.stage = Stage::Finalizing;
                    *this.finalizing = Some(Box::pin(Finalizing::new(task, finalizer)));
                    *this.body_woken = true;
                }
                Turn::Closed(failures) => {
                    *this.failures = failures;
                    return Poll::Ready(());
                }
                Turn::Lost => {
                    self.as_mut().clear();
                    return Poll::Ready(());
                }
            }
        }
    }

    /// Polls what is ready: the body, and within the budget the children that borrow and the others,
    /// if it is for the owner to run these.
    fn run_ready(mut self: Pin<&mut Self>, budget: &mut Budget, drives: bool) {
        self.as_mut().poll_body();
        self.as_mut().poll_finalizer();
        if self.as_mut().is_settled() {
            if self.hub.any_local() {
                let this = self.as_mut().project();
                this.locals.run_ready(this.hub, budget);
            }
            if drives {
                child::run_ready(&self.hub, budget, None);
            }
        }
    }

    /// Polls one of the body and the children that borrow, as a test run decides.
    fn run_chosen(mut self: Pin<&mut Self>, sim: &Sim) {
        let body_is_cut = !self.body.is_clear() && self.started && self.as_mut().is_cut();
        let bodies = usize::from(self.body_woken || body_is_cut);
        if self.hub.any_local() {
            let this = self.as_mut().project();
            this.locals.stand_by(this.hub);
        }
        let locals = self.hub.locals_ready();
        if bodies + locals > 0 {
            let chosen = sim.choose(bodies + locals);
            // The first of them is the one that the schedule takes when it has no opinion. It must
            // not be the same one for ever.
            let body = if self.body_was_last { locals } else { 0 };
            let is_body = bodies > 0 && chosen == body;
            *self.as_mut().project().body_was_last = is_body;
            if is_body {
                self.as_mut().poll_body();
                self.as_mut().poll_finalizer();
            } else if self.as_mut().is_settled() {
                let goes_before = bodies > 0 && body < chosen;
                self.hub.put_first(chosen - usize::from(goes_before));
                let this = self.as_mut().project();
                this.locals.run_one(this.hub);
                if body_is_cut {
                    self.hub.look_again();
                }
            }
        }
        self.is_settled();
    }

    /// Polls the body if it was woken, or drops it if it was cancelled. Reports how it failed.
    fn poll_body(mut self: Pin<&mut Self>) {
        if self.body.is_clear() {
            return;
        }
        if self.started && self.as_mut().is_cut() {
            return self.drop_body();
        }
        if !mem::take(self.as_mut().project().body_woken) {
            return;
        }
        let waker = Waker::from(Arc::clone(&self.hub));
        let cx = &mut Context::from_waker(&waker);
        let member = self.as_member(cx);
        let this = self.as_mut().project();
        *this.started = true;
        let polled = catch(|| this.body.poll_member(member, cx));
        if let Some(sim) = sim::current() {
            sim.step(this.info, event_of(&polled));
        }
        match polled {
            Ok((Poll::Pending, member)) => {
                *this.saw_aborted |= member.is_some_and(|member| member.saw_aborted);
                if self.as_mut().is_cut() {
                    self.drop_body();
                }
            }
            Ok((Poll::Ready(Ok(value)), _)) => {
                *this.value = Some(Ok(value));
                frame::abandon_below(&self.hub.as_node());
            }
            Ok((Poll::Ready(Err(error)), member)) => {
                *this.saw_aborted |= member.is_some_and(|member| member.saw_aborted);
                let failure = RawFailure::error(this.info.clone(), error, *this.saw_aborted);
                self.fail(failure);
            }
            Err(panic) => {
                let failure = RawFailure::panic(this.info.clone(), panic);
                self.as_mut().drop_body();
                self.fail(failure);
            }
        }
    }

    /// Gives the group its place and tells whether that was possible: children may be run then.
    ///
    /// Not before there is a reason: a group whose body is done in its first poll, and that has no
    /// children, needs none.
    fn is_settled(self: Pin<&mut Self>) -> bool {
        let this = self.project();
        if !this.hub.is_placed() {
            if this.body.is_clear() && this.hub.len() == 0 {
                return false;
            }
            this.body.anchor().link();
            this.hub.set_place(frame::enclosing_home());
        }
        true
    }

    /// Says how the group ended, or waits to be dropped by the scope that absorbs the cancellation.
    fn judge(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Verdict<R>> {
        let this = self.project();
        let cancelled = this.hub.cancelled_by();
        let failures = this.failures;
        // Echoes are no failures of their own; and in a group that was cancelled, what they echo is
        // none either.
        if cancelled.is_some() || failures.iter().any(|failure| !failure.echo) {
            failures.retain(|failure| !failure.echo);
        }
        // A value of the body counts only if all that was spawned has been done, too.
        let is_cut = this.value.is_none() || this.hub.was_cut();
        if is_cut && failures.is_empty() && frame::due() {
            this.body.anchor().unprotect();
            this.hub.wait_to_be_dropped(cx.waker().clone());
            // If a deadline further out is moved meanwhile, it is for this group to answer.
            if !frame::due() {
                cx.waker().wake_by_ref();
            }
            return Poll::Pending;
        }
        let origin = Origin {
            label: this.hub.label.clone(),
            location: this.hub.location,
            cancelled,
        };
        *this.stage = Stage::Judged;
        this.body.anchor().leave();
        Poll::Ready(Verdict {
            value: this.value.take().and_then(Result::ok),
            failures: mem::take(failures),
            origin,
        })
    }
}

impl<F: Future> Owner<'_, F> {
    /// Finds out where the group is. It may have been moved since the last poll.
    ///
    /// # Panics
    ///
    /// Panics if that is inside the group itself: it would wait for itself for ever.
    fn settle(self: Pin<&mut Self>) {
        let this = self.project();
        if !this.hub.is_placed() {
            return;
        }
        let place = frame::enclosing_home();
        if let Some((home, _)) = &place {
            let is_inside =
                home.depth() >= this.hub.depth() && frame::is_under(&this.hub.as_home());
            assert!(
                !is_inside,
                "a task group was awaited from inside itself, by one of its own tasks, and would \
                 wait for ever; await it where it was opened"
            );
        }
        if this.body.anchor().settle() {
            this.hub.set_place(place);
        }
    }

    /// The body as a member of its group.
    fn as_member(&self, cx: &Context<'_>) -> Member {
        Member::new(self.hub.as_home(), self.info.clone(), cx)
    }

    /// Whether the body is to be dropped: the group was cancelled, and nothing protected is left in
    /// the body.
    fn is_cut(self: Pin<&mut Self>) -> bool {
        let this = self.project();
        this.hub.is_cancelled() && this.body.anchor().is_idle()
    }

    /// Drops the body where it stands.
    fn drop_body(mut self: Pin<&mut Self>) {
        let member = self.as_member(&Context::from_waker(Waker::noop()));
        let this = self.as_mut().project();
        let dropped = this.body.clear_member(member);
        if let Some(sim) = sim::current() {
            sim.step(this.info, Event::Cancelled);
        }
        if let Err(panic) = dropped {
            let failure = RawFailure::panic(this.info.clone(), panic);
            self.as_mut().fail(failure);
        }
        frame::abandon_below(&self.hub.as_node());
    }

    /// Reports a failure of the body. It cancels the children under any policy.
    fn fail(self: Pin<&mut Self>, failure: RawFailure) {
        frame::report(self.hub.as_home(), failure);
        self.hub.cancel(Cause::Failure);
        frame::abandon_below(&self.hub.as_node());
    }

    /// Polls the finalizer that is being run, if it was woken.
    fn poll_finalizer(self: Pin<&mut Self>) {
        let this = self.project();
        let Some(finalizing) = this.finalizing else {
            return;
        };
        if !mem::take(this.body_woken) {
            return;
        }
        let waker = Waker::from(Arc::clone(this.hub));
        let cx = &mut Context::from_waker(&waker);
        if finalizing.as_mut().poll_in(this.hub, cx).is_ready() {
            *this.finalizing = None;
        }
    }

    /// Cancels the group if its scope was given a deadline, and that has passed.
    fn watch_deadline(self: Pin<&mut Self>, cx: &mut Context<'_>) {
        let this = self.project();
        match this.hub.deadline() {
            Some(deadline) if !this.hub.is_cancelled() => {
                if this.alarm.poll(deadline, cx).is_ready() {
                    this.hub.cancel(Cause::Deadline);
                }
            }
            _ => this.alarm.disarm(),
        }
    }

    /// Drops everything that is in here, each part under its own catch.
    fn clear(mut self: Pin<&mut Self>) {
        if !self.body.is_clear() {
            self.as_mut().drop_body();
        }
        let this = self.as_mut().project();
        this.locals.clear(this.hub);
        if let Some(finalizing) = self.as_mut().project().finalizing.take() {
            self.hub.put_back(*Pin::into_inner(finalizing));
        }
    }
}

/// What polling a body gives: its panic, or its result and the member it was.
type Polled<R, E> = Result<(Poll<Result<R, E>>, Option<Member>), Panic>;

/// What a test run is told of a body that was polled.
fn event_of<R, E>(polled: &Polled<R, E>) -> Event {
    match polled {
        Ok((Poll::Pending, _)) => Event::Waits,
        Ok((Poll::Ready(Ok(_)), _)) => Event::Returned,
        Ok((Poll::Ready(Err(_)), _)) => Event::Failed,
        Err(_) => Event::Panicked,
    }
}

#[pinned_drop]
impl<F: Future> PinnedDrop for Owner<'_, F> {
    /// Hands the group up, if it is not done: what borrows is dropped here and now, the rest is
    /// cancelled and goes to the group further out. Nobody is waited for.
    fn drop(mut self: Pin<&mut Self>) {
        if self.stage == Stage::Judged {
            return;
        }
        self.hub.let_go();
        if self.stage == Stage::Closed {
            return;
        }
        self.hub.cancel(Cause::Dropped);
        self.as_mut().clear();
        if !self.hub.is_placed() {
            // Nobody else has ever seen these children. They are dropped unpolled.
            child::run_ready(&self.hub, &mut Budget::without_end(), None);
        }
        // Not rethrown, if it is a panic: that of a task has no business in somebody's destructor.
        for failure in self.hub.hand_up() {
            failure.unclaimed();
        }
    }
}
