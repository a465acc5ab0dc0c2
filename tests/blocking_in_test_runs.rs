//! Calls that block, in test runs: each is a step of its own, on the thread of the test, wherever the
//! schedule puts it.
#![cfg(feature = "testing")]

#[path = "common/calls.rs"]
mod calls;
mod common;

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use calls::Calls;
use common::{Gate, Log, keep_quiet_about_purpose, let_others_run, message_of};
use headcount::{
    CancelScope, Error, checkpoint, finally, gather, group, now, shield, sleep,
    testing::{self, Builder, DropCount, Injection, Tracked},
    timeout, unblock,
};

const TICK: Duration = Duration::from_millis(10);

#[test]
fn a_call_runs_on_the_thread_of_the_test() {
    let here = thread::current().id();
    let calls = Calls::default();
    let begins = calls.clone();
    Builder::new().explore_here(50, || async {
        let begins = begins.clone();
        let of_the_body = unblock(move || {
            drop(begins.begin());
            thread::current().id()
        });
        assert_eq!(of_the_body.await, here);
        let spawned = group(async |g| {
            let call = g.spawn_blocking(|| Ok(thread::current().id()));
            Ok(call.await?)
        });
        assert_eq!(spawned.await.unwrap(), here);
    });
    // The first schedule is run twice.
    assert!(calls.begun() >= 50);
    assert_eq!(calls.begun(), calls.ended());
}

/// What goes on beside two calls, in the order of a schedule.
async fn story() -> String {
    let log = Log::default();
    group(async |g| {
        for name in ["one", "other"] {
            let (log, told) = (log.clone(), log.clone());
            g.spawn(async move {
                log.say(format!("{name} asks"));
                unblock(move || told.say(format!("{name} runs"))).await;
                log.say(format!("{name} goes on"));
                Ok(())
            });
        }
        let log = log.clone();
        g.spawn(async move {
            log.say("a task");
            checkpoint().await;
            log.say("a task again");
            Ok(())
        });
        Ok(())
    })
    .await
    .expect("nothing fails");
    log.entries().join(", ")
}

/// When a call runs is up to the schedule: before and after whatever is ready at the same time.
#[test]
fn a_call_is_a_step_of_its_own() {
    let stories: BTreeSet<String> = (0..300)
        .map(|seed| Builder::new().seed(seed).run(story()))
        .collect();
    let comes_before = |first: &str, second: &str| {
        stories.iter().any(|story| {
            let (one, other) = (story.find(first), story.find(second));
            one.zip(other).is_some_and(|(one, other)| one < other)
        })
    };
    for (first, second) in [
        ("one runs", "other runs"),
        ("one runs", "other asks"),
        ("one runs", "a task again"),
        ("one goes on", "other runs"),
    ] {
        assert!(comes_before(first, second), "{first}, {second}");
        assert!(comes_before(second, first), "{second}, {first}");
    }
    let apart = stories.iter().any(|story| {
        let at = |what| story.find(what).expect("it was said");
        at("one asks") < at("a task again") && at("a task again") < at("one runs")
    });
    assert!(apart, "nothing comes between the wait and the call");
}

/// The same seed gives the same steps, calls included.
#[test]
fn a_seed_gives_the_same_again() {
    for seed in 0..50 {
        let record = || {
            let (story, steps) = Builder::new().seed(seed).record(story());
            (story, steps.to_string())
        };
        assert_eq!(record(), record(), "seed {seed}");
    }
}

#[test]
fn all_orders_of_calls_are_gone_through() {
    let stories = Mutex::new(BTreeSet::new());
    let explored = Builder::new().exhaust(9, || async {
        let log = Log::default();
        group(async |g| {
            for name in ["one", "other"] {
                let told = log.clone();
                g.spawn_blocking(move || {
                    told.say(name);
                    Ok(())
                });
            }
            Ok(())
        })
        .await
        .unwrap();
        stories.lock().unwrap().insert(log.entries());
    });
    assert!(explored.is_complete());
    let stories = stories.into_inner().unwrap();
    let both = [["one", "other"], ["other", "one"]];
    let both = both.map(|story| story.map(String::from).to_vec());
    assert_eq!(stories, BTreeSet::from(both));
}

