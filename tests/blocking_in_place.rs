//! Where calls that block are made: on threads of their own, or, as long as they are short, by worker threads in
//! between. What is promised of them holds there too, and one that blocks after all is in nobody's way.

#[path = "common/calls.rs"]
mod calls;
mod common;

use std::{
    cell::RefCell,
    future::poll_fn,
    pin::pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    task::{Context, Poll, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use calls::{Calls, Latch, Meeting, wait_until};
use common::{Census, Gate, Log, keep_quiet_about_purpose, leaves_of, watched};
use futures_lite::future::{or, poll_once, yield_now, zip};
use headcount::{
    CancelScope, Policy, Runtime, Spawner, Task, TaskGroup, checkpoint, deadline, group,
    is_cancelled, local, run, sleep, timeout, unblock,
};

local! {
    /// Who is asking.
    static NAME: &'static str;
}

/// How long the last calls took counts for the whole process, so the tests here go one after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());

    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What this thread is called.
fn thread_name() -> String {
    thread::current().name().unwrap_or_default().to_owned()
}

fn is_on_a_worker() -> bool {
    thread_name().starts_with("worker")
}

/// A run with so many workers, each of which is called that.
fn with_workers<T>(threads: usize, main: impl Future<Output = T>) -> T {
    let runtime = Runtime::builder().threads(threads).thread_name("worker");
    watched("with calls in place", || runtime.run(main))
}

/// Calls of which each takes long, until all are expected to.
async fn have_long_calls() {
    for _ in 0..40 {
        unblock(|| {
            let began = Instant::now();
            while began.elapsed() < Duration::from_micros(150) {}
        })
        .await;
    }
}

/// Calls that take no time, until one is made in place: from a parallel task, on a worker.
async fn have_short_calls(spawner: &Spawner) {
    for _ in 0..100_000 {
        let calls = spawner.spawn(async {
            for _ in 0..40 {
                unblock(|| ()).await;
            }
            Ok(unblock(is_on_a_worker).await)
        });
        if calls.await.expect("it does not fail") {
            return;
        }
    }
    panic!("short calls are not made by the workers");
}

/// A run whose workers make the calls of parallel tasks themselves, at first.
fn in_place<T, F>(threads: usize, body: impl FnOnce(Spawner) -> F) -> T
where
    F: Future<Output = T>,
{
    with_workers(threads, async {
        let main = group(async |g| {
            have_short_calls(&g.spawner()).await;
            Ok(body(g.spawner()).await)
        });
        main.await.expect("nothing fails")
    })
}

/// Waits for a task on the thread of the body, so that only workers run tasks meanwhile.
fn finish<T>(task: Task<T>) -> T {
    smol::block_on(task).expect("it does not fail")
}

#[test]
fn a_long_call_is_made_on_a_thread_made_for_calls() {
    let _alone = alone();
    with_workers(2, async {
        have_long_calls().await;
        let name = unblock(thread_name).await;
        assert_eq!(name, "headcount-blocking");
        let of_tasks = group(async |g| {
            let awaited = g.spawn(async { Ok(unblock(thread_name).await) });
            let spawned = g.spawn_blocking(|| Ok(thread_name()));
            Ok([awaited.await?, spawned.await?])
        });
        assert_eq!(of_tasks.await.unwrap(), [name.clone(), name]);
    });
}

#[test]
fn short_calls_of_tasks_are_made_by_the_workers() {
    let _alone = alone();
    for threads in [1, 2, 4] {
        in_place(threads, async |_| ());
    }
}

#[test]
fn a_call_in_place_is_none_of_the_task_that_polls() {
    let _alone = alone();
    in_place(1, async |spawner| {
        let scope = CancelScope::new().timeout(Duration::from_secs(3600));
        let calls = spawner.spawn(NAME.bind("the task", async move {
            let told = scope.run(async {
                let own = deadline();
                let told = unblock(|| (NAME.get(), deadline(), is_cancelled())).await;
                assert_eq!(told, (Some("the task"), own, false));
            });
            told.await.expect("nobody cancels it");
            // A run is refused to tasks, and to nobody else.
            assert_eq!(unblock(|| run(async { 7 })).await, 7);
            let inside = unblock(|| {
                smol::block_on(group(async |g| {
                    let task = g.spawn(async { Ok(8) });
                    Ok(task.await?)
                }))
            });
            assert_eq!(inside.await.expect("it does not fail"), 8);
            Ok(())
        }));
        calls.await.unwrap();
    });
}

#[test]
fn a_panic_in_place_is_one_of_the_task() {
    keep_quiet_about_purpose();
    let _alone = alone();
    in_place(2, async |spawner| {
        drop(spawner);
        let failed = group(async |g| {
            g.spawn_blocking(|| -> Result<(), _> { panic!("on purpose") });
            Ok(())
        });
        assert_eq!(leaves_of(&failed.await.unwrap_err()), ["panic: on purpose"]);
    });
}

/// The only worker is blocked until a task has run, and nobody else is there to run it: main waits.
#[test]
fn a_worker_that_a_call_blocks_is_stood_in_for() {
    let _alone = alone();
    for _ in 0..5 {
        in_place(1, async |spawner| {
            let (begun, latch, log) = (Gate::default(), Latch::default(), Log::default());
            let (at, opened, told) = (begun.clone(), latch.clone(), log.clone());
            let blocked = spawner.spawn(async move {
                unblock(move || {
                    at.open();
                    opened.wait();
                    told.say("the call returns");
                })
                .await;
                Ok(())
            });
            let told = log.clone();
            let other = spawner.spawn(async move {
                begun.wait().await;
                sleep(Duration::from_millis(1)).await;
                told.say("the task goes on");
                latch.open();
                Ok(())
            });
            finish(other);
            finish(blocked);
            assert_eq!(log.entries(), ["the task goes on", "the call returns"]);
        });
    }
}

#[test]
fn calls_in_place_that_wait_for_each_other_all_come_to_run() {
    let _alone = alone();
    for threads in [1, 2, 3] {
        for _ in 0..3 {
            in_place(threads, async |spawner| {
                let meeting = Meeting::of(64);
                let tasks: Vec<_> = (0..64)
                    .map(|_| {
                        let meeting = meeting.clone();
                        spawner.spawn_blocking(move || {
                            meeting.attend();
                            Ok(())
                        })
                    })
                    .collect();
                tasks.into_iter().for_each(finish);
            });
        }
    }
}

/// What the worker had polled goes on to block it, before the call can begin.
#[test]
fn a_call_does_not_wait_for_a_poll_that_blocks() {
    let _alone = alone();
    for threads in [1, 2] {
        in_place(threads, async |spawner| {
            let latch = Latch::default();
            let opens = latch.clone();
            let task = spawner.spawn(async move {
                // The call is begun, and in the same poll the thread is blocked until it has ended.
                zip(unblock(move || opens.open()), async { latch.wait() }).await;
                Ok(())
            });
            finish(task);
        });
    }
}

/// Two calls are begun in one poll, and each waits for the other.
#[test]
fn calls_of_one_task_run_at_the_same_time() {
    let _alone = alone();
    for threads in [1, 2] {
        in_place(threads, async |spawner| {
            let task = spawner.spawn(async {
                let meeting = Meeting::of(2);
                let other = meeting.clone();
                zip(
                    unblock(move || meeting.attend()),
                    unblock(move || other.attend()),
                )
                .await;
                Ok(())
            });
            task.await.unwrap();
        });
    }
}

#[test]
fn a_call_that_was_cancelled_in_the_poll_that_began_it_is_not_made() {
    let _alone = alone();
    in_place(1, async |spawner| {
        let (calls, census) = (Calls::default(), Census::default());
        for _ in 0..100 {
            let (calls, value) = (calls.clone(), census.enter());
            let task = spawner.spawn(async move {
                let scope = CancelScope::new();
                let handle = scope.handle();
                let call = unblock(move || {
                    let _value = value;
                    // A thread of its own may have been quick enough.
                    if is_on_a_worker() {
                        drop(calls.begin());
                    }
                });
                drop(scope.run(zip(call, async { handle.cancel() })).await);
                Ok(())
            });
            finish(task);
        }
        assert_eq!((calls.begun(), census.alive()), (0, 0));
    });
}

#[test]
fn a_call_in_place_holds_a_cut_back() {
    let _alone = alone();
    in_place(1, async |spawner| {
        let log = Log::default();
        let told = log.clone();
        let task = spawner.spawn(async move {
            let late = timeout(Duration::from_millis(1), async {
                let told_too = told.clone();
                unblock(move || {
                    wait_until(is_cancelled);
                    told_too.say("the call returns");
                })
                .await;
                told.say("the task goes on");
                checkpoint().await;
                told.say("never");
            });
            assert!(late.await.is_err());
            Ok(())
        });
        task.await.unwrap();
        assert_eq!(log.entries(), ["the call returns", "the task goes on"]);
    });
}

#[test]
fn a_group_waits_for_a_call_in_place_whose_wait_was_dropped() {
    let _alone = alone();
    for threads in [1, 2] {
        in_place(threads, async |_| {
            let (begun, calls) = (Gate::default(), Calls::default());
            let (at, counted) = (begun.clone(), calls.clone());
            let dropped = group(async |g| {
                g.spawn(async move {
                    let call = unblock(move || {
                        let _running = counted.begin();
                        at.open();
                        wait_until(is_cancelled);
                        for _ in 0..1000 {
                            thread::yield_now();
                        }
                    });
                    or(call, begun.wait()).await;
                    Ok(())
                });
                Ok(())
            });
            dropped.await.unwrap();
            assert_eq!((calls.begun(), calls.ended()), (1, 1));
        });
    }
}

/// Tasks that make one call after the other do not keep others from their turn.
#[test]
fn a_task_that_makes_calls_in_a_loop_starves_nobody() {
    let _alone = alone();
    in_place(1, async |spawner| {
        let is_over = Latch::default();
        let seen = is_over.clone();
        let looping = spawner.spawn(async move {
            while !seen.is_open() {
                unblock(|| ()).await;
            }
            Ok(())
        });
        let other = spawner.spawn(async move {
            for _ in 0..100 {
                checkpoint().await;
            }
            is_over.open();
            Ok(())
        });
        other.await.unwrap();
        looping.await.unwrap();
    });
}

#[test]
fn a_limit_counts_a_task_while_its_call_is_made_in_place() {
    let _alone = alone();
    in_place(4, async |_| {
        let calls = Calls::default();
        let counted = calls.clone();
        let limited = TaskGroup::builder().limit(2).run(async move |g| {
            for _ in 0..2000 {
                let counted = counted.clone();
                g.spawn_blocking(move || {
                    drop(counted.begin());
                    Ok(())
                });
            }
            Ok(())
        });
        limited.await.unwrap();
        assert_eq!(calls.ended(), 2000);
        assert!(calls.most() <= 2, "{} at a time", calls.most());
    });
}

/// Polls a future once, and goes on.
async fn begin<F: Future + Unpin>(future: &mut F) {
    drop(poll_once(future).await);
}

fn compute_for(time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {}
}

#[test]
fn a_call_in_place_that_has_moved_holds_the_cut_back() {
    let _alone = alone();
    in_place(2, async |spawner| {
        for _ in 0..5 {
            have_short_calls(&spawner).await;
            let task = spawner.spawn(async move {
                let scope = CancelScope::new();
                let handle = scope.handle();
                let mut call = Box::pin(unblock(move || {
                    handle.cancel();
                    compute_for(Duration::from_millis(50));
                    7
                }));
                CancelScope::new().run(begin(&mut call)).await.unwrap();
                Ok(scope.run(&mut call).await)
            });
            assert_eq!(task.await.unwrap().unwrap(), 7);
        }
    });
}

local! {
    static BOMB: Bomb;
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("on purpose: a value of a task");
    }
}

/// A call that is taken back may have had the last of the task-locals.
#[test]
fn what_panics_as_a_call_is_taken_back_harms_nobody() {
    const TASKS: usize = 20;

    let _alone = alone();
    keep_quiet_about_purpose();
    let failed = watched("bombs", || {
        let runtime = Runtime::builder().threads(1).thread_name("worker");
        runtime.run(TaskGroup::builder().policy(Policy::Collect).run(async |g| {
            have_short_calls(&g.spawner()).await;
            for _ in 0..TASKS {
                let task = g.spawn(async move {
                    let mut call = Box::pin(unblock(|| 7));
                    let scope = CancelScope::new();
                    let handle = scope.handle();
                    // The call has the last of the values, and a scope that is cancelled before the call is made.
                    let begun = BOMB.bind(Bomb, poll_once(&mut call));
                    let value = scope.run(begun).await.expect("not cut");
                    handle.cancel();
                    Ok(match value {
                        Some(value) => value,
                        None => call.await,
                    })
                });
                // Not if the call was made before that, by another thread.
                task.await.ok();
            }
            assert_eq!(g.spawn_blocking(|| Ok(8)).await, Ok(8));
            Ok(())
        }))
    });
    let expected = vec!["panic: on purpose: a value of a task"; TASKS];
    assert_eq!(leaves_of(&failed.unwrap_err()), expected);
}

/// A run that ends before a helper has come that was called for one of its children.
fn run_without_the_helper() {
    Runtime::builder().threads(1).run(async {
        let gate = Gate::default();
        let at = gate.clone();
        let inner = group(async |g| {
            g.spawn(async move {
                at.wait().await;
                Ok(())
            });
            gate.wait().await;
            Ok(())
        });
        let opens = async {
            yield_now().await;
            gate.open();
        };
        let (ended, ()) = zip(inner, opens).await;
        ended.expect("nothing fails");
    });
}

/// What is left of the helpers of a run is run by the thread that called it, here in the middle of a call.
#[test]
fn a_run_in_a_call_in_place_leaves_the_worker_as_it_was() {
    let _alone = alone();
    in_place(1, async |spawner| {
        let mut rounds = 0;
        while rounds < 5 {
            have_short_calls(&spawner).await;
            let task = spawner.spawn(async move {
                let was_in_place = unblock(move || {
                    if is_on_a_worker() {
                        // Long enough for somebody to stand in.
                        compute_for(Duration::from_millis(60));
                        (0..20).for_each(|_| run_without_the_helper());
                    }
                    is_on_a_worker()
                });
                Ok(was_in_place.await)
            });
            rounds += usize::from(finish(task));
        }
        // The worker is there still.
        have_short_calls(&spawner).await;
    });
}

#[test]
fn a_call_of_a_task_that_was_cancelled_by_its_handle_is_not_made() {
    let _alone = alone();
    in_place(1, async |spawner| {
        let calls = Calls::default();
        for _ in 0..20 {
            have_short_calls(&spawner).await;
            let (tell, told) = mpsc::channel::<Task<()>>();
            let (counted, done) = (calls.clone(), Latch::default());
            let is_done = done.clone();
            let task = spawner.spawn(async move {
                let own = told.recv().expect("it is told");
                let call = unblock(move || {
                    // A thread of its own may have been quick enough.
                    if is_on_a_worker() {
                        drop(counted.begin());
                    }
                });
                let cancels = async {
                    own.cancel();
                    is_done.open();
                };
                zip(call, cancels).await;
                Ok(())
            });
            tell.send(task).expect("it waits");
            done.wait();
            // The worker has gone on to the next task.
            finish(spawner.spawn(async { Ok(()) }));
        }
        assert_eq!(calls.begun(), 0);
    });
}

/// Waits for a future on this thread, without any thread-local.
fn block_here<F: Future>(future: F) -> F::Output {
    #[derive(Default)]
    struct Bell(Mutex<bool>, Condvar);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
            self.1.notify_all();
        }
    }

    let bell = Arc::<Bell>::default();
    let waker = Waker::from(Arc::clone(&bell));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        let rung = bell.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rung = bell
            .1
            .wait_while(rung, |rung| !*rung)
            .unwrap_or_else(PoisonError::into_inner);
        *rung = false;
    }
}

