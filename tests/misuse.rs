//! Every bad input gets a clear panic at the caller or a typed error, never a hang.

mod common;

use std::{
    cell::{Cell, RefCell},
    future::{Future, pending},
    panic::{AssertUnwindSafe, Location, catch_unwind},
    pin::{Pin, pin},
    process::Command,
    sync::{Arc, Mutex, Once},
    task::{Context, Poll, Waker},
    time::Duration,
};

use common::{
    Census, Gate, Log, everywhere, for_ever, in_run, leaves_of, let_others_run, on_threads,
    panic_text, watched,
};
use futures_lite::future::poll_once;
use headcount::{
    Aborted, CancelScope, Error, Ready, Runtime, StartError, Task, TaskGroup, finally, group,
    interval, now, run, shield, sleep, timeout, timeout_at,
};

thread_local! {
    /// Whether this thread is about to panic.
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
    /// The message and the place of the last panic on this thread.
    static LAST: RefCell<Option<(String, String, u32)>> = const { RefCell::new(None) };
}

/// Calls something that must panic, and returns the message and where the panic says it came from.
#[track_caller]
fn refusal<T>(misuse: impl FnOnce() -> T) -> (String, String, u32) {
    static ONCE: Once = Once::new();

    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !EXPECTED.get() {
                return usual(info);
            }
            let message = panic_text(info.payload()).unwrap_or("no text").to_owned();
            let place = info.location().expect("panics have one");
            let told = (message, place.file().to_owned(), place.line());
            LAST.with(|last| *last.borrow_mut() = Some(told));
        }));
    });
    EXPECTED.set(true);
    let refused = catch_unwind(AssertUnwindSafe(misuse)).map(drop).is_err();
    EXPECTED.set(false);
    assert!(refused, "it was not refused");
    LAST.with(|last| last.borrow_mut().take())
        .expect("the hook was called")
}

/// Checks that a call panics with this message, and says that it was called here.
#[track_caller]
fn refused_here<T>(message: &str, misuse: impl FnOnce() -> T) {
    let here = Location::caller();
    let (told, file, line) = refusal(misuse);
    assert_eq!(told, message);
    // The call itself may be a few lines further down in the closure.
    assert_eq!(file, here.file(), "{message}");
    assert!(
        (here.line()..here.line() + 6).contains(&line),
        "{message}: line {line}"
    );
}

/// A group of which no task would ever run is refused where its limit is set.
#[test]
fn a_limit_of_zero_is_refused() {
    let message = "a task group with a limit of 0 would never run a task; \
                   give it a limit of at least 1";
    refused_here(message, || TaskGroup::builder().limit(0));
}

/// So is a runtime without threads.
#[test]
fn zero_threads_are_refused() {
    let message = "a runtime needs at least 1 worker thread: \
                   somebody has to run the tasks while `main` is busy";
    refused_here(message, || Runtime::builder().threads(0));
}

/// So is a clock that would tick without end.
#[test]
fn an_interval_of_zero_is_refused() {
    let message = "an interval of zero would tick without end; \
                   give it a period, or use `checkpoint` to let others run";
    refused_here(message, || interval(Duration::ZERO));
}

/// Case 13. Everything that puts something into a group that has returned is refused where it is
/// called, and what was to be put there is dropped.
#[test]
fn a_closed_group_refuses_everything() {
    watched("by hand", || {
        let census = Census::default();
        let line = line!() + 1;
        let g = run(group(async |g| Ok(g.clone()))).unwrap();
        let closed = &format!(
            "the task group (without a name, opened at tests/misuse.rs:{line}:21) has returned and takes \
             no more tasks; spawn before its body ends, or use `Spawner::try_spawn`"
        );
        let spawner = g.spawner();
        let work = || {
            let value = census.enter();
            async move {
                let _value = value;
                Ok::<(), Error>(())
            }
        };
        refused_here(closed, || g.spawn(work()));
        refused_here(closed, || g.spawn_named("name", work()));
        refused_here(closed, || g.spawn_local(work()));
        refused_here(closed, || g.spawn_local_named("name", work()));
        refused_here(closed, || spawner.spawn(work()));
        refused_here(closed, || spawner.spawn_named("name", work()));
        refused_here(closed, || g.start(|_ready: Ready<()>| work()));
        refused_here(closed, || g.start_task(|_ready: Ready<()>| work()));
        refused_here(closed, || {
            let value = census.enter();
            g.defer(async move { drop(value) });
        });
        assert!(spawner.try_spawn(work()).is_err());
        assert_eq!(census.alive(), 0);
        // What only asks is answered.
        assert_eq!(g.len(), 0);
        g.cancel();
    });
}

/// Case 13. The message says which group it was, if it has a name.
#[test]
fn a_closed_group_is_named_in_the_refusal() {
    watched("by hand", || {
        let named = TaskGroup::builder()
            .name("fetch")
            .run(async |g| Ok(g.spawner()));
        let spawner = run(named).unwrap();
        let (message, ..) = refusal(|| spawner.spawn(async { Ok(()) }));
        assert!(
            message.starts_with("the task group (fetch, opened at "),
            "{message}"
        );
    });
}