/// The clock stands while there is a call to be run, whatever timer is next.
#[test]
fn no_time_passes_while_a_call_runs() {
    testing::explore(200, || async {
        let start = now();
        let sleeper = async {
            sleep(TICK).await;
            Ok::<_, Error>(now() - start)
        };
        let caller = async {
            for _ in 0..5 {
                assert_eq!(unblock(now).await, start);
                assert_eq!(now(), start);
            }
            Ok(())
        };
        let (slept, ()) = gather((sleeper, caller)).await.unwrap();
        assert_eq!(slept, TICK);
        assert_eq!(timeout(TICK, unblock(|| 7)).await, Ok(7));
    });
}

/// Case 194. Under each schedule the call has never begun, or has ended and its value is there; and
/// there are schedules for both.
#[test]
fn a_call_has_never_begun_or_its_value_is_there() {
    let (never, finished) = (Calls::default(), Calls::default());
    Builder::new().explore_here(200, || async {
        let (calls, scope, count) = (Calls::default(), CancelScope::new(), DropCount::new());
        let handle = scope.handle();
        let (begins, value) = (calls.clone(), count.track(7));
        let outcome = group(async |g| {
            g.spawn(async move {
                checkpoint().await;
                handle.cancel();
                Ok(())
            });
            let call = unblock(move || {
                drop(begins.begin());
                value
            });
            Ok(scope.run(call).await)
        });
        let outcome = outcome.await.unwrap();
        assert_eq!(outcome.is_ok(), calls.begun() == 1);
        assert_eq!(calls.begun(), calls.ended());
        assert_eq!(count.alive(), usize::from(outcome.is_ok()));
        drop(if outcome.is_ok() { &finished } else { &never }.begin());
    });
    assert!(never.begun() > 0, "none was cancelled in time");
    assert!(finished.begun() > 0, "none was begun in time");
}

/// Cancelled at each point, in each way: nothing is left behind, and no call is half done.
#[test]
fn a_call_cancelled_anywhere_has_never_begun_or_has_ended() {
    headcount::on_unclaimed(|_failure| {});
    let explored = Builder::new().seeds(20).cancel_everywhere_with(|| {
        let (calls, log) = (Calls::default(), Log::default());
        let (after, said) = (calls.clone(), log.clone());
        let program = async move {
            let call = |ticks: u32| {
                let (calls, value) = (calls.clone(), Tracked::new(ticks));
                move || {
                    let _running = calls.begin();
                    *value
                }
            };
            let (first, second, third) = (call(1), call(2), call(3));
            let inside = log.clone();
            let all = group(async |g| {
                g.spawn_blocking(move || Ok(first()));
                g.spawn(async move {
                    let came = unblock(second).await;
                    inside.say(format!("came {came}"));
                    sleep(came * TICK).await;
                    Ok(())
                });
                shield(unblock(|| ())).await;
                let third = async {
                    unblock(third).await;
                };
                finally(third, async {
                    unblock(|| ()).await;
                })
                .await;
                let_others_run().await;
                Ok(())
            });
            drop(timeout(TICK, all).await);
        };
        let check = move |how: Injection| {
            assert_eq!(after.begun(), after.ended(), "{how}");
            assert!(after.begun() <= 3, "{how}");
            if how == Injection::Nothing {
                assert!(said.has("came 2"));
            }
        };
        (program, check)
    });
    assert!(explored.runs() > 100, "{explored:?}: it hardly waits");
}

/// What a call does wakes others, in the same run.
#[test]
fn a_call_may_wake_a_task() {
    testing::explore(200, || async {
        let (gate, order) = (Gate::default(), Log::default());
        group(async |g| {
            let (at, told) = (gate.clone(), order.clone());
            g.spawn(async move {
                at.wait().await;
                told.say("woken");
                Ok(())
            });
            let told = order.clone();
            unblock(move || {
                told.say("the call");
                gate.open();
            })
            .await;
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(order.entries(), ["the call", "woken"]);
    });
}

/// A panic in a call is found by the exploration, like any other.
#[test]
fn a_panic_of_a_call_fails_the_test_run() {
    keep_quiet_about_purpose();
    let message = message_of(|| {
        testing::run(async {
            unblock(|| panic!("on purpose: in a test run")).await;
        });
    });
    assert!(message.contains("on purpose: in a test run"), "{message}");
    // And the thread is as it was.
    testing::run(async {
        let seen = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&seen);
        unblock(move || count.fetch_add(1, Ordering::SeqCst)).await;
        assert_eq!(seen.load(Ordering::SeqCst), 1);
    });
}
