//! Calls whose wait is dropped by somebody else's combinator: they go on, know of it, and whatever they
//! ran in waits for them. And destructors that panic, in every place where a call has one.

#[path = "common/calls.rs"]
mod calls;
mod common;
#[path = "common/every_poll.rs"]
mod every_poll;

use std::{
    future::{Future, pending},
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    task::{Context, Wake, Waker},
    thread,
    time::Duration,
};

use calls::{Calls, Latch, wait_until};
use common::{
    Census, Gate, Log, OnDrop, everywhere, for_ever, in_run, keep_quiet_about_purpose, leaves_of,
    let_others_run, on_threads, panic_text, poll_once, sorted_leaves_of, watched,
};
use every_poll::drop_after_every_poll;
use futures::FutureExt as _;
use futures_lite::future::{or, zip};
use headcount::{
    Aborted, CancelScope, Error, FailureKind, Policy, Runtime, TaskGroup, group, is_cancelled,
    local, on_unclaimed, shield, unblock,
};

local! {
    /// Who is asking.
    static NAME: &'static str;
}

const NEVER: Duration = Duration::from_secs(30);

/// Goes on for a while after it was released, so that nobody who does not wait sees its end.
fn linger() {
    for _ in 0..1000 {
        thread::yield_now();
    }
}

/// Begins a call, and drops the wait for it as another crate's combinator does, as soon as it runs.
async fn drop_the_wait<T: Send + 'static>(
    calls: &Calls,
    call: impl FnOnce() -> T + Send + 'static,
) {
    let (begun, counted) = (Gate::default(), calls.clone());
    let at = begun.clone();
    let waits = async {
        let value = unblock(move || {
            let _running = counted.begin();
            at.open();
            call()
        });
        drop(value.await);
        panic!("the call has returned before its wait was dropped");
    };
    or(waits, begun.wait()).await;
}

/// Case 197, law 2. The drop does not wait; the call goes on, knows that nobody wants it any more, and
/// the group waits for it.
#[test]
fn a_call_goes_on_when_its_wait_is_dropped() {
    on_threads(|| async {
        let (log, calls, census) = (Log::default(), Calls::default(), Census::default());
        let release = Latch::default();
        group(async |_g| {
            let (told, value) = (log.clone(), census.enter());
            let released = release.clone();
            drop_the_wait(&calls, move || {
                let _value = value;
                wait_until(is_cancelled);
                released.wait();
                linger();
                told.say("the call returns");
            })
            .await;
            log.say("dropped");
            wait_until(|| calls.now() == 1);
            assert_eq!(census.alive(), 1);
            assert!(!is_cancelled(), "the code itself goes on");
            release.open();
            Ok(())
        })
        .await
        .unwrap();
        log.say("the group returns");
        assert_eq!((calls.ended(), census.alive()), (1, 0));
        assert_eq!(
            log.entries(),
            ["dropped", "the call returns", "the group returns"]
        );
    });
}