/// Case 240. A run inside a run is refused where it is called, however it is called.
#[test]
fn a_run_inside_a_run_is_refused_at_the_caller() {
    in_run(|| async {
        let nested = "`run` was called inside another `run`, or by one of its tasks, and would \
                      block a thread that others wait for; `.await` the future instead, in a group \
                      if it is to be joined";
        refused_here(nested, || run(async {}));
        refused_here(nested, || Runtime::builder().threads(1).run(async {}));
    });
}

/// What the tests of the environment run in a process of its own.
#[test]
fn child_of_the_environment_tests() {
    if std::env::var_os("HEADCOUNT_TEST_CHILD").is_some() {
        let place = Location::caller().line() + 1;
        let seven = run(group(async |g| Ok(g.spawn(async { Ok(7) }).await?)));
        assert_eq!(seven.unwrap(), 7);
        eprintln!("it ran, at line {place}");
    }
}

/// Runs the test above with a certain number of threads. Returns whether it passed, and its output.
fn with_threads(threads: &str) -> (bool, String) {
    let output = Command::new(std::env::current_exe().expect("this is a program"))
        .args(["--exact", "child_of_the_environment_tests", "--nocapture"])
        .env("HEADCOUNT_TEST_CHILD", "1")
        .env("HEADCOUNT_THREADS", threads)
        .env("RUST_BACKTRACE", "0")
        .output()
        .expect("the program starts");
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// A number of threads in the environment is obeyed; anything else is refused, by a panic that says
/// what was found and comes from the call of `run`.
#[test]
fn the_number_of_threads_in_the_environment_is_checked() {
    watched("in other processes", || {
        for sound in ["1", "3"] {
            let (passed, output) = with_threads(sound);
            assert!(passed && output.contains("it ran"), "{sound}: {output}");
        }
        for bad in ["abc", "0", "-1", "1.5", "", " "] {
            let (passed, output) = with_threads(bad);
            assert!(!passed && !output.contains("it ran"), "{bad:?}: {output}");
            assert!(output.contains("HEADCOUNT_THREADS"), "{bad:?}: {output}");
            assert!(output.contains("tests/misuse.rs"), "{bad:?}: {output}");
            if !bad.trim().is_empty() {
                assert!(output.contains(bad), "{bad:?}: {output}");
            }
        }
    });
}

/// Case 160. A task that awaits its own handle gets an error: from inside itself, that task has
/// failed to have a value.
#[test]
fn awaiting_ones_own_task_is_an_error() {
    everywhere(|| async {
        let handle: Arc<Mutex<Option<Task<()>>>> = Arc::default();
        let gate = Gate::default();
        group(async |g| {
            let (mine, at) = (Arc::clone(&handle), gate.clone());
            let task = g.spawn(async move {
                at.wait().await;
                let mut me = mine.lock().unwrap().take().unwrap();
                assert_eq!((&mut me).await, Err(Aborted::Failed));
                Ok(())
            });
            *handle.lock().unwrap() = Some(task);
            gate.open();
            Ok(())
        })
        .await
        .unwrap();
    });
}

type Joined = Pin<Box<dyn Future<Output = Result<(), headcount::ErrorGroup>> + Send>>;

/// Case 160. A group that is awaited by one of its own tasks panics there, and that panic is told;
/// nothing hangs.
#[test]
fn joining_a_group_from_inside_itself_panics() {
    on_threads(|| async {
        let (place, gate): (Arc<Mutex<Option<Joined>>>, _) = (Arc::default(), Gate::default());
        let failed = group(async |_around| {
            let (mine, at) = (Arc::clone(&place), gate.clone());
            let mut itself: Joined = Box::pin(group(async move |g| {
                g.spawn(async move {
                    at.wait().await;
                    let itself = mine.lock().expect("it does not panic").take();
                    itself.expect("it is there").await?;
                    Ok(())
                });
                for_ever().await
            }));
            assert!(poll_once(&mut itself).await.is_none());
            *place.lock().unwrap() = Some(itself);
            gate.open();
            // Cut by the panic, which this group is told of.
            for_ever().await
        })
        .await
        .unwrap_err();
        let told = leaves_of(&failed);
        assert_eq!(
            told,
            [
                "panic: a task group was awaited from inside itself, by one of its own tasks, and would \
              wait for ever; await it where it was opened"
            ]
        );
    });
}

/// A handle that is awaited again after it has given its value is refused.
#[test]
fn awaiting_a_handle_twice_is_refused() {
    watched("by hand", || {
        let cx = &mut Context::from_waker(Waker::noop());
        for local in [false, true] {
            let both = group(async |g| {
                let seven = async { Ok(7) };
                Ok(if local {
                    g.spawn_local(seven)
                } else {
                    g.spawn(seven)
                })
            });
            let mut task = futures_lite::future::block_on(both).unwrap();
            assert!(matches!(Pin::new(&mut task).poll(cx), Poll::Ready(Ok(7))));
            let (message, ..) = refusal(|| Pin::new(&mut task).poll(cx).is_ready());
            assert!(!message.is_empty(), "local: {local}");
        }
    });
}

/// A group that is polled again after it was done is refused.
#[test]
fn polling_a_group_that_is_done_is_refused() {
    watched("by hand", || {
        let cx = &mut Context::from_waker(Waker::noop());
        let mut joined = pin!(group(async |_g| Ok(7)));
        assert!(matches!(joined.as_mut().poll(cx), Poll::Ready(Ok(7))));
        let (message, ..) = refusal(|| joined.as_mut().poll(cx).is_ready());
        assert!(!message.is_empty());
    });
}

/// Durations that no clock can reach mean never; nothing overflows.
#[test]
fn the_longest_duration_means_never() {
    everywhere(|| async {
        for forever in [Duration::MAX, Duration::from_secs(u64::MAX / 2)] {
            assert_eq!(timeout(forever, async { 7 }).await, Ok(7));
            assert!(timeout(Duration::ZERO, sleep(forever)).await.is_err());
            let scope = CancelScope::new().timeout(forever);
            assert_eq!(
                scope.run(async { headcount::deadline() }).await.unwrap(),
                None
            );
            assert!(
                timeout(Duration::ZERO, interval(forever).tick())
                    .await
                    .is_err()
            );
            // An earlier deadline around it counts all the same.
            let nested = timeout(Duration::ZERO, timeout(forever, pending::<()>()));
            assert!(nested.await.is_err());
        }
    });
}

/// A deadline in the past lets the body have one poll, and what is ready then counts.
#[test]
fn a_deadline_in_the_past_is_a_deadline() {
    everywhere(|| async {
        let past = now()
            .checked_sub(Duration::from_secs(1))
            .unwrap_or_else(now);
        assert_eq!(timeout_at(past, async { 7 }).await, Ok(7));
        assert!(timeout_at(past, pending::<()>()).await.is_err());
        assert_eq!(
            CancelScope::new()
                .deadline(past)
                .run(async { 7 })
                .await
                .unwrap(),
            7
        );
        let cut = CancelScope::new().deadline(past).run(pending::<()>()).await;
        assert!(cut.unwrap_err().is_deadline());
        headcount::sleep_until(past).await;

        let census = Census::default();
        let late = group(async |g| {
            let value = census.enter();
            g.spawn(async move {
                let _value = value;
                for_ever().await
            });
            g.scope().set_deadline(Some(past));
            for_ever().await
        });
        let late = late.await.unwrap_err();
        assert!(late.is_cancelled() && late.is_empty());
        assert_eq!(census.alive(), 0);
    });
}

/// A `Ready` that is dropped unsent: the caller is told, the task is cancelled.
#[test]
fn a_ready_that_is_dropped_is_told_to_the_caller() {
    everywhere(|| async {
        group(async |g| {
            let never = g.start(|ready: Ready<u16>| async move {
                drop(ready);
                for_ever().await
            });
            assert!(matches!(never.await, Err(StartError::NotReady)));
            Ok(())
        })
        .await
        .unwrap();
    });
}

/// A `Ready` that is sent when nobody waits any more: the value is dropped, nothing panics, and the
/// task goes no further than its next wait.
#[test]
fn a_ready_sent_after_the_start_was_cancelled_is_dropped() {
    everywhere(|| async {
        for foreign_drop in [false, true] {
            let (begun, cut, log) = (Gate::default(), Gate::default(), Log::default());
            let census = Census::default();
            group(async |g| {
                let (started, at, to, value) =
                    (begun.clone(), cut.clone(), log.clone(), census.enter());
                let start = g.start(|ready: Ready<common::Counted>| async move {
                    shield(async {
                        started.open();
                        at.wait().await;
                        ready.send(value);
                        to.say("sent");
                    })
                    .await;
                    finally(for_ever(), async { to.say("cleaned up") }).await
                });
                let scope = CancelScope::new();
                let handle = scope.handle();
                {
                    let mut start = pin!(scope.run(start));
                    while !begun.is_open() {
                        assert!(poll_once(start.as_mut()).await.is_none());
                        let_others_run().await;
                    }
                    if !foreign_drop {
                        handle.cancel();
                        assert!(
                            poll_once(start.as_mut()).await.is_none(),
                            "the shield holds"
                        );
                        cut.open();
                        let outcome = start.await.map(|started| started.map(drop));
                        assert!(outcome.is_err(), "{outcome:?}");
                    }
                }
                cut.open();
                assert!(!g.is_cancelled());
                Ok(())
            })
            .await
            .unwrap();
            assert_eq!(census.alive(), 0);
            assert_eq!(log.entries()[0], "sent");
        }
    });
}