/// It does so in a destructor of a thread-local.
#[test]
fn a_thread_that_ends_may_wait_for_a_call() {
    struct AtEnd(mpsc::Sender<i32>);

    impl Drop for AtEnd {
        fn drop(&mut self) {
            let seven = block_here(unblock(|| 7));
            self.0.send(seven).expect("somebody waits");
        }
    }

    thread_local! {
        static AT_END: RefCell<Option<AtEnd>> = const { RefCell::new(None) };
    }

    let _alone = alone();
    in_place(1, async |spawner| {
        for early in [false, true] {
            let (tell, told) = mpsc::channel();
            let ends = thread::spawn(move || {
                if early {
                    AT_END.set(Some(AtEnd(tell)));
                    smol::block_on(unblock(|| ()));
                } else {
                    smol::block_on(unblock(|| ()));
                    AT_END.set(Some(AtEnd(tell)));
                }
            });
            let seven = unblock(move || told.recv_timeout(Duration::from_secs(30))).await;
            assert_eq!(seven, Ok(7));
            unblock(move || ends.join().is_ok()).await;
            have_short_calls(&spawner).await;
        }
    });
}

/// A thread of a run that ends, a worker, waits for a call in a destructor of its own.
#[test]
fn a_worker_that_ends_may_wait_for_a_call() {
    struct AtEnd(Calls);

    impl Drop for AtEnd {
        fn drop(&mut self) {
            let calls = self.0.clone();
            block_here(unblock(move || drop(calls.begin())));
        }
    }

    thread_local! {
        static AT_END: RefCell<Option<AtEnd>> = const { RefCell::new(None) };
    }

    let _alone = alone();
    for _ in 0..20 {
        let calls = Calls::default();
        let counted = calls.clone();
        in_place(1, async |spawner| {
            loop {
                let counted = counted.clone();
                let task = spawner.spawn(async move {
                    if is_on_a_worker() {
                        AT_END.set(Some(AtEnd(counted)));
                        return Ok(true);
                    }
                    Ok(false)
                });
                if task.await.unwrap() {
                    return;
                }
            }
        });
        assert_eq!(calls.ended(), 1);
    }
}

