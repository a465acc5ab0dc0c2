//! Test runs: the same seed is the same run, time is virtual, and a hang is a failure.
#![cfg(feature = "testing")]
#![expect(clippy::mem_forget, reason = "a run has to notice what was forgotten")]

mod common;

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use common::{Gate, Log, message_of};
use headcount::{
    CancelScope, Policy, TaskGroup, cancelled, checkpoint, finally, group, interval, now, shield,
    sleep,
    testing::{self, Builder, Sequence, Tracked},
    timeout,
};

const SECOND: Duration = Duration::from_secs(1);

/// Ten tasks that are ready at the same time; returns the order in which they went.
fn order_of_ten(seed: u64) -> (Vec<u32>, String) {
    let order = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&order);
    let (_, steps) = Builder::new().seed(seed).record(async move {
        group(async |g| {
            for number in 0..10 {
                let told = Arc::clone(&told);
                g.spawn(async move {
                    told.lock().expect("no panic").push(number);
                    checkpoint().await;
                    Ok(())
                });
            }
            Ok(())
        })
        .await
    });
    let order = order.lock().expect("no panic").clone();
    (order, steps.to_string())
}

#[test]
fn the_same_seed_gives_the_same_steps() {
    for seed in [0, 1, 7, u64::MAX] {
        assert_eq!(order_of_ten(seed), order_of_ten(seed));
    }
}

#[test]
fn different_seeds_give_different_orders() {
    let orders: BTreeSet<_> = (0..100).map(|seed| order_of_ten(seed).0).collect();
    assert!(orders.len() > 50, "only {} of 100 differ", orders.len());
}

/// Pinned, so that a debug build, a release build and another machine are seen to agree.
#[test]
fn the_order_of_a_seed_is_the_same_on_every_machine() {
    assert_eq!(order_of_ten(42).0, ORDER_OF_SEED_42);
}

const ORDER_OF_SEED_42: [u32; 10] = [3, 1, 0, 9, 8, 7, 4, 6, 5, 2];

