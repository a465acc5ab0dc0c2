//! Calls that block their thread: they run on threads of their own, hold a cut back while they run,
//! and know their caller's scope.

#[path = "common/calls.rs"]
mod calls;
mod common;

use std::{
    any::Any,
    cell::Cell,
    fmt,
    future::{Future, pending},
    panic::{AssertUnwindSafe, Location, panic_any},
    pin::pin,
    process::Command,
    sync::{
        Arc, Barrier, Condvar, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll},
    thread,
    time::Duration,
};

use calls::{Calls, Latch, Meeting, wait_until};
use common::{
    Census, CountWakes, Gate, Log, everywhere, for_ever, in_run, keep_quiet_about_purpose,
    leaves_of, let_others_run, message_of, on_threads, panic_text, watched,
};
use futures::FutureExt as _;
use futures_lite::future::{or, yield_now, zip};
use headcount::{
    Aborted, CancelScope, Error, FailureKind, Policy, Runtime, TaskGroup, Unblock, checkpoint,
    deadline, finally, gather, group, is_cancelled, local, now, policies, run, shield,
    sync::{Limiter, Semaphore},
    time_left, timeout, unblock,
};

local! {
    /// Who is asking.
    static NAME: &'static str;
    static SHARED: Arc<common::Counted>;
}

const HOUR: Duration = Duration::from_secs(3600);

/// A call that runs from when it opens the gate until the latch is opened, and yields 7.
fn held(begun: &Gate, release: &Latch) -> impl FnOnce() -> i32 + Send + use<> {
    let (begun, release) = (begun.clone(), release.clone());
    move || {
        begun.open();
        release.wait();
        7
    }
}

// Where calls run.

/// More calls than there are workers, all blocked by what only a task can do.
#[test]
fn calls_keep_no_thread_from_the_tasks() {
    on_threads(|| async {
        group(async |g| {
            let (all_there, release) = (Meeting::of(9), Latch::default());
            for _ in 0..8 {
                let (all_there, release) = (all_there.clone(), release.clone());
                g.spawn_blocking(move || {
                    all_there.attend();
                    release.wait();
                    Ok(())
                });
            }
            // The ninth: from then on all of them wait for the task.
            unblock(move || all_there.attend()).await;
            g.spawn(async move {
                checkpoint().await;
                release.open();
                Ok(())
            });
            Ok(())
        })
        .await
        .unwrap();
    });
}

#[test]
fn two_calls_of_one_task_run_at_the_same_time() {
    on_threads(|| async {
        let meeting = Arc::new(Barrier::new(2));
        let call = || {
            let meeting = Arc::clone(&meeting);
            unblock(move || Ok::<_, Error>(meeting.wait().is_leader()))
        };
        let (one, other) = gather((call(), call())).await.unwrap();
        assert!(one != other);
        let (one, other) = zip(call(), call()).await;
        assert!(one.unwrap() != other.unwrap());
    });
}