#[test]
fn a_call_in_place_wakes_by_a_waker_that_panics() {
    let _alone = alone();
    keep_quiet_about_purpose();
    struct WakesAndPanics(Waker);
    impl Wake for WakesAndPanics {
        fn wake(self: Arc<Self>) {
            self.0.wake_by_ref();
            panic!("on purpose: a waker");
        }
    }
    const TASKS: usize = 50;
    let ended = watched("wakers that panic", || {
        let runtime = Runtime::builder().threads(1).thread_name("worker");
        runtime.run(TaskGroup::builder().policy(Policy::Collect).run(async |g| {
            have_short_calls(&g.spawner()).await;
            for _ in 0..TASKS {
                let task = g.spawn(async move {
                    let mut call = Box::pin(unblock(|| 7));
                    let value = poll_fn(|cx| {
                        let waker = Waker::from(Arc::new(WakesAndPanics(cx.waker().clone())));
                        call.as_mut().poll(&mut Context::from_waker(&waker))
                    });
                    Ok(value.await)
                });
                assert_eq!(task.await, Ok(7));
            }
            Ok(())
        }))
    });
    // A call that had ended before its waker was there wakes nobody.
    if let Err(failed) = ended {
        assert!(
            leaves_of(&failed)
                .iter()
                .all(|leaf| leaf == "panic: on purpose: a waker")
        );
    }
}