/// Law 2. In a task, the group of the task waits for it; the task itself does not.
#[test]
fn the_group_of_a_task_waits_for_the_calls_that_it_dropped() {
    on_threads(|| async {
        let (calls, release) = (Calls::default(), Latch::default());
        group(async |g| {
            for local in [false, true] {
                let (counted, released) = (calls.clone(), release.clone());
                let drops = async move {
                    drop_the_wait(&counted, move || {
                        released.wait();
                        linger();
                    })
                    .await;
                    Ok(7)
                };
                let task = if local {
                    g.spawn_local(drops)
                } else {
                    g.spawn(drops)
                };
                assert_eq!(task.await, Ok(7));
            }
            wait_until(|| calls.now() == 2);
            release.open();
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(calls.ended(), 2);
    });
}

/// Law 2. Where there is no group, the run waits for it.
#[test]
fn a_run_waits_for_the_calls_that_were_dropped() {
    for threads in [1, 4] {
        watched("in a run of its own", || {
            let (calls, census) = (Calls::default(), Census::default());
            Runtime::builder().threads(threads).run(async {
                let release = Latch::default();
                let (released, value) = (release.clone(), census.enter());
                drop_the_wait(&calls, move || {
                    let _value = value;
                    released.wait();
                    linger();
                })
                .await;
                wait_until(|| calls.now() == 1);
                release.open();
            });
            assert_eq!((calls.begun(), calls.ended()), (1, 1));
            assert_eq!(census.alive(), 0);
        });
    }
}

/// The same if main panics.
#[test]
fn a_run_that_panics_waits_for_the_calls_that_were_dropped() {
    keep_quiet_about_purpose();
    watched("in a run of its own", || {
        let calls = Calls::default();
        let message = common::message_of(|| {
            Runtime::builder().threads(1).run(async {
                drop_the_wait(&calls, move || {
                    wait_until(is_cancelled);
                    linger();
                })
                .await;
                panic!("on purpose: main");
            })
        });
        assert_eq!(message, "on purpose: main");
        assert_eq!((calls.begun(), calls.ended()), (1, 1));
    });
}

/// Where there is no run either, nobody waits, and the call ends all the same.
#[test]
fn a_dropped_call_under_nothing_ends() {
    watched("by hand", || {
        let (tell, told) = mpsc::channel();
        let census = Census::default();
        let value = census.enter();
        futures_lite::future::block_on(drop_the_wait(&Calls::default(), move || {
            wait_until(is_cancelled);
            drop(value);
            tell.send(7).expect("it is waited for");
        }));
        assert_eq!(told.recv_timeout(NEVER), Ok(7));
        assert_eq!(census.alive(), 0);
    });
}

/// Law 2. A group dropped by its owner hands its calls up.
#[test]
fn a_dropped_group_hands_its_calls_up() {
    on_threads(|| async {
        let (calls, census) = (Calls::default(), Census::default());
        let release = Latch::default();
        group(async |_outer| {
            let begun = Gate::default();
            let doomed = group(async |g| {
                let (at, counted, value) = (begun.clone(), calls.clone(), census.enter());
                let released = release.clone();
                g.spawn_blocking(move || {
                    let _value = value;
                    let _running = counted.begin();
                    at.open();
                    wait_until(is_cancelled);
                    released.wait();
                    linger();
                    Ok(())
                });
                for_ever().await
            });
            or(async { drop(doomed.await) }, begun.wait()).await;
            assert_eq!(calls.now(), 1);
            release.open();
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!((calls.ended(), census.alive()), (1, 0));
    });
}

/// The same of a call that the body of the dropped group waits for.
#[test]
fn the_call_of_a_dropped_body_is_waited_for_further_out() {
    on_threads(|| async {
        let (calls, release) = (Calls::default(), Latch::default());
        group(async |_outer| {
            let begun = Gate::default();
            let doomed = group(async |_inner| {
                let (at, counted, released) = (begun.clone(), calls.clone(), release.clone());
                unblock(move || {
                    let _running = counted.begin();
                    at.open();
                    wait_until(is_cancelled);
                    released.wait();
                    linger();
                })
                .await;
                Ok(())
            });
            or(async { drop(doomed.await) }, begun.wait()).await;
            assert_eq!(calls.now(), 1);
            release.open();
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!((calls.begun(), calls.ended()), (1, 1));
    });
}

/// A shield does not hold against a drop, and the call in it is told.
#[test]
fn a_call_dropped_with_its_shield_is_told() {
    on_threads(|| async {
        let calls = Calls::default();
        group(async |_g| {
            let (begun, counted) = (Gate::default(), calls.clone());
            let at = begun.clone();
            let shielded = shield(unblock(move || {
                let _running = counted.begin();
                at.open();
                wait_until(is_cancelled);
                linger();
            }));
            or(shielded, begun.wait()).await;
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!((calls.begun(), calls.ended()), (1, 1));
    });
}

/// Cancelled first and dropped then, or the other way round: it is told once, and waited for.
#[test]
fn a_call_may_be_cancelled_and_dropped() {
    on_threads(|| async {
        for cancelled_first in [true, false] {
            let (calls, release) = (Calls::default(), Latch::default());
            let scope = CancelScope::new();
            let handle = scope.handle();
            let joined = scope.run(group(async |_g| {
                let (begun, drop_it) = (Gate::default(), Gate::default());
                let (at, counted, released) = (begun.clone(), calls.clone(), release.clone());
                let call = unblock(move || {
                    let _running = counted.begin();
                    at.open();
                    wait_until(is_cancelled);
                    released.wait();
                    linger();
                    assert!(is_cancelled());
                });
                // Not cut by the scope: the shield waits for the drop.
                shield(async {
                    let drops = or(call, drop_it.wait());
                    let meddles = async {
                        begun.wait().await;
                        if cancelled_first {
                            handle.cancel();
                            let_others_run().await;
                        }
                        drop_it.open();
                    };
                    zip(drops, meddles).await;
                    handle.cancel();
                    assert_eq!(calls.now(), 1);
                    release.open();
                })
                .await;
                Ok(())
            }));
            drop(joined.await);
            assert_eq!((calls.begun(), calls.ended()), (1, 1));
        }
    });
}

/// Case 11. What a dropped call waits for is cancelled with the group, and releases it.
#[test]
fn a_dropped_call_that_waits_for_a_task_is_released() {
    on_threads(|| async {
        let log = Log::default();
        let cut = group(async |g| {
            let (endless, told) = (g.spawn(for_ever()), log.clone());
            drop_the_wait(&Calls::default(), move || {
                let ended = smol::block_on(endless);
                told.say(format!("{}", ended == Err(Aborted::Cancelled)));
            })
            .await;
            g.cancel();
            Ok(())
        });
        drop(cut.await);
        assert_eq!(log.entries(), ["true"]);
    });
}

/// A dropped call may still spawn into the group that waits for it.
#[test]
fn a_dropped_call_may_spawn_into_its_group() {
    on_threads(|| async {
        let log = Log::default();
        group(async |g| {
            let (spawner, told) = (g.spawner(), log.clone());
            let release = Latch::default();
            let released = release.clone();
            drop_the_wait(&Calls::default(), move || {
                released.wait();
                linger();
                spawner.spawn(async move {
                    let_others_run().await;
                    told.say("spawned");
                    Ok(())
                });
            })
            .await;
            release.open();
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(log.entries(), ["spawned"]);
    });
}

/// It keeps the values of its caller, too.
#[test]
fn a_dropped_call_keeps_the_values_of_its_caller() {
    on_threads(|| async {
        let log = Log::default();
        group(async |_g| {
            let told = log.clone();
            NAME.bind("caller", async {
                drop_the_wait(&Calls::default(), move || {
                    wait_until(is_cancelled);
                    told.say(format!("{:?}", NAME.get()));
                })
                .await;
            })
            .await;
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(log.entries(), [format!("{:?}", Some("caller"))]);
    });
}

/// Law 3. A value that nobody takes is dropped before the group returns.
#[test]
fn the_value_of_a_dropped_call_is_dropped() {
    on_threads(|| async {
        let census = Census::default();
        group(async |_g| {
            let value = census.enter();
            drop_the_wait(&Calls::default(), move || {
                wait_until(is_cancelled);
                value
            })
            .await;
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!((census.entered(), census.alive()), (1, 0));
    });
}

/// The same of a value that had come before the drop, and was not looked at.
#[test]
fn a_value_that_nobody_looked_at_is_dropped() {
    on_threads(|| async {
        let census = Census::default();
        group(async |_g| {
            let (value, ended) = (census.enter(), Latch::default());
            let ends = ended.clone();
            let mut call = Box::pin(unblock(move || {
                ends.open();
                value
            }));
            if poll_once(call.as_mut()).is_pending() {
                ended.wait();
                linger();
            }
            drop(call);
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!((census.entered(), census.alive()), (1, 0));
    });
}

/// Law 3. Its panic is a failure of the group that waits for it, once.
#[test]
fn the_panic_of_a_dropped_call_is_a_failure_of_the_group() {
    keep_quiet_about_purpose();
    on_threads(|| async {
        for in_task in [false, true] {
            let log = Log::default();
            let failed = group(async |g| {
                let told = log.clone();
                let drops = async move {
                    drop_the_wait(&Calls::default(), || {
                        wait_until(is_cancelled);
                        linger();
                        panic!("on purpose: dropped");
                    })
                    .await;
                    told.say("the code goes on");
                    Ok(())
                };
                if in_task {
                    g.spawn(drops);
                    Ok(())
                } else {
                    drops.await
                }
            });
            let failed = failed.await.unwrap_err();
            assert_eq!(leaves_of(&failed), ["panic: on purpose: dropped"]);
            assert_eq!(log.entries(), ["the code goes on"]);
        }
    });
}

/// The same of a panic that had come before the drop, and was not looked at.
#[test]
fn a_panic_that_nobody_looked_at_is_a_failure_of_the_group() {
    keep_quiet_about_purpose();
    on_threads(|| async {
        let failed = group(async |_g| {
            let ended = Latch::default();
            let ends = ended.clone();
            let mut call = Box::pin(unblock(move || {
                let _end = OnDrop::new(move || ends.open());
                if true {
                    panic!("on purpose: not looked at");
                }
            }));
            assert!(poll_once(call.as_mut()).is_pending());
            ended.wait();
            linger();
            drop(call);
            Ok(())
        });
        let failed = failed.await.unwrap_err();
        assert_eq!(leaves_of(&failed), ["panic: on purpose: not looked at"]);
    });
}

/// Law 3. In a run with no group its panic goes to the hook, once, and the run to its end. The hook
/// belongs to the process: what the other tests here leave unclaimed has another text.
#[test]
fn the_panic_of_a_dropped_call_in_a_run_goes_to_the_hook() {
    keep_quiet_about_purpose();
    let log = Log::default();
    on_unclaimed({
        let log = log.clone();
        move |failure| {
            if let FailureKind::Panic(panic) = failure.kind() {
                log.say(panic.message().unwrap_or("no message"));
            }
        }
    });
    let of_this_test = || {
        let entries = log.entries();
        entries
            .iter()
            .filter(|it| it.ends_with("unclaimed"))
            .count()
    };
    for (runs, threads) in [(1, 1), (2, 4)] {
        let seven = watched("in a run of its own", || {
            Runtime::builder().threads(threads).run(async {
                drop_the_wait(&Calls::default(), || {
                    wait_until(is_cancelled);
                    linger();
                    panic!("on purpose: unclaimed");
                })
                .await;
                7
            })
        });
        assert_eq!((seven, of_this_test()), (7, runs));
    }
}

/// Two faults at once: a task panics while its call runs, and the call panics too.
#[test]
fn a_task_that_panics_beside_its_call_has_failed_and_so_has_the_call() {
    keep_quiet_about_purpose();
    on_threads(|| async {
        let calls = Calls::default();
        let failed = group(async |g| {
            let counted = calls.clone();
            g.spawn(async move {
                let begun = Gate::default();
                let at = begun.clone();
                let call = unblock(move || {
                    let _running = counted.begin();
                    at.open();
                    wait_until(is_cancelled);
                    linger();
                    panic!("on purpose: the call");
                });
                let panics = async {
                    begun.wait().await;
                    panic!("on purpose: the task");
                };
                zip(call, panics).await;
                Ok(())
            });
            Ok(())
        });
        let failed = failed.await.unwrap_err();
        let expected = ["panic: on purpose: the call", "panic: on purpose: the task"];
        assert_eq!(sorted_leaves_of(&failed), expected);
        assert_eq!((calls.begun(), calls.ended()), (1, 1));
    });
}

/// Many at once, each with a panic of its own.
#[test]
fn the_panics_of_many_dropped_calls_are_all_told() {
    keep_quiet_about_purpose();
    on_threads(|| async {
        let collects = TaskGroup::builder().policy(Policy::Collect).run(async |g| {
            for number in 10..30 {
                g.spawn(async move {
                    drop_the_wait(&Calls::default(), move || {
                        wait_until(is_cancelled);
                        panic!("on purpose: {number}");
                    })
                    .await;
                    Ok(())
                });
            }
            Ok(())
        });
        let expected: Vec<_> = (10..30)
            .map(|n| format!("panic: on purpose: {n}"))
            .collect();
        assert_eq!(sorted_leaves_of(&collects.await.unwrap_err()), expected);
    });
}

/// Law 10. Dropped after no poll, after one, after two, and so on, under each schedule: the call has
/// never begun, or has ended by the time the group returns.
#[test]
fn a_call_dropped_anywhere_has_never_begun_or_has_ended() {
    everywhere(|| async {
        let (calls, census) = (Calls::default(), Census::default());
        group(async |_g| {
            let make = || {
                let (counted, value) = (calls.clone(), census.enter());
                async move {
                    let seven = unblock(move || {
                        let _running = counted.begin();
                        (7, value)
                    });
                    assert_eq!(seven.await.0, 7);
                }
            };
            drop_after_every_poll(make, || ()).await;
            Ok(())
        })
        .await
        .unwrap();
        assert!(calls.begun() >= 1);
        assert_eq!(calls.begun(), calls.ended());
        assert_eq!(census.alive(), 0);
    });
}

/// Law 10. Without a first poll nothing is handed to anybody.
#[test]
fn a_call_dropped_unpolled_is_gone_at_once() {
    everywhere(|| async {
        let (calls, census) = (Calls::default(), Census::default());
        group(async |g| {
            let (counted, value) = (calls.clone(), census.enter());
            drop(unblock(move || {
                let _value = value;
                drop(counted.begin());
            }));
            assert_eq!(census.alive(), 0);
            // As a task: dropped with the future of its group.
            let (counted, value) = (calls.clone(), census.enter());
            g.cancel();
            g.spawn_blocking(move || {
                let _value = value;
                drop(counted.begin());
                Ok(())
            });
            assert_eq!(census.alive(), 0);
            Ok(())
        })
        .await
        .ok();
        assert_eq!(calls.begun(), 0);
    });
}

// Destructors that panic.

/// A value that panics when it is dropped, and counts that.
fn bomb(census: &Census, name: &'static str) -> impl Send + use<> {
    let value = census.enter();
    OnDrop::new(move || {
        drop(value);
        panic!("on purpose: {name}");
    })
}

/// What the call owns panics as the call returns: that is a panic of the call.
#[test]
fn a_panicking_destructor_in_the_call_is_a_panic_of_the_call() {
    keep_quiet_about_purpose();
    everywhere(|| async {
        let census = Census::default();
        let owned = bomb(&census, "owned");
        let call = unblock(move || {
            let _owned = owned;
        });
        let panic = AssertUnwindSafe(call).catch_unwind().await.unwrap_err();
        assert_eq!(panic_text(&*panic), Some("on purpose: owned"));

        let owned = bomb(&census, "owned");
        let failed = group(async |g| {
            g.spawn_blocking(move || {
                drop(owned);
                Ok(())
            });
            Ok(())
        });
        assert_eq!(
            leaves_of(&failed.await.unwrap_err()),
            ["panic: on purpose: owned"]
        );
        assert_eq!((census.entered(), census.alive()), (2, 0));
    });
}

/// What a call owns that never begins panics: a failure of the group that it was cancelled in.
#[test]
fn a_panicking_destructor_of_a_call_that_never_began_is_a_failure() {
    keep_quiet_about_purpose();
    everywhere(|| async {
        for as_task in [false, true] {
            let census = Census::default();
            let owned = bomb(&census, "never begun");
            let failed = group(async |g| {
                g.cancel();
                if as_task {
                    g.spawn_blocking(move || {
                        drop(owned);
                        Ok(())
                    });
                } else {
                    unblock(move || drop(owned)).await;
                }
                Ok(())
            });
            let failed = failed.await.unwrap_err();
            assert_eq!(leaves_of(&failed), ["panic: on purpose: never begun"]);
            assert_eq!(census.alive(), 0);
        }
    });
}

/// Law 3. A value that nobody takes panics in its destructor.
#[test]
fn a_panicking_destructor_of_a_value_that_nobody_takes_is_a_failure() {
    keep_quiet_about_purpose();
    on_threads(|| async {
        let census = Census::default();
        let failed = group(async |_g| {
            let value = bomb(&census, "a value");
            drop_the_wait(&Calls::default(), move || {
                wait_until(is_cancelled);
                value
            })
            .await;
            Ok(())
        });
        let failed = failed.await.unwrap_err();
        assert_eq!(leaves_of(&failed), ["panic: on purpose: a value"]);
        assert_eq!(census.alive(), 0);
    });
}

/// The same of a value of a task that nobody waits for.
#[test]
fn a_panicking_destructor_of_a_value_of_a_task_is_a_failure() {
    keep_quiet_about_purpose();
    everywhere(|| async {
        let census = Census::default();
        let failed = group(async |g| {
            let value = bomb(&census, "a value");
            drop(g.spawn_blocking(move || Ok(value)));
            Ok(())
        });
        let failed = failed.await.unwrap_err();
        assert_eq!(leaves_of(&failed), ["panic: on purpose: a value"]);
        assert_eq!(census.alive(), 0);
    });
}

/// The threads for calls survive all that: as many as there are run calls afterwards.
#[test]
fn threads_survive_what_panics_on_them() {
    keep_quiet_about_purpose();
    on_threads(|| async {
        let census = Census::default();
        let collects = TaskGroup::builder().policy(Policy::Collect).run(async |g| {
            for number in 0..40 {
                let owned = bomb(&census, "owned");
                if number % 2 == 0 {
                    g.spawn_blocking(move || {
                        drop(owned);
                        Ok(())
                    });
                } else {
                    g.spawn(async move {
                        drop_the_wait(&Calls::default(), move || owned).await;
                        Ok(())
                    });
                }
            }
            Ok(())
        });
        assert_eq!(collects.await.unwrap_err().leaves().count(), 40);
        assert_eq!(census.alive(), 0);
        let meeting = calls::Meeting::of(40);
        group(async |g| {
            for _ in 0..40 {
                let meeting = meeting.clone();
                g.spawn_blocking(move || {
                    meeting.attend();
                    Ok(())
                });
            }
            Ok(())
        })
        .await
        .unwrap();
    });
}

/// A waker that panics when it is woken.
struct Panics(AtomicBool);

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
        panic!("on purpose: a waker");
    }
}

/// A panicking waker harms neither the value nor the thread.
#[test]
fn a_waker_that_panics_loses_no_value() {
    keep_quiet_about_purpose();
    watched("by hand", || {
        for _ in 0..5 {
            let release = Latch::default();
            let released = release.clone();
            let mut call = pin!(unblock(move || {
                released.wait();
                7
            }));
            let panics = Arc::new(Panics(AtomicBool::new(false)));
            let waker = Waker::from(Arc::clone(&panics));
            let polled = call.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
            release.open();
            wait_until(|| panics.0.load(Ordering::SeqCst));
            assert_eq!(smol::block_on(call), 7);
            assert_eq!(smol::block_on(unblock(|| 8)), 8);
        }
    });
}

/// A destructor may wait for a call on its thread: nothing that is cancelled already holds it up.
#[test]
fn a_destructor_may_wait_for_a_call() {
    in_run(|| async {
        let log = Log::default();
        let told = log.clone();
        let cut = group(async |g| {
            let running = Gate::default();
            let at = running.clone();
            g.spawn(async move {
                let _end = OnDrop::new(move || {
                    let seven = smol::block_on(unblock(|| 7));
                    told.say(format!("got {seven}"));
                });
                at.open();
                pending::<Result<(), Error>>().await
            });
            running.wait().await;
            g.cancel();
            Ok(())
        });
        drop(cut.await);
        assert_eq!(log.entries(), ["got 7"]);
    });
}

// Futures that are not dropped at all.

#[test]
fn a_group_waits_for_a_call_whose_future_was_forgotten() {
    in_run(|| async {
        let calls = Calls::default();
        let counted = calls.clone();
        let begun = Gate::default();
        let at = begun.clone();
        let g = group(async |g| {
            g.spawn(async move {
                let mut call = Box::pin(unblock(move || {
                    let _running = counted.begin();
                    at.open();
                    linger();
                }));
                begin(&mut call).await;
                begun.wait().await;
                #[expect(clippy::mem_forget, reason = "that is what is tested")]
                std::mem::forget(call);
                Ok(())
            });
            Ok(())
        });
        g.await.unwrap();
        assert_eq!(
            calls.now(),
            0,
            "a group has returned while a call of it runs"
        );
    });
}

#[test]
fn a_group_waits_for_a_call_whose_future_was_taken_out() {
    in_run(|| async {
        let calls = Calls::default();
        let counted = calls.clone();
        let begun = Gate::default();
        let at = begun.clone();
        let g = group(async |g| {
            let task = g.spawn(async move {
                let mut call = Box::pin(unblock(move || {
                    let _running = counted.begin();
                    at.open();
                    linger();
                }));
                begin(&mut call).await;
                begun.wait().await;
                Ok(call)
            });
            Ok(task.await?)
        });
        let call = g.await.unwrap();
        let running = calls.now();
        drop(call);
        assert_eq!(running, 0, "a group has returned while a call of it runs");
    });
}

#[test]
fn a_dropped_call_may_wait_for_a_call() {
    in_run(|| async {
        let log = Log::default();
        let told = log.clone();
        let g = group(async |g| {
            let begun = Gate::default();
            let at = begun.clone();
            g.spawn(async move {
                let mut call = Box::pin(unblock(move || {
                    at.open();
                    wait_until(is_cancelled);
                    told.say(format!("{}", smol::block_on(unblock(|| 7))));
                }));
                begin(&mut call).await;
                begun.wait().await;
                Ok(())
            });
            Ok(())
        });
        g.await.unwrap();
        assert_eq!(log.entries(), ["7"]);
    });
}

/// Polls a future once, and goes on.
async fn begin<F: Future + Unpin>(future: &mut F) {
    drop(futures_lite::future::poll_once(future).await);
}