#[test]
fn as_many_calls_run_as_wait_for_each_other() {
    on_threads(|| async {
        let (meeting, calls) = (Meeting::of(64), Calls::default());
        group(async |g| {
            for _ in 0..64 {
                let (meeting, calls) = (meeting.clone(), calls.clone());
                g.spawn_blocking(move || {
                    let _running = calls.begin();
                    meeting.attend();
                    Ok(())
                });
            }
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!((calls.begun(), calls.ended()), (64, 64));
    });
}

/// Each call waits until the one that was spawned after it has had its turn.
#[test]
fn calls_take_turns_with_the_locks_of_threads() {
    on_threads(|| async {
        let turn = Arc::new((Mutex::new(0), Condvar::new()));
        let order = Log::default();
        group(async |g| {
            for number in (0..32).rev() {
                let (turn, order) = (Arc::clone(&turn), order.clone());
                g.spawn_blocking(move || {
                    let (whose, changed) = &*turn;
                    let guard = whose.lock().expect("no panic");
                    let waited =
                        changed.wait_timeout_while(guard, Duration::from_secs(30), |whose| {
                            *whose != number
                        });
                    let (mut whose, _) = waited.expect("no panic");
                    assert_eq!(*whose, number, "it has waited for ever");
                    *whose += 1;
                    order.say(number.to_string());
                    drop(whose);
                    changed.notify_all();
                    Ok(())
                });
            }
            Ok(())
        })
        .await
        .unwrap();
        let expected: Vec<_> = (0..32).map(|number| number.to_string()).collect();
        assert_eq!(order.entries(), expected);
    });
}

/// After so many calls that take no time it is tempting to run all of them on one thread.
#[test]
fn a_call_that_waits_for_a_later_one_is_helped_after_many_short_ones() {
    const SHORT: usize = 3000;

    on_threads(|| async {
        let calls = Calls::default();
        let brief = || {
            let calls = calls.clone();
            move || drop(calls.begin())
        };
        for _ in 0..SHORT {
            unblock(brief()).await;
        }
        group(async |g| {
            // In the queue all at once, and one of them waits for the last.
            let last = Latch::default();
            for number in 0..SHORT {
                let (brief, last) = (brief(), last.clone());
                g.spawn_blocking(move || {
                    brief();
                    if number == SHORT / 2 {
                        last.wait();
                    }
                    Ok(())
                });
            }
            g.spawn_blocking(move || {
                last.open();
                Ok(())
            });
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(calls.ended(), 2 * SHORT);

        // One that runs alone, and nothing is in the queue until it waits.
        let (begun, release) = (Gate::default(), Latch::default());
        let second = async {
            begun.wait().await;
            let releases = release.clone();
            unblock(move || releases.open()).await;
        };
        zip(unblock(held(&begun, &release)), second).await;
    });
}

/// Each call waits for one that it makes itself.
#[test]
fn a_call_may_wait_for_a_call() {
    fn depth(left: u32) -> u32 {
        match left {
            0 => 0,
            _ => 1 + smol::block_on(unblock(move || depth(left - 1))),
        }
    }

    on_threads(|| async {
        assert_eq!(unblock(|| depth(20)).await, 20);
    });
}

/// What a test below runs in a process of its own, where nobody else needs a thread.
#[test]
fn child_that_needs_all_threads() {
    if std::env::var_os("HEADCOUNT_TEST_THREADS").is_none() {
        return;
    }
    let (calls, census, release) = (Calls::default(), Census::default(), Latch::default());
    watched("with all threads", || {
        Runtime::builder().threads(1).run(async {
            group(async |g| {
                for _ in 0..600 {
                    let (calls, release) = (calls.clone(), release.clone());
                    g.spawn_blocking(move || {
                        let _running = calls.begin();
                        release.wait();
                        Ok(())
                    });
                }
                common::until(|| calls.now() == 512).await;

                // Whoever is in the queue now waits there, and is cancelled at once.
                let scope = CancelScope::new();
                let (handle, value, begun) = (scope.handle(), census.enter(), calls.clone());
                let queued = unblock(move || {
                    let _value = value;
                    drop(begun.begin());
                });
                let cut = zip(scope.run(queued), async {
                    let_others_run().await;
                    handle.cancel();
                });
                assert!(cut.await.0.is_err());
                assert_eq!(census.alive(), 0, "what the call owns is dropped with it");

                // Case 15, for one that is a task.
                let (value, begun) = (census.enter(), calls.clone());
                let task = g.spawn_blocking(move || {
                    let _value = value;
                    drop(begun.begin());
                    Ok(())
                });
                let_others_run().await;
                task.cancel();
                assert_eq!(task.await, Err(Aborted::Cancelled));
                assert_eq!(census.alive(), 0);

                // Whoever is dropped there is gone.
                let (value, begun) = (census.enter(), calls.clone());
                let mut queued = Box::pin(unblock(move || {
                    let _value = value;
                    drop(begun.begin());
                }));
                assert!(futures_lite::future::poll_once(&mut queued).await.is_none());
                drop(queued);

                release.open();
                Ok(())
            })
            .await
            .unwrap();
        });
    });
    assert_eq!((calls.begun(), calls.ended()), (600, 600));
    assert_eq!((calls.most(), census.alive()), (512, 0));
    eprintln!("all threads were there");
}

/// Runs one of the tests of this file in a process of its own. Returns whether it passed, and what it
/// said.
fn in_a_process(test: &str, variables: &[(&str, &str)]) -> (bool, String) {
    let output = Command::new(std::env::current_exe().expect("this is a program"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .envs(variables.iter().copied())
        .env("RUST_BACKTRACE", "0")
        .output()
        .expect("the program starts");
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// Case 194. There are at most 512 threads; who waits for one is cancelled without it, or dropped,
/// and never begins.
#[test]
fn a_call_that_waits_for_a_thread_is_cancelled_there() {
    watched("in another process", || {
        let (passed, said) = in_a_process(
            "child_that_needs_all_threads",
            &[("HEADCOUNT_TEST_THREADS", "1")],
        );
        assert!(passed && said.contains("all threads were there"), "{said}");
    });
}

// Beginning.

#[test]
fn nothing_happens_before_the_first_poll() {
    everywhere(|| async {
        let (census, calls) = (Census::default(), Calls::default());
        let (value, begins) = (census.enter(), calls.clone());
        let unpolled = unblock(move || {
            let _value = value;
            drop(begins.begin());
        });
        // One that would come after it, had it been handed over.
        unblock(|| ()).await;
        assert_eq!((calls.begun(), census.alive()), (0, 1));
        drop(unpolled);
        assert_eq!(census.alive(), 0);
        unblock(|| ()).await;
        assert_eq!(calls.begun(), 0);
    });
}

/// Case 194. The scope is cancelled before the first poll.
#[test]
fn a_call_in_a_cancelled_scope_never_begins() {
    everywhere(|| async {
        let (census, calls) = (Census::default(), Calls::default());
        let make = || {
            let (value, begins) = (census.enter(), calls.clone());
            unblock(move || {
                let _value = value;
                drop(begins.begin());
            })
        };
        let scope = CancelScope::new();
        scope.handle().cancel();
        assert!(scope.run(make()).await.is_err());
        assert_eq!(census.alive(), 0);

        let cut = group(async |g| {
            g.cancel();
            make().await;
            Ok(())
        });
        assert!(cut.await.unwrap_err().is_cancelled());
        assert_eq!(census.alive(), 0);

        let cut = group(async |g| {
            let (value, begins) = (census.enter(), calls.clone());
            g.cancel();
            let task = g.spawn_blocking(move || {
                let _value = value;
                drop(begins.begin());
                Ok(())
            });
            assert_eq!(shield(task).await, Err(Aborted::Cancelled));
            Ok(())
        });
        drop(cut.await);
        assert_eq!((census.entered(), census.alive()), (3, 0));
        unblock(|| ()).await;
        assert_eq!(calls.begun(), 0);
    });
}

/// In a cleanup, and in a shield, it begins all the same.
#[test]
fn a_protected_call_in_a_cancelled_scope_begins() {
    everywhere(|| async {
        let log = Log::default();
        let scope = CancelScope::new();
        let handle = scope.handle();
        let cut = scope.run(finally(
            async {
                handle.cancel();
                shield(async {
                    let told = log.clone();
                    unblock(move || told.say("shielded")).await;
                })
                .await;
                pending::<()>().await;
            },
            async {
                let told = log.clone();
                unblock(move || told.say("in the cleanup")).await;
            },
        ));
        assert!(cut.await.is_err());
        assert_eq!(log.entries(), ["shielded", "in the cleanup"]);
    });
}

/// What has not begun has lost nothing.
#[test]
fn a_wait_that_leaves_a_cancelled_scope_begins() {
    everywhere(|| async {
        let mut seven = pin!(unblock(|| 7));
        let scope = CancelScope::new();
        scope.handle().cancel();
        assert!(scope.run(seven.as_mut()).await.is_err());
        assert_eq!(seven.await, 7);
    });
}

// Cancellation while the call runs.

/// Case 191. The cut is held back until the call has returned; its value is there, and the code goes
/// on to its next wait.
#[test]
fn a_call_that_runs_holds_the_cut_back() {
    on_threads(|| async {
        let (log, begun, release) = (Log::default(), Gate::default(), Latch::default());
        let scope = CancelScope::new();
        let handle = scope.handle();
        let caller = scope.run(async {
            let value = unblock(held(&begun, &release)).await;
            log.say(format!("got {value}"));
            checkpoint().await;
            log.say("never");
        });
        let canceller = async {
            begun.wait().await;
            handle.cancel();
            let_others_run().await;
            log.say("cancelled");
            release.open();
        };
        let (outcome, ()) = zip(caller, canceller).await;
        assert!(outcome.is_err());
        assert_eq!(log.entries(), ["cancelled", "got 7"]);
    });
}

/// Case 191. The same for every kind of cancellation, of a caller that is a task.
#[test]
fn a_call_holds_every_kind_of_cut_back() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum By {
        Task,
        Group,
        Deadline,
        Sibling,
        FurtherOut,
    }

    on_threads(|| async {
        for by in [
            By::Task,
            By::Group,
            By::Deadline,
            By::Sibling,
            By::FurtherOut,
        ] {
            let (log, calls) = (Log::default(), Calls::default());
            let outer = CancelScope::new();
            let outer_handle = outer.handle();
            let _outcome = outer
                .run(group(async |g| {
                    let (begun, release) = (Gate::default(), Latch::default());
                    let task = g.spawn({
                        let (log, call, calls) =
                            (log.clone(), held(&begun, &release), calls.clone());
                        async move {
                            let counted = move || {
                                let _running = calls.begin();
                                call()
                            };
                            log.say(format!("got {}", unblock(counted).await));
                            checkpoint().await;
                            log.say("never");
                            Ok(())
                        }
                    });
                    begun.wait().await;
                    match by {
                        By::Task => task.cancel(),
                        By::Group => g.cancel(),
                        By::Deadline => g.scope().set_deadline(Some(now())),
                        By::Sibling => drop(g.spawn(async { Err::<(), _>("real".into()) })),
                        By::FurtherOut => outer_handle.cancel(),
                    }
                    shield(async {
                        if by != By::Task {
                            common::until(|| g.is_cancelled()).await;
                        }
                        let_others_run().await;
                        assert!(!task.is_finished(), "{by:?}");
                        assert_eq!(calls.now(), 1, "{by:?}");
                        release.open();
                    })
                    .await;
                    Ok(())
                }))
                .await;
            assert_eq!(calls.ended(), 1, "{by:?}");
            assert_eq!(log.entries(), ["got 7"], "{by:?}");
        }
    });
}

/// Law 7. As with a shield: the value comes too late for its scope, and counts if nothing is waited
/// for after it.
#[test]
fn a_value_that_comes_late_counts() {
    on_threads(|| async {
        for by_deadline in [false, true] {
            let (begun, release) = (Gate::default(), Latch::default());
            let scope = CancelScope::new();
            let handle = scope.handle();
            let cut = || {
                if by_deadline {
                    handle.set_deadline(Some(now()));
                } else {
                    handle.cancel();
                }
            };
            let canceller = async {
                begun.wait().await;
                cut();
                let_others_run().await;
                release.open();
            };
            let (outcome, ()) = zip(scope.run(unblock(held(&begun, &release))), canceller).await;
            assert_eq!(outcome.unwrap(), 7, "by deadline: {by_deadline}");

            // What is asked of it is what a shield does.
            let scope = CancelScope::new();
            let handle = scope.handle();
            let shielded = shield(async {
                if by_deadline {
                    handle.set_deadline(Some(now()));
                } else {
                    handle.cancel();
                }
                let_others_run().await;
                7
            });
            assert_eq!(scope.run(shielded).await.unwrap(), 7);
        }
    });
}

/// Law 7. The same of a timeout.
#[test]
fn a_timeout_that_is_outlasted_yields_the_value() {
    on_threads(|| async {
        for limit in [1, 10, 100, 1000, 10_000] {
            let calls = Calls::default();
            let begins = calls.clone();
            let call = move || {
                let _running = begins.begin();
                wait_until(is_cancelled);
                7
            };
            let outcome = timeout(Duration::from_millis(limit), unblock(call)).await;
            assert_eq!(calls.begun(), calls.ended());
            if calls.begun() == 1 {
                assert_eq!(outcome, Ok(7));
                return;
            }
            // The time was up before it was begun.
            assert!(outcome.is_err());
        }
        panic!("a thread takes ten seconds to begin");
    });
}

/// Case 191, law 1. A cancelled group waits for the call, and what the call owns is gone with it.
#[test]
fn a_cancelled_group_waits_for_its_calls() {
    on_threads(|| async {
        let (census, log) = (Census::default(), Log::default());
        let (begun, release) = (Gate::default(), Latch::default());
        let scope = CancelScope::new();
        let handle = scope.handle();
        let running = async {
            let outcome = scope
                .run(group(async |g| {
                    let (value, call, told) = (census.enter(), held(&begun, &release), log.clone());
                    g.spawn_blocking(move || {
                        let _value = value;
                        call();
                        told.say("the call returns");
                        Ok(())
                    });
                    for_ever().await
                }))
                .await;
            log.say("the group returns");
            outcome
        };
        let canceller = async {
            begun.wait().await;
            handle.cancel();
            let_others_run().await;
            log.say("cancelled");
            release.open();
        };
        let (outcome, ()) = zip(running, canceller).await;
        assert!(outcome.is_err());
        assert_eq!(census.alive(), 0);
        assert_eq!(
            log.entries(),
            ["cancelled", "the call returns", "the group returns"]
        );
    });
}

/// Two calls in a row with no wait between them both run: the second is under the cut, and does not.
#[test]
fn the_next_call_of_a_cancelled_caller_never_begins() {
    on_threads(|| async {
        let (log, begun, release) = (Log::default(), Gate::default(), Latch::default());
        let scope = CancelScope::new();
        let handle = scope.handle();
        let caller = scope.run(async {
            unblock(held(&begun, &release)).await;
            log.say("first");
            let told = log.clone();
            unblock(move || told.say("second")).await;
        });
        let canceller = async {
            begun.wait().await;
            handle.cancel();
            release.open();
        };
        assert!(zip(caller, canceller).await.0.is_err());
        unblock(|| ()).await;
        assert_eq!(log.entries(), ["first"]);
    });
}

// What the call knows of its caller.

/// Case 197. From the inside, whoever cancels: a call may do that itself.
#[test]
fn a_call_knows_when_its_scope_is_cancelled() {
    everywhere(|| async {
        for depth in 0..2 {
            let (outer, inner) = (CancelScope::new(), CancelScope::new());
            let handles = [outer.handle(), inner.handle()];
            let told = outer.run(inner.run(unblock(move || {
                let before = is_cancelled();
                handles[depth].cancel();
                (before, is_cancelled())
            })));
            let told = told.await.unwrap().unwrap();
            assert_eq!(told, (false, true), "scope {depth}");
        }
    });
}

/// Case 197. Every kind of cancellation is seen in the call of a task.
#[test]
fn a_call_is_told_of_every_kind_of_cancellation() {
    on_threads(|| async {
        for by in 0..5 {
            let begun = Gate::default();
            let outer = CancelScope::new();
            let outer_handle = outer.handle();
            let seen = Arc::new(AtomicBool::new(false));
            let _outcome = outer
                .run(group(async |g| {
                    let (at, was_seen) = (begun.clone(), Arc::clone(&seen));
                    let task = g.spawn_blocking(move || {
                        assert!(!is_cancelled());
                        at.open();
                        wait_until(is_cancelled);
                        was_seen.store(true, Ordering::SeqCst);
                        Ok(())
                    });
                    begun.wait().await;
                    match by {
                        0 => task.cancel(),
                        1 => g.cancel(),
                        2 => g.scope().set_deadline(Some(now())),
                        3 => drop(g.spawn(async { Err::<(), _>("real".into()) })),
                        _ => outer_handle.cancel(),
                    }
                    shield(task).await.ok();
                    Ok(())
                }))
                .await;
            assert!(seen.load(Ordering::SeqCst), "cancelled by {by}");
        }
    });
}

/// Case 197. A shield round the caller hides what is further out, and not what is inside.
#[test]
fn a_call_sees_out_to_the_nearest_shield() {
    everywhere(|| async {
        let (outer, inner) = (CancelScope::new(), CancelScope::new());
        let handles = (outer.handle(), inner.handle());
        let told = outer.run(shield(inner.run(unblock(move || {
            handles.0.cancel();
            let by_outer = is_cancelled();
            handles.1.cancel();
            (by_outer, is_cancelled())
        }))));
        assert_eq!(told.await.unwrap().unwrap(), (false, true));
    });
}

/// The waiting for a call is shielded; the call is not, and a neighbour's cancellation is not its own.
#[test]
fn a_call_is_not_told_of_its_neighbours_cancellation() {
    on_threads(|| async {
        let (begun, release) = (Gate::default(), Latch::default());
        let scope = CancelScope::new();
        let handle = scope.handle();
        let call = held(&begun, &release);
        let neighbour = unblock(move || {
            call();
            is_cancelled()
        });
        let cancelled = async {
            begun.wait().await;
            let told = scope.run(unblock(move || {
                handle.cancel();
                release.open();
                is_cancelled()
            }));
            told.await.unwrap()
        };
        assert_eq!(zip(neighbour, cancelled).await, (false, true));
    });
}

/// A thread keeps nothing of the calls that it has run, and other threads are under no scope.
#[test]
fn threads_are_under_no_scope_but_that_of_their_call() {
    on_threads(|| async {
        for _ in 0..20 {
            let scope = CancelScope::new();
            let handle = scope.handle();
            let told = scope
                .run(unblock(move || {
                    handle.cancel();
                    let foreign = thread::spawn(|| (is_cancelled(), deadline()));
                    (is_cancelled(), foreign.join().expect("no panic"))
                }))
                .await;
            assert_eq!(told.unwrap(), (true, (false, None)));
            assert!(!unblock(is_cancelled).await);
        }
        assert!(!thread::spawn(is_cancelled).join().unwrap());
        assert!(!smol::unblock(is_cancelled).await);
    });
}

#[test]
fn a_call_knows_its_callers_deadline() {
    everywhere(|| async {
        let ask = || (deadline(), time_left().is_some());
        assert_eq!(unblock(ask).await, (None, false));
        let asked = timeout(HOUR, async {
            let own = deadline();
            assert!(own.is_some());
            assert_eq!(unblock(ask).await, (own, true));
            assert_eq!(shield(unblock(ask)).await, (None, false));
            let nearer = timeout(HOUR / 2, async { (deadline(), unblock(ask).await) });
            let (nearer, told) = nearer.await.unwrap();
            assert!(nearer < own);
            assert_eq!(told, (nearer, true));
            // One further out counts, if it is earlier.
            assert_eq!(timeout(2 * HOUR, unblock(ask)).await, Ok((own, true)));
            let of_a_task = group(async |g| Ok(g.spawn_blocking(move || Ok(ask())).await?));
            assert_eq!(of_a_task.await.unwrap(), (own, true));
        });
        asked.await.unwrap();
        assert_eq!(unblock(ask).await, (None, false));
    });
}

#[test]
fn a_call_knows_when_its_callers_deadline_is_moved() {
    everywhere(|| async {
        let scope = CancelScope::new().timeout(HOUR);
        let handle = scope.handle();
        let later = now() + 2 * HOUR;
        let told = scope.run(unblock(move || {
            let before = deadline();
            handle.set_deadline(Some(later));
            (before.is_some(), deadline())
        }));
        assert_eq!(told.await.unwrap(), (true, Some(later)));
    });
}

/// Case 248. A call has the values of its caller, and leaves none of its own.
#[test]
fn a_call_has_the_values_of_its_caller() {
    everywhere(|| async {
        assert_eq!(unblock(|| NAME.get()).await, None);
        NAME.bind("caller", async {
            let told = unblock(|| {
                let inside = NAME.bind_sync("the call", || NAME.get());
                (NAME.get(), inside)
            });
            assert_eq!(told.await, (Some("caller"), Some("the call")));
            let told = group(async |g| {
                let task = g.spawn_blocking(|| Ok(NAME.get()));
                Ok(NAME.bind("later", task).await?)
            });
            assert_eq!(told.await.unwrap(), Some("caller"));
        })
        .await;
        assert_eq!(unblock(|| NAME.get()).await, None);
    });
}

/// Case 250. No thread keeps the values of a call that is over.
#[test]
fn the_values_of_a_call_are_freed_with_those_of_its_caller() {
    everywhere(|| async {
        let census = Census::default();
        let value = Arc::new(census.enter());
        SHARED
            .bind(value, async {
                assert!(unblock(|| SHARED.get().is_some()).await);
                group(async |g| {
                    g.spawn_blocking(|| Ok(()));
                    Ok(())
                })
                .await
                .unwrap();
            })
            .await;
        assert_eq!(census.alive(), 0);
    });
}

// Ends: values, errors, panics.

#[test]
fn a_call_spawned_into_a_group_is_a_task_of_it() {
    everywhere(|| async {
        group(async |g| {
            let place = Location::caller().line() + 1;
            let seven = g.spawn_blocking(|| Ok(7));
            assert_eq!(seven.info().location().line(), place);
            assert_eq!(seven.info().location().file(), "tests/blocking.rs");
            assert_eq!(seven.name(), None);
            let spawner = g.spawner();
            let place = Location::caller().line() + 1;
            let eight = spawner.spawn_blocking(|| Ok(8));
            assert_eq!(eight.info().location().line(), place);
            let nine = g.spawn_named("nine", unblock(|| Ok(9)));
            assert_eq!(nine.name(), Some("nine"));
            assert_eq!((seven.await?, eight.await?, nine.await?), (7, 8, 9));
            // One that nobody waits for belongs to the group.
            g.spawn_blocking(|| Ok(()));
            Ok(())
        })
        .await
        .unwrap();
    });
}

#[test]
fn calls_are_children_of_a_joining_group() {
    everywhere(|| async {
        let all = TaskGroup::builder()
            .join(policies::values(Policy::FailFast))
            .run(async |g| {
                for number in 0..5 {
                    g.spawn_blocking(move || Ok(number));
                }
                Ok(())
            });
        assert_eq!(all.await.unwrap(), [0, 1, 2, 3, 4]);

        let line = AtomicUsize::new(0);
        let failed = TaskGroup::builder()
            .join(policies::values::<u32, _>(Policy::FailFast))
            .run(async |g| {
                line.store(Location::caller().line() as usize + 1, Ordering::SeqCst);
                g.spawn_blocking(|| Err("no such file".into()));
                Ok(())
            });
        let failed = failed.await.unwrap_err();
        assert_eq!(leaves_of(&failed), ["no such file"]);
        let place = failed.first().unwrap().task().location();
        assert_eq!(place.line() as usize, line.load(Ordering::SeqCst));
    });
}

/// A group that has returned takes no calls; one that was cancelled drops them.
#[test]
fn a_closed_group_takes_no_calls() {
    watched("by hand", || {
        keep_quiet_about_purpose();
        let census = Census::default();
        let spawner = run(group(async |g| Ok(g.spawner()))).unwrap();
        let value = census.enter();
        let message = message_of(|| {
            spawner.spawn_blocking(move || {
                drop(value);
                Ok(())
            })
        });
        assert!(
            message.contains("has returned and takes no more tasks"),
            "{message}"
        );
        assert_eq!(census.alive(), 0);
    });
}

/// Law 3. An error of a spawned call is a failure of its task.
#[test]
fn an_error_of_a_call_is_a_failure_of_its_task() {
    everywhere(|| async {
        let failed = group(async |g| {
            let task = g.spawn_blocking(|| Err::<(), _>("no such file".into()));
            assert_eq!(shield(task).await, Err(Aborted::Failed));
            Ok(())
        });
        assert_eq!(leaves_of(&failed.await.unwrap_err()), ["no such file"]);
    });
}

/// Case 50. A panic goes on where the call is waited for: in a task it is one failure, with the place
/// of the spawn.
#[test]
fn a_panic_of_a_call_is_a_failure_of_its_task() {
    keep_quiet_about_purpose();
    everywhere(|| async {
        let line = AtomicUsize::new(0);
        let failed = group(async |g| {
            line.store(Location::caller().line() as usize + 1, Ordering::SeqCst);
            g.spawn_blocking(|| {
                if true {
                    panic!("on purpose: a call")
                } else {
                    Ok(())
                }
            });
            for_ever().await
        });
        let failed = failed.await.unwrap_err();
        assert_eq!(leaves_of(&failed), ["panic: on purpose: a call"]);
        let failure = failed.first().unwrap();
        assert!(matches!(failure.kind(), FailureKind::Panic(_)));
        let place = failure.task().location();
        assert_eq!(place.file(), "tests/blocking.rs");
        assert_eq!(place.line() as usize, line.load(Ordering::SeqCst));

        let failed = group(async |g| {
            let call = unblock(|| {
                if true {
                    panic!("on purpose: a call")
                } else {
                    Ok(())
                }
            });
            g.spawn_named("copy", call);
            Ok(())
        });
        let failed = failed.await.unwrap_err();
        assert_eq!(failed.first().unwrap().task().name(), Some("copy"));
    });
}

/// The panic is the one that the call had, and the thread is as good as before.
#[test]
fn a_panic_of_a_call_goes_on_from_the_wait() {
    keep_quiet_about_purpose();
    everywhere(|| async {
        for _ in 0..3 {
            let call = unblock(|| panic!("on purpose: number {}", 7));
            let panic = AssertUnwindSafe(call).catch_unwind().await;
            let panic: Box<dyn Any + Send> = panic.map(|()| "no panic").unwrap_err();
            assert_eq!(panic_text(&*panic), Some("on purpose: number 7"));
            assert_eq!(unblock(|| 7).await, 7);
        }
    });
}

/// Whatever the payload is.
#[test]
fn a_panic_of_a_call_keeps_its_payload() {
    struct Payload(u32);

    keep_quiet_about_purpose();
    watched("by hand", || {
        futures_lite::future::block_on(async {
            // `resume_unwind` does not bother the panic hook.
            let call = unblock(|| std::panic::resume_unwind(Box::new(Payload(7))));
            let panic = AssertUnwindSafe(call).catch_unwind().await;
            let panic: Box<dyn Any + Send> = panic.map(|()| "no panic").unwrap_err();
            assert_eq!(panic.downcast_ref::<Payload>().map(|it| it.0), Some(7));
            let call = unblock(|| panic_any(String::from("on purpose: owned")));
            let panic = AssertUnwindSafe(call).catch_unwind().await;
            let panic: Box<dyn Any + Send> = panic.map(|()| "no panic").unwrap_err();
            assert_eq!(panic_text(&*panic), Some("on purpose: owned"));
        });
    });
}

/// Law 3. A call that panics after its caller was cancelled has panicked.
#[test]
fn a_panic_after_the_cancellation_is_a_failure() {
    keep_quiet_about_purpose();
    on_threads(|| async {
        let begun = Gate::default();
        let failed = group(async |g| {
            let at = begun.clone();
            g.spawn_blocking(move || {
                at.open();
                wait_until(is_cancelled);
                if true {
                    panic!("on purpose: cancelled");
                }
                Ok(())
            });
            begun.wait().await;
            g.cancel();
            Ok(())
        });
        let failed = failed.await.unwrap_err();
        assert_eq!(leaves_of(&failed), ["panic: on purpose: cancelled"]);
    });
}

/// A value need be nothing but `Send`, and neither need what the call owns.
#[test]
fn a_value_need_only_be_sent() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }

    everywhere(|| async {
        let cell = Cell::new(3);
        let cell = is_send(unblock(move || {
            cell.set(cell.get() + 4);
            cell
        }))
        .await;
        assert_eq!(cell.get(), 7);
        let boxed = unblock(|| -> Box<dyn FnOnce() -> i32 + Send> { Box::new(|| 7) });
        let call = is_send(boxed).await;
        assert_eq!(call(), 7);
    });
}

/// Values that come back are dropped once, and where they are wanted.
#[test]
fn a_value_is_handed_over_once() {
    everywhere(|| async {
        let census = Census::default();
        let value = census.enter();
        let value = unblock(move || value).await;
        assert_eq!((census.entered(), census.alive()), (1, 1));
        drop(value);
        assert_eq!(census.alive(), 0);
    });
}

#[test]
fn the_future_says_what_it_is() {
    fn text(of: &impl fmt::Debug) -> String {
        format!("{of:?}")
    }

    let call: Unblock<i32> = unblock(|| 7);
    assert!(text(&call).contains("Unblock"), "{}", text(&call));
}

/// Each poll may come from somewhere else; the last one is told.
#[test]
fn the_last_waker_is_woken() {
    watched("by hand", || {
        let (begun, release) = (Gate::default(), Latch::default());
        let mut call = Box::pin(unblock(held(&begun, &release)));
        assert!(common::poll_once(call.as_mut()).is_pending());
        let elsewhere = thread::spawn(move || {
            // The call is polled first, and released after that.
            let opened = begun.wait().map(|()| release.open());
            smol::block_on(zip(call, opened)).0
        });
        assert_eq!(elsewhere.join().unwrap(), 7);
    });
}

/// A value that has come is not lost on who looks late.
#[test]
fn a_value_waits_for_its_poll() {
    on_threads(|| async {
        let ended = Latch::default();
        let told = ended.clone();
        let mut call = pin!(unblock(move || {
            told.open();
            7
        }));
        let (wakes, waker) = CountWakes::new();
        let polled = call.as_mut().poll(&mut Context::from_waker(&waker));
        if let Poll::Ready(value) = polled {
            assert_eq!(value, 7);
            return;
        }
        ended.wait();
        wait_until(|| wakes.count() > 0);
        assert_eq!(call.as_mut().now_or_never(), Some(7));
    });
}

#[test]
fn polling_a_call_that_is_done_is_refused() {
    watched("by hand", || {
        let mut call = pin!(unblock(|| 7));
        assert_eq!(smol::block_on(call.as_mut()), 7);
        let message = message_of(|| smol::block_on(call));
        assert!(message.contains("polled after it was done"), "{message}");
    });
}

// Permits and limits.

/// Case 193. A permit is held as long as the call runs, whoever is cancelled.
#[test]
fn a_permit_is_held_until_the_call_has_returned() {
    on_threads(|| async {
        let semaphore = Arc::new(Semaphore::new(1));
        let limiter = Limiter::new(1);
        let (begun, release) = (Gate::default(), Latch::default());
        group(async |g| {
            let holder = g.spawn({
                let (semaphore, limiter) = (Arc::clone(&semaphore), limiter.clone());
                let call = held(&begun, &release);
                async move {
                    let _permit = semaphore.acquire().await;
                    let _other = limiter.acquire().await;
                    unblock(call).await;
                    for_ever().await
                }
            });
            begun.wait().await;
            holder.cancel();
            let_others_run().await;
            assert!(semaphore.try_acquire().is_none());
            assert!(limiter.try_acquire().is_none());
            release.open();
            drop(semaphore.acquire().await);
            drop(limiter.acquire().await);
            assert_eq!(holder.await, Err(Aborted::Cancelled));
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!((semaphore.available(), limiter.in_use()), (1, 0));
    });
}

/// Case 193. The limit of a group bounds its calls, also while the first of them are cancelled.
#[test]
fn a_limit_of_a_group_bounds_its_calls() {
    on_threads(|| async {
        let (calls, release) = (Calls::default(), Latch::default());
        let limited = TaskGroup::builder().limit(3).run(async |g| {
            let tasks: Vec<_> = (0..30)
                .map(|number| {
                    let (calls, release) = (calls.clone(), release.clone());
                    g.spawn_blocking(move || {
                        let _running = calls.begin();
                        release.wait();
                        Ok(number)
                    })
                })
                .collect();
            common::until(|| calls.begun() >= 3).await;
            for task in tasks.iter().take(10) {
                task.cancel();
            }
            let_others_run().await;
            assert_eq!(calls.now(), 3);
            release.open();
            Ok(tasks)
        });
        let tasks = limited.await.unwrap();
        assert_eq!(calls.most(), 3);
        assert_eq!(calls.begun(), calls.ended());
        let (mut came, mut cut) = (0, 0);
        for task in tasks {
            match task.await {
                Ok(_) => came += 1,
                Err(_) => cut += 1,
            }
        }
        assert_eq!((came, came + cut), (calls.ended(), 30));
        assert!(came >= 20, "only ten were cancelled");
    });
}

// From inside a call.

/// Case 199. A call spawns into its group and waits for that, on its own thread.
#[test]
fn a_call_may_wait_for_a_task_of_its_group() {
    on_threads(|| async {
        let sum = group(async |g| {
            let spawner = g.spawner();
            let sum = g.spawn_blocking(move || {
                let tasks: Vec<_> = (1..=10)
                    .map(|number| {
                        spawner.spawn(async move {
                            yield_now().await;
                            Ok(number)
                        })
                    })
                    .collect();
                let mut sum = 0;
                for task in tasks {
                    sum += smol::block_on(task)?;
                }
                let call = spawner.spawn_blocking(|| Ok(100));
                Ok(sum + smol::block_on(call)?)
            });
            Ok(sum.await?)
        });
        assert_eq!(sum.await.unwrap(), 155);
    });
}

/// What a call spawns and does not wait for belongs to the group, wherever the call runs.
#[test]
fn a_task_spawned_by_a_call_is_one_of_the_group() {
    everywhere(|| async {
        let log = Log::default();
        let told = log.clone();
        group(async |g| {
            let spawner = g.spawner();
            g.spawn_blocking(move || {
                spawner.spawn(async move {
                    let_others_run().await;
                    told.say("the task of a call");
                    Ok(())
                });
                Ok(())
            });
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(log.entries(), ["the task of a call"]);
    });
}

/// Cases 11 and 200. A call that waits for a task is released when the group is cancelled.
#[test]
fn a_call_that_waits_for_a_task_is_released_by_a_cancellation() {
    on_threads(|| async {
        let (begun, log, census) = (Gate::default(), Log::default(), Census::default());
        let cut = group(async |g| {
            let value = census.enter();
            let endless = g.spawn(async move {
                let _value = value;
                for_ever().await
            });
            let (at, told) = (begun.clone(), log.clone());
            g.spawn_blocking(move || {
                at.open();
                told.say(format!("{:?}", smol::block_on(endless)));
                Ok(())
            });
            begun.wait().await;
            let_others_run().await;
            g.cancel();
            Ok(())
        });
        drop(cut.await);
        assert_eq!(census.alive(), 0);
        assert_eq!(
            log.entries(),
            [format!("{:?}", Err::<(), _>(Aborted::Cancelled))]
        );
    });
}

/// Case 200. A thread of somebody else waits for a task when main ends: it is released, and what it
/// would spawn is refused.
#[test]
fn a_foreign_thread_that_waits_is_released_when_main_ends() {
    in_run_by_itself(|| {
        let (handles, handed) = mpsc::channel();
        let is_over = Latch::default();
        let (waits, over) = (Gate::default(), is_over.clone());
        let began = waits.clone();
        let foreign = thread::spawn(move || {
            let (task, spawner): (headcount::Task<()>, headcount::Spawner) =
                handed.recv().expect("main hands it over");
            began.open();
            let ended = smol::block_on(task);
            over.wait();
            let refused = spawner.try_spawn(async { Ok(()) });
            (ended, refused.is_err())
        });
        let main = async move {
            let doomed = group(async |g| {
                let task = g.spawn(for_ever());
                let handed_over = handles.send((task, g.spawner()));
                handed_over.expect("it is waited for");
                for_ever().await
            });
            or(async { drop(doomed.await) }, waits.wait()).await;
        };
        (main, move || {
            is_over.open();
            let (ended, is_refused) = foreign.join().expect("no panic");
            assert_eq!(ended, Err(Aborted::Cancelled));
            assert!(is_refused);
        })
    });
}

/// Case 200. The same of a call of the run: it is released, and the run waits for it.
#[test]
fn a_call_that_waits_is_released_when_main_ends() {
    in_run_by_itself(|| {
        let (log, begun) = (Log::default(), Gate::default());
        let spawners = Arc::new(Mutex::new(None));
        let (told, kept) = (log.clone(), Arc::clone(&spawners));
        let main = async move {
            let doomed = group(async |g| {
                let endless = g.spawn(for_ever());
                let (spawner, at, told) = (g.spawner(), begun.clone(), told.clone());
                *kept.lock().expect("no panic") = Some(g.spawner());
                g.spawn_blocking(move || {
                    at.open();
                    told.say(format!("{:?}", smol::block_on(endless)));
                    // The group is cancelled, and not over while this runs.
                    let is_refused = match spawner.try_spawn(async { Ok(()) }) {
                        Ok(task) => smol::block_on(task) == Err(Aborted::Cancelled),
                        Err(_closed) => true,
                    };
                    told.say(format!("refused: {is_refused}"));
                    Ok(())
                });
                for_ever().await
            });
            or(async { drop(doomed.await) }, begun.wait()).await;
        };
        (main, move || {
            let cut = format!("{:?}", Err::<(), _>(Aborted::Cancelled));
            assert_eq!(log.entries(), [cut.as_str(), "refused: true"]);
            let spawner = spawners.lock().unwrap().take().unwrap();
            assert!(spawner.try_spawn(async { Ok(()) }).is_err());
        })
    });
}

/// Runs what is made, with one thread and with several, and then what is to be looked at after that.
fn in_run_by_itself<S, C>(make: impl Fn() -> (S, C))
where
    S: Future<Output = ()>,
    C: FnOnce(),
{
    for threads in [1, 4] {
        watched("in a run of its own", || {
            let (main, check) = make();
            Runtime::builder().threads(threads).run(main);
            check();
        });
    }
}

#[test]
fn a_call_may_open_a_group() {
    on_threads(|| async {
        let sum = unblock(|| {
            smol::block_on(group(async |g| {
                let parallel = g.spawn(async {
                    yield_now().await;
                    Ok(3)
                });
                let local = g.spawn_local(async { Ok(4) });
                let call = g.spawn_blocking(|| Ok(5));
                Ok(parallel.await? + local.await? + call.await?)
            }))
        });
        assert_eq!(sum.await.unwrap(), 12);
    });
}

/// Law 4. A group that was opened in a call is below the scope of the caller.
#[test]
fn a_group_of_a_call_is_cancelled_with_the_caller() {
    on_threads(|| async {
        for by_handle in [false, true] {
            let (census, begun) = (Census::default(), Gate::default());
            let told = group(async |g| {
                let (inside, value, at) = (census.clone(), census.enter(), begun.clone());
                let call = g.spawn_blocking(move || {
                    let _value = value;
                    let inner = group(async |inner| {
                        let value = inside.enter();
                        inner.spawn(async move {
                            let _value = value;
                            at.open();
                            for_ever().await
                        });
                        Ok(())
                    });
                    // Its body has returned: it joins a task that only a cancellation ends.
                    drop(smol::block_on(inner));
                    Ok(inside.alive())
                });
                begun.wait().await;
                if by_handle {
                    call.cancel();
                } else {
                    g.cancel();
                }
                shield(call).await.ok();
                Ok(())
            });
            drop(told.await);
            assert_eq!((census.entered(), census.alive()), (2, 0));
        }
    });
}

/// A body in there is cut at its wait, too.
#[test]
fn the_body_of_a_group_in_a_call_is_cut_with_the_caller() {
    on_threads(|| async {
        let (begun, log) = (Gate::default(), Log::default());
        let scope = CancelScope::new();
        let handle = scope.handle();
        let (at, told) = (begun.clone(), log.clone());
        let call = scope.run(unblock(move || {
            let inner = group(async |_g| {
                at.open();
                for_ever().await
            });
            let failed = smol::block_on(inner).expect_err("the body never returns");
            told.say(format!("without failures: {}", failed.is_empty()));
        }));
        let canceller = async {
            begun.wait().await;
            handle.cancel();
        };
        drop(zip(call, canceller).await);
        assert_eq!(log.entries(), ["without failures: true"]);
    });
}

/// Nobody is there to drop what it waits for, so that is not cut: it would wait for ever.
#[test]
fn what_a_call_waits_for_is_shielded() {
    on_threads(|| async {
        let log = Log::default();
        let told = log.clone();
        let scope = CancelScope::new();
        let handle = scope.handle();
        let call = scope.run(unblock(move || {
            handle.cancel();
            wait_until(is_cancelled);
            let all = smol::block_on(async {
                checkpoint().await;
                headcount::sleep(Duration::from_millis(1)).await;
                let in_time = timeout(HOUR, async { 1 }).await;
                let both = gather((async { Ok::<_, Error>(2) }, async { Ok(3) })).await;
                let permits = Semaphore::new(1);
                let permit = permits.acquire().await;
                drop(permit);
                let call = unblock(|| 4).await;
                finally(async {}, async {}).await;
                (in_time.ok(), both.ok(), call)
            });
            told.say(format!("{all:?}"));
        }));
        drop(call.await);
        assert_eq!(log.entries(), ["(Some(1), Some((2, 3)), 4)"]);
    });
}

/// Case 199. A call is no task: it may begin a run, which a task may not.
#[test]
fn a_call_may_begin_a_run() {
    on_threads(|| async {
        let seven = unblock(|| {
            run(group(async |g| {
                let four = g.spawn_blocking(|| Ok(4));
                Ok(g.spawn(async { Ok(3) }).await? + four.await?)
            }))
        });
        assert_eq!(seven.await.unwrap(), 7);
        let eight = unblock(|| Runtime::builder().threads(1).run(async { 8 }));
        assert_eq!(eight.await, 8);
    });
    in_run(|| async {
        // Where a call has been before, it is still refused to a task.
        unblock(|| ()).await;
        let refused = group(async |g| {
            g.spawn(async {
                unblock(|| ()).await;
                run(async {});
                Ok(())
            });
            for_ever().await
        });
        let told = leaves_of(&refused.await.unwrap_err());
        assert_eq!(told.len(), 1);
        assert!(
            told[0].contains("`run` was called inside another `run`"),
            "{told:?}"
        );
    });
}

// Executors.

/// Runs a scenario under every executor there is at hand.
fn under_all<S>(scenario: impl Fn() -> S + Sync)
where
    S: Future<Output = ()> + Send + 'static,
{
    watched("under smol", || smol::block_on(scenario()));
    watched("under smol, spawned", || {
        smol::block_on(smol::spawn(scenario()));
    });
    watched("under futures-lite", || {
        futures_lite::future::block_on(scenario());
    });
    watched("under tokio", || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_time()
            .build()
            .expect("a runtime");
        runtime.block_on(scenario());
        runtime.block_on(async { tokio::spawn(scenario()).await.expect("no panic") });
    });
    watched("under tokio, on one thread", || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        runtime.block_on(scenario());
    });
    watched("in a local pool", || {
        let mut pool = futures::executor::LocalPool::new();
        pool.run_until(scenario());
    });
}

#[test]
fn calls_work_under_any_executor_and_outside_of_any_group() {
    under_all(|| async {
        let (begun, release) = (Gate::default(), Latch::default());
        let other = begun.wait().map({
            let release = release.clone();
            move |()| release.open()
        });
        assert_eq!(zip(unblock(held(&begun, &release)), other).await.0, 7);
        let (begun, release) = (Gate::default(), Latch::default());
        let scope = CancelScope::new();
        let handle = scope.handle();
        let calls = Calls::default();
        let (counted, call) = (calls.clone(), held(&begun, &release));
        let cut = scope.run(async move {
            unblock(move || {
                let _running = counted.begin();
                call()
            })
            .await;
            pending::<()>().await;
        });
        let canceller = async move {
            begun.wait().await;
            handle.cancel();
            let_others_run().await;
            release.open();
        };
        assert!(zip(cut, canceller).await.0.is_err());
        assert_eq!(calls.ended(), 1);
        let sum = group(async |g| {
            let calls: Vec<_> = (0..10).map(|i| g.spawn_blocking(move || Ok(i))).collect();
            let mut sum = 0;
            for call in calls {
                sum += call.await?;
            }
            Ok(sum)
        });
        assert_eq!(sum.await.unwrap(), 45);
    });
}

// When there is no thread to be had.

/// What a test below runs in a process of its own, which is refused every thread.
#[test]
fn child_without_threads() {
    if std::env::var_os("HEADCOUNT_TEST_NO_THREADS").is_none() {
        return;
    }
    if thread::Builder::new().spawn(|| ()).is_ok() {
        eprintln!("threads are to be had");
        return;
    }
    let (census, semaphore, limiter) = (Census::default(), Semaphore::new(1), Limiter::new(1));
    for _ in 0..3 {
        let value = census.enter();
        let caller = AssertUnwindSafe(async {
            let _permit = semaphore.acquire().await;
            let _other = limiter.acquire().await;
            unblock(move || drop(value)).await;
        });
        // Not in a group: that would need a thread as well.
        let failed = futures_lite::future::block_on(caller.catch_unwind());
        let panic = failed.expect_err("there is no thread");
        let message = panic_text(&*panic).expect("a text");
        assert!(
            message.contains("cannot start a thread for blocking calls"),
            "{message}"
        );
        assert_eq!((semaphore.available(), limiter.in_use()), (1, 0));
        assert_eq!(census.alive(), 0);
    }
    eprintln!("no thread, no call");
}

/// Case 196. A call for which there is no thread fails where it is waited for, and what its task held
/// is given back.
#[test]
fn a_call_without_a_thread_fails() {
    // No system has room for such a stack, so that no thread can be started.
    let stack = (1_u64 << 60).to_string();
    let variables = [
        ("HEADCOUNT_TEST_NO_THREADS", "1"),
        ("RUST_MIN_STACK", stack.as_str()),
    ];
    let (passed, said) = in_a_process("child_without_threads", &variables);
    if !said.contains("threads are to be had") {
        assert!(passed && said.contains("no thread, no call"), "{said}");
    }
}

// Futures that move, and what calls pass on.

/// Polls a future once, and goes on.
async fn begin<F: Future + Unpin>(future: &mut F) {
    drop(futures_lite::future::poll_once(future).await);
}

/// Its first poll was in another scope.
#[test]
fn a_call_that_has_moved_holds_the_cut_back() {
    on_threads(|| async {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let begun = Gate::default();
        let at = begun.clone();
        let (go, gone) = (Latch::default(), Latch::default());
        let (goes, ended) = (go.clone(), gone.clone());
        let mut call = Box::pin(unblock(move || {
            at.open();
            goes.wait();
            handle.cancel();
            thread::yield_now();
            ended.open();
            7
        }));
        CancelScope::new().run(begin(&mut call)).await.unwrap();
        begun.wait().await;
        let waited = scope.run(async {
            begin(&mut call).await;
            go.open();
            (&mut call).await
        });
        assert_eq!(waited.await.unwrap(), 7);
    });
}

#[test]
fn an_aborted_that_a_call_passes_on_is_an_echo() {
    on_threads(|| async {
        let failed = TaskGroup::builder().policy(Policy::Collect).run(async |g| {
            let first = g.spawn(async { Err::<(), _>(Error::from("first")) });
            g.spawn_blocking(move || Ok(smol::block_on(first)?));
            Ok(())
        });
        assert_eq!(leaves_of(&failed.await.unwrap_err()), ["first"]);
    });
}

#[test]
fn calls_and_groups_nest() {
    fn level(left: u32) -> u32 {
        if left == 0 {
            return 0;
        }
        let inner = group(async |g| {
            let task = g.spawn_blocking(move || Ok(level(left - 1)));
            Ok(task.await?)
        });
        1 + smol::block_on(inner).expect("nothing fails")
    }
    on_threads(|| async { assert_eq!(unblock(|| level(60)).await, 60) });
}