/// Case 227.
#[test]
fn an_hour_of_sleeps_and_timeouts_takes_no_time() {
    let real = Instant::now();
    testing::run(async {
        let start = now();
        group(async |g| {
            for minute in 1..=60 {
                g.spawn(async move {
                    sleep(60 * minute * SECOND).await;
                    Ok(())
                });
                g.spawn(async move {
                    let waits = timeout(60 * minute * SECOND, std::future::pending::<()>()).await;
                    assert!(waits.is_err());
                    Ok(())
                });
            }
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(now() - start, 3600 * SECOND);
    });
    assert!(
        real.elapsed() < 60 * SECOND,
        "virtual time is not real time"
    );
}

/// Case 230.
#[test]
fn timers_that_are_passed_fire_in_the_order_of_their_deadlines_each_at_its_own_time() {
    testing::explore(100, || async {
        let log = Log::default();
        let start = now();
        group(async |g| {
            for seconds in [3, 1, 2, 5] {
                let log = log.clone();
                g.spawn(async move {
                    sleep(seconds * SECOND).await;
                    log.say(format!("{seconds} at {:?}", now() - start));
                    Ok(())
                });
            }
            testing::advance(4 * SECOND).await;
            assert_eq!(log.entries(), ["1 at 1s", "2 at 2s", "3 at 3s"]);
            assert_eq!(now() - start, 4 * SECOND);
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(now() - start, 5 * SECOND);
    });
}

#[test]
fn ties_between_timers_are_drawn_from_the_seed() {
    let orders: BTreeSet<_> = (0..50)
        .map(|seed| {
            let log = Log::default();
            let told = log.clone();
            let main = group(async move |g| {
                for name in ["a", "b", "c"] {
                    let log = told.clone();
                    g.spawn(async move {
                        sleep(SECOND).await;
                        log.say(name);
                        Ok(())
                    });
                }
                Ok(())
            });
            Builder::new().seed(seed).run(main).unwrap();
            log.entries()
        })
        .collect();
    assert_eq!(orders.len(), 6);
}

/// Case 231, with our rule for ties: a result beats a deadline that strikes in the same moment.
#[test]
fn work_that_takes_as_long_as_its_timeout_is_in_time() {
    testing::explore(200, || async {
        let work = async |seconds: u32| sleep(seconds * SECOND).await;
        assert!(timeout(3 * SECOND, work(3)).await.is_ok());
        assert!(timeout(3 * SECOND, work(4)).await.is_err());
        assert!(timeout(4 * SECOND, work(3)).await.is_ok());
    });
}

#[test]
fn settle_waits_until_everything_else_is_blocked() {
    testing::explore(100, || async {
        let done = Arc::new(AtomicU32::new(0));
        group(async |g| {
            for _ in 0..5 {
                let done = Arc::clone(&done);
                g.spawn(async move {
                    for _ in 0..5 {
                        checkpoint().await;
                    }
                    done.fetch_add(1, Ordering::SeqCst);
                    sleep(SECOND).await;
                    Ok(())
                });
            }
            let start = now();
            testing::settle().await;
            assert_eq!(done.load(Ordering::SeqCst), 5);
            assert_eq!(now(), start);
            Ok(())
        })
        .await
        .unwrap();
    });
}

#[test]
fn an_interval_ticks_in_virtual_time() {
    testing::run(async {
        let start = now();
        let mut ticks = interval(60 * SECOND);
        for minute in 1..=60 {
            ticks.tick().await;
            assert_eq!(now() - start, 60 * minute * SECOND);
        }
    });
}

/// Case 229.
#[test]
fn the_clock_stands_still_while_something_real_is_waited_for() {
    testing::run(async {
        let (tell, told) = async_channel::<u32>();
        let start = now();
        let timed = timeout(SECOND, testing::real(told)).await;
        assert_eq!(timed, Ok(7));
        assert_eq!(now(), start);
        drop(tell);
    });

    /// A thread that answers after a while.
    fn async_channel<T: From<u8> + Send + 'static>() -> (std::thread::JoinHandle<()>, Answer<T>) {
        let answer = Answer::default();
        let teller = Answer {
            state: Arc::clone(&answer.state),
        };
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            let mut state = teller.state.lock().expect("no panic");
            state.0 = Some(T::from(7));
            if let Some(waker) = state.1.take() {
                waker.wake();
            }
        });
        (thread, answer)
    }

    struct Answer<T> {
        state: Arc<Mutex<(Option<T>, Option<std::task::Waker>)>>,
    }

    impl<T> Default for Answer<T> {
        fn default() -> Self {
            Self {
                state: Arc::new(Mutex::new((None, None))),
            }
        }
    }

    impl<T> Future for Answer<T> {
        type Output = T;

        fn poll(
            self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<T> {
            let mut state = self.state.lock().expect("no panic");
            state.1 = Some(cx.waker().clone());
            match state.0.take() {
                Some(answer) => std::task::Poll::Ready(answer),
                None => std::task::Poll::Pending,
            }
        }
    }
}

/// Case 232, and the text of the report.
#[test]
fn a_deadlock_is_reported_with_the_tree_of_those_who_wait() {
    let line = line!();
    let stuck = || {
        testing::run(async {
            let outer = TaskGroup::builder().name("outer").run(async |g| {
                g.spawn_named("fetch", async {
                    shield(std::future::pending::<()>()).await;
                    Ok(())
                });
                g.spawn(async {
                    let scope = CancelScope::new().name("slow");
                    drop(scope.run(std::future::pending::<()>()).await);
                    Ok(())
                });
                let inner = group(async |g| {
                    g.spawn(async {
                        finally(async {}, std::future::pending()).await;
                        Ok(())
                    });
                    Ok(())
                });
                inner.await?;
                Ok(())
            });
            outer.await.unwrap();
        });
    };
    let text = message_of(stuck);
    let expected = format!(
        "nothing is ready and no timer is set: these wait for ever, unless another thread wakes them \
         (see `testing::real`)
  main (tests/test_runs.rs:{main})
    group \"outer\" (tests/test_runs.rs:{outer})
      task 1 \"fetch\" (tests/test_runs.rs:{fetch}) waits, in a shield
      task 2 (tests/test_runs.rs:{slow}) waits, in a scope \"slow\"
      a group (tests/test_runs.rs:{inner})
        task 3 (tests/test_runs.rs:{last}) waits, in cleanup",
        main = line + 2,
        outer = line + 3,
        fetch = line + 4,
        slow = line + 8,
        inner = line + 13,
        last = line + 14,
    );
    assert_eq!(text, expected);
}

#[test]
fn a_loop_without_end_is_given_up_with_the_tree_of_the_living() {
    let text = message_of(|| {
        let main = group(async |g| {
            g.spawn_named("busy", async {
                loop {
                    checkpoint().await;
                }
                #[expect(unreachable_code, reason = "it says what the task returns")]
                Ok(())
            });
            Ok(())
        });
        drop(Builder::new().limit(Duration::from_millis(50)).run(main));
    });
    assert!(
        text.starts_with("the test run has taken too long"),
        "{text}"
    );
    assert!(text.contains("task 1 \"busy\""), "{text}");
}

#[test]
fn what_is_left_at_the_end_fails_the_run() {
    let forgotten_value = message_of(|| {
        testing::run(async { std::mem::forget(Tracked::new(1)) });
    });
    assert_eq!(
        forgotten_value,
        "the test run has left something behind:\n  1 tracked values were not dropped"
    );
    let forgotten_timer = message_of(|| {
        testing::run(async {
            let mut wait = Box::pin(sleep(SECOND));
            testing::assert_waits(wait.as_mut());
            std::mem::forget(wait);
        });
    });
    assert!(
        forgotten_timer.contains("1 timers are set"),
        "{forgotten_timer}"
    );
    let dropped_cleanup = message_of(|| {
        testing::run(async {
            let mut cleanup = Box::pin(finally(sleep(SECOND), async {}));
            testing::assert_waits(cleanup.as_mut());
        });
    });
    assert!(
        dropped_cleanup.contains("1 finalizers were not run"),
        "{dropped_cleanup}"
    );
}

#[test]
fn a_panic_of_main_comes_out_as_it_is() {
    let text = message_of(|| testing::run(async { panic!("as it is") }));
    assert_eq!(text, "as it is");
}

#[test]
fn stragglers_are_waited_for_as_in_run() {
    testing::explore(100, || async {
        let log = Log::default();
        let (began, told) = (log.clone(), log.clone());
        let orphaned = group(async move |g| {
            g.spawn(async move {
                began.say("began");
                finally(cancelled(), async move {
                    sleep(SECOND).await;
                    told.say("cleaned up");
                })
                .await;
                Ok(())
            });
            sleep(SECOND).await;
            Ok(())
        });
        // Dropped by somebody else's combinator; seen out by the group that this is in.
        let nursery = group(async |_g| {
            let race = futures_lite::future::or(async { drop(orphaned.await) }, async {
                checkpoint().await;
                checkpoint().await;
            });
            race.await;
            Ok(())
        });
        nursery.await.unwrap();
        assert_eq!(log.has("began"), log.has("cleaned up"));
    });
}

#[test]
fn an_exploration_finds_a_lost_update_and_shows_the_smallest_schedule() {
    let text = message_of(|| {
        testing::explore(1_000, || async {
            let counter = Arc::new(AtomicU32::new(0));
            let in_parallel = TaskGroup::builder().policy(Policy::Collect);
            let counts = in_parallel.run(async |g| {
                for name in ["one", "two"] {
                    let counter = Arc::clone(&counter);
                    g.spawn_named(name, async move {
                        let seen = counter.load(Ordering::SeqCst);
                        checkpoint().await;
                        counter.store(seen + 1, Ordering::SeqCst);
                        Ok(())
                    });
                }
                Ok(())
            });
            counts.await.unwrap();
            assert_eq!(counter.load(Ordering::SeqCst), 2, "an update was lost");
        });
    });
    assert!(text.contains("an update was lost"), "{text}");
    assert!(text.contains("run the test with HEADCOUNT_SEED="), "{text}");
    assert!(
        text.contains("departs 0 times from first come, first served"),
        "{text}"
    );
    assert!(text.contains("task 2 \"two\""), "{text}");
}

#[test]
fn exhausting_a_small_program_says_whether_it_was_complete() {
    let program = || async {
        group(async |g| {
            for _ in 0..3 {
                g.spawn(async {
                    checkpoint().await;
                    Ok(())
                });
            }
            Ok(())
        })
        .await
        .unwrap();
    };
    let all = testing::exhaust(usize::MAX, program);
    assert!(all.is_complete());
    let few = testing::exhaust(1, program);
    assert!(!few.is_complete());
    assert!(few.runs() < all.runs(), "{few:?} {all:?}");
    let stopped = Builder::new().most_runs(5).exhaust(usize::MAX, program);
    assert_eq!(stopped.runs(), 5);
    assert!(!stopped.is_complete());
}

#[test]
fn a_program_that_is_not_deterministic_is_refused() {
    let calls = AtomicU32::new(0);
    let text = message_of(|| {
        testing::explore(10, || async {
            // Differs from run to run, as the wall clock or a random number would.
            let odd = calls.fetch_add(1, Ordering::SeqCst) % 2;
            group(async |g| {
                for _ in 0..=odd {
                    g.spawn(async {
                        checkpoint().await;
                        Ok(())
                    });
                }
                Ok(())
            })
            .await
            .unwrap();
        });
    });
    assert!(
        text.starts_with("the program is not deterministic"),
        "{text}"
    );
}

#[test]
fn cancelling_everywhere_finds_a_transfer_that_is_not_cancel_safe() {
    let transfer = |shielded: bool| {
        move || {
            let accounts = Arc::new((AtomicU32::new(100), AtomicU32::new(0)));
            let after = Arc::clone(&accounts);
            let transfer = async move {
                checkpoint().await;
                let steps = async {
                    accounts.0.fetch_sub(30, Ordering::SeqCst);
                    checkpoint().await;
                    accounts.1.fetch_add(30, Ordering::SeqCst);
                };
                if shielded {
                    shield(steps).await;
                } else {
                    steps.await;
                }
            };
            let check = move |how| {
                let sum = after.0.load(Ordering::SeqCst) + after.1.load(Ordering::SeqCst);
                // Nothing inside can hold off a drop from outside.
                assert!(
                    sum == 100 || how == testing::Injection::Dropped,
                    "money is lost"
                );
            };
            (transfer, check)
        }
    };
    let text = message_of(|| {
        testing::cancel_everywhere_with(transfer(false));
    });
    assert!(text.contains("money is lost"), "{text}");
    assert!(
        text.contains("when its scope is cancelled at this point: "),
        "{text}"
    );
    testing::cancel_everywhere_with(transfer(true));
}

#[test]
fn a_finalizer_that_does_not_run_is_found() {
    let text = message_of(|| {
        testing::cancel_everywhere(|| async {
            // Another crate's combinator drops a cleanup.
            let work = finally(sleep(SECOND), async { checkpoint().await });
            futures_lite::future::or(work, sleep(SECOND / 2)).await;
        });
    });
    assert!(text.contains("1 finalizers were not run"), "{text}");
}

#[test]
fn a_sequence_holds_under_every_schedule() {
    testing::explore(200, || async {
        let (sequence, log) = (Sequence::new(), Log::default());
        group(async |g| {
            for number in [1, 0, 2] {
                let (sequence, log) = (sequence.clone(), log.clone());
                g.spawn(async move {
                    let _turn = sequence.turn(number).await;
                    log.say(number.to_string());
                    checkpoint().await;
                    log.say(number.to_string());
                    Ok(())
                });
            }
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(log.entries().concat(), "001122");
    });
}

#[test]
fn misuse_is_told() {
    let nested = message_of(|| testing::run(async { testing::run(async {}) }));
    assert!(nested.contains("inside another test run"), "{nested}");
    let in_run = message_of(|| headcount::run(async { testing::run(async {}) }));
    assert!(in_run.contains("inside `run`"), "{in_run}");
    let run_inside = message_of(|| testing::run(async { headcount::run(async {}) }));
    assert!(run_inside.contains("inside another `run`"), "{run_inside}");
    let outside = message_of(|| drop(testing::advance(SECOND)));
    assert!(outside.contains("outside of a test run"), "{outside}");
}

/// A body that has returned may still be woken by somebody who kept its waker. Its owner once looked
/// again and again for what it was about.
#[test]
fn a_wake_that_comes_after_the_body_has_returned_is_ignored() {
    common::everywhere(|| async {
        let gate = Gate::default();
        group(async |g| {
            let inner = group(async |inner| {
                let waker = std::future::poll_fn(|cx| std::task::Poll::Ready(cx.waker().clone()));
                let waker = waker.await;
                let gate = gate.clone();
                inner.spawn(async move {
                    waker.wake();
                    gate.wait().await;
                    Ok(())
                });
                Ok(())
            });
            let opens = gate.clone();
            g.spawn_local(async move {
                common::let_others_run().await;
                opens.open();
                Ok(())
            });
            Ok(inner.await?)
        })
        .await
        .unwrap();
    });
}
