//! Explorations: many seeds, every schedule within a bound, and what is said when one fails.
#![cfg(feature = "testing")]
#![expect(
    clippy::unit_arg,
    reason = "a task that does one thing, and returns nothing, takes one line"
)]

mod common;

use std::{
    cell::Cell,
    collections::BTreeSet,
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    process::{Command, Output},
    rc::Rc,
    sync::{Arc, Mutex, atomic::AtomicU32, atomic::Ordering::SeqCst, mpsc},
    thread,
    time::{Duration, Instant},
};

use common::message_of;
use headcount::{
    CancelScope, Policy, TaskGroup, channel, checkpoint, group, now, sleep,
    testing::{self, Builder, DropCount, Sequence, Tracked, WakeCount},
    timeout,
};

const SECOND: Duration = Duration::from_secs(1);

/// Runs one of the tests below, which are ignored, in a process of its own.
fn in_a_process(test: &str, seed: Option<&str>) -> (Output, String) {
    let mut command = Command::new(env::current_exe().expect("this program has a path"));
    command.args([test, "--exact", "--ignored", "--nocapture"]);
    command.env_remove("HEADCOUNT_SEED");
    command.envs(seed.map(|seed| ("HEADCOUNT_SEED", seed)));
    let output = command.output().expect("the process can be started");
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    (output, text)
}

/// Tasks that are ready at the same time; returns the order in which they went.
async fn order_of(tasks: u32) -> Vec<u32> {
    let order = Arc::new(Mutex::new(Vec::new()));
    group(async |g| {
        for number in 0..tasks {
            let order = Arc::clone(&order);
            g.spawn(async move {
                order.lock().expect("no panic").push(number);
                Ok(())
            });
        }
        Ok(())
    })
    .await
    .expect("nothing fails");
    order.lock().expect("no panic").clone()
}

/// Fails if the last of so many tasks overtakes the one before it, and nobody else does.
async fn fails_if_the_last_two_are_exchanged(tasks: u32) {
    let mut expected: Vec<_> = (0..tasks).collect();
    expected.swap(tasks as usize - 1, tasks as usize - 2);
    assert_ne!(order_of(tasks).await, expected, "exchanged");
}

/// Fails under about half of all schedules.
async fn fails_if_the_second_goes_first() {
    assert_eq!(order_of(2).await, [0, 1], "overtaken");
}

/// The seed that a report names.
fn seed_in(report: &str) -> String {
    let (_, rest) = report
        .split_once("found with seed ")
        .expect("it names a seed");
    let is_end = |sign: char| !sign.is_ascii_digit();
    rest.split(is_end).next().expect("a first part").to_owned()
}

#[test]
#[ignore = "run by the tests below, in a process of its own"]
fn child_explores() {
    let explored = testing::explore(1_000, fails_if_the_second_goes_first);
    assert_eq!(explored.runs(), 1, "only the seed that was asked for");
}

#[test]
#[ignore = "run by the tests below, in a process of its own"]
fn child_explores_on_its_thread() {
    let explored = Builder::new().explore_here(1_000, fails_if_the_second_goes_first);
    assert_eq!(explored.runs(), 1, "only the seed that was asked for");
}

#[test]
#[ignore = "run by the tests below, in a process of its own"]
fn child_runs() {
    Builder::new().seed(12).run(async {
        checkpoint().await;
        panic!("on purpose");
    });
}

#[test]
#[ignore = "run by the tests below, in a process of its own"]
fn child_does_not_return_from_a_poll() {
    Builder::new().limit(Duration::from_millis(1)).run(async {
        loop {
            thread::park();
        }
    })
}

#[test]
fn the_seed_of_a_report_fails_again_in_another_process() {
    let report = message_of(|| testing::explore(1_000, fails_if_the_second_goes_first));
    let seed = seed_in(&report);
    for child in ["child_explores", "child_explores_on_its_thread"] {
        let (output, text) = in_a_process(child, Some(&seed));
        assert!(!output.status.success(), "{text}");
        assert!(text.contains("overtaken"), "{text}");
        assert_eq!(seed_in(&text), seed);
    }
}

#[test]
fn a_seed_from_the_environment_is_the_only_one_that_is_run() {
    let passes = (0..100).find(|&seed| {
        let main = fails_if_the_second_goes_first();
        catch_unwind(AssertUnwindSafe(|| Builder::new().seed(seed).run(main))).is_ok()
    });
    let passes = passes.expect("one in two").to_string();
    for child in ["child_explores", "child_explores_on_its_thread"] {
        let (output, text) = in_a_process(child, Some(&passes));
        assert!(output.status.success(), "{text}");
    }
}

#[test]
fn a_seed_that_is_not_a_number_is_refused() {
    for child in [
        "child_explores",
        "child_explores_on_its_thread",
        "child_runs",
    ] {
        for seed in ["abc", "-1", "", "18446744073709551616"] {
            let (output, text) = in_a_process(child, Some(seed));
            assert!(!output.status.success(), "{text}");
            let refusal =
                format!("HEADCOUNT_SEED must be a number from 0 to 2^64 - 1, not {seed:?}");
            assert!(text.contains(&refusal), "{text}");
        }
    }
}

#[test]
fn a_run_that_fails_says_how_to_see_it_again() {
    let (_, text) = in_a_process("child_runs", None);
    assert!(text.contains("on purpose"), "{text}");
    let replay = "the test run with seed 12 failed; to see it again, run the test with \
                  HEADCOUNT_SEED=12. Its last steps:\n   1. 0ns: main (tests/exploring.rs:";
    assert!(text.contains(replay), "{text}");
    let (_, text) = in_a_process("child_runs", Some("5"));
    assert!(text.contains("the test run with seed 5 failed"), "{text}");
}

#[test]
fn a_poll_that_does_not_return_ends_the_process() {
    let (output, text) = in_a_process("child_does_not_return_from_a_poll", None);
    assert!(!output.status.success(), "{text}");
    let last_words = "headcount: a poll in child_does_not_return_from_a_poll does not return: it \
                      computes without end, or blocks its thread; the process is ended";
    assert!(text.contains(last_words), "{text}");
}

#[test]
fn the_smallest_schedule_is_smaller_than_the_one_that_was_found() {
    // Eight tasks in any order, of which only the first and the last matter.
    let report = message_of(|| {
        testing::explore(1_000, || async {
            let order = order_of(8).await;
            let place = |number| order.iter().position(|other| *other == number);
            assert!(place(0) < place(7), "overtaken");
        })
    });
    // A schedule that is drawn departs at nearly every step.
    assert!(report.contains("departs 1 times"), "{report}");
}

#[test]
fn exhaust_finds_what_a_few_seeds_miss() {
    let program = || fails_if_the_last_two_are_exchanged(7);
    // One order of 5040.
    testing::explore(100, program);
    let report = message_of(|| testing::exhaust(1, program));
    assert!(report.contains("exchanged"), "{report}");
    assert!(report.contains("departs 1 times"), "{report}");
    assert!(report.contains("found in run "), "{report}");
}

#[test]
fn exhaust_tries_every_order_once() {
    let orders = Mutex::new(Vec::new());
    let explored = testing::exhaust(usize::MAX, || async {
        let order = order_of(4).await;
        orders.lock().expect("no panic").push(order);
    });
    let orders = orders.into_inner().expect("no panic");
    assert!(explored.is_complete());
    let different: BTreeSet<_> = orders.iter().collect();
    assert_eq!(different.len(), 24);
    assert_eq!(explored.runs(), orders.len() as u64);
}

#[test]
fn more_preemptions_find_more_orders_until_there_are_no_more() {
    let orders_within = |preemptions| {
        let orders = Mutex::new(BTreeSet::new());
        let explored = testing::exhaust(preemptions, || async {
            let order = order_of(3).await;
            orders.lock().expect("no panic").insert(order);
        });
        let orders = orders.into_inner().expect("no panic");
        (orders.len(), explored.is_complete())
    };
    assert_eq!(orders_within(0), (1, false));
    assert!(!orders_within(1).1);
    assert!(orders_within(1).0 < orders_within(2).0);
    assert_eq!(orders_within(9), (6, true));
}

#[test]
fn a_program_without_a_choice_has_been_explored_completely() {
    assert!(testing::explore(10, || async { checkpoint().await }).is_complete());
    let two = testing::explore(10, || async { drop(order_of(2).await) });
    assert!(!two.is_complete());
    assert_eq!(two.runs(), 10);
    assert_eq!(testing::explore(0, || async {}).runs(), 0);
}

#[test]
fn an_error_of_main_is_a_failure() {
    let report = message_of(|| {
        testing::explore(10, || async {
            group(async |g| {
                g.spawn(async { Err::<(), _>("no route".into()) });
                Ok(())
            })
            .await
        })
    });
    assert!(report.contains("no route"), "{report}");
}

#[test]
fn a_panic_in_a_task_is_found() {
    let report = message_of(|| {
        testing::explore(10, || async {
            let collecting = TaskGroup::builder().policy(Policy::Collect);
            collecting
                .run(async |g| {
                    g.spawn(async {
                        assert!(std::hint::black_box(false), "on purpose");
                        Ok(())
                    });
                    Ok(())
                })
                .await
        })
    });
    assert!(report.contains("on purpose"), "{report}");
}

#[test]
fn a_program_that_cannot_be_shared_is_explored_on_this_thread() {
    let seeds = Rc::new(Cell::new(0));
    let explored = Builder::new().seed(u64::MAX).explore_here(3, || {
        let seeds = Rc::clone(&seeds);
        async move {
            seeds.set(seeds.get() + 1);
            checkpoint().await;
        }
    });
    assert_eq!(explored.runs(), 3);
    // The first is run twice. The seeds go on from 0 after the last.
    assert_eq!(seeds.get(), 4);
}

#[test]
fn a_failure_that_does_not_come_again_is_not_made_smaller() {
    let runs = AtomicU32::new(0);
    let report = message_of(|| {
        Builder::new().explore_here(10, || async {
            assert_ne!(runs.fetch_add(1, SeqCst), 5, "only this once");
            drop(order_of(3).await);
        })
    });
    assert!(report.contains("only this once"), "{report}");
    let expected = "found with seed 4 (run the test with HEADCOUNT_SEED=4 to run only \
                    that); the same schedule, tried again, did not do it: the program is not \
                    deterministic, or another thread takes part";
    assert!(report.contains(expected), "{report}");
}

#[test]
fn two_runs_that_differ_are_shown_where_they_do() {
    let runs = AtomicU32::new(0);
    let report = message_of(|| {
        testing::explore(10, || async {
            let is_second = runs.fetch_add(1, SeqCst) == 1;
            sleep(if is_second { 2 * SECOND } else { SECOND }).await;
        })
    });
    let expected = "the program is not deterministic, and cannot be explored: with the same seed step 2 \
                    was once\n  1s: the clock moves\nand once\n  2s: the clock moves\n(it looks at \
                    the wall clock, at random numbers or at the order of a hash map, perhaps)";
    assert_eq!(report, expected);
}

/// Looking for a smaller schedule once took as long as the program was given for each try.
#[test]
fn no_smaller_schedule_is_looked_for_if_the_program_goes_round_in_circles() {
    let start = Instant::now();
    let report = message_of(|| {
        let brief = Builder::new().limit(Duration::from_millis(200));
        brief.explore_here(10, || async {
            let circles = group(async |g| {
                for _ in 0..2 {
                    g.spawn(async {
                        loop {
                            checkpoint().await;
                        }
                        #[expect(unreachable_code, reason = "it says what the task returns")]
                        Ok(())
                    });
                }
                Ok(())
            });
            drop(circles.await);
        })
    });
    assert!(report.contains("has taken too long"), "{report}");
    assert!(report.contains("found with seed 0"), "{report}");
    assert!(start.elapsed() < 30 * SECOND, "it was looked for");
}

/// A limit that was too long to be told was once taken for one that was over.
#[test]
fn a_limit_that_is_too_long_to_be_told_is_none() {
    Builder::new().limit(Duration::MAX).run(async {
        for _ in 0..1_000 {
            checkpoint().await;
        }
    });
}

/// A thread that answers after a while.
fn answers_later() -> impl Future<Output = u32> {
    let (tell, told) = channel::oneshot();
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        tell.send(7).expect("it is waited for");
    });
    async { told.await.expect("it answers") }
}

#[test]
fn patience_is_had_with_other_threads_before_the_clock_moves() {
    Builder::new().patience(30 * SECOND).run(async {
        let start = now();
        assert_eq!(timeout(SECOND, answers_later()).await, Ok(7));
        assert_eq!(now(), start);
    });
}

#[test]
fn patience_has_an_end() {
    Builder::new()
        .patience(Duration::from_millis(1))
        .run(async {
            let start = now();
            sleep(SECOND).await;
            assert_eq!(now() - start, SECOND);
        });
}

#[test]
fn without_patience_a_wait_for_another_thread_is_a_deadlock() {
    let report = message_of(|| testing::run(answers_later()));
    assert!(
        report.starts_with("nothing is ready and no timer is set"),
        "{report}"
    );
}

#[test]
fn a_task_may_be_spawned_by_another_thread() {
    let (tell, told) = mpsc::channel();
    Builder::new().patience(30 * SECOND).run(async {
        group(async |g| {
            let spawner = g.spawner();
            let thread = thread::spawn(move || {
                thread::sleep(Duration::from_millis(20));
                spawner.spawn(async move {
                    checkpoint().await;
                    tell.send(thread::current().id()).expect("it is waited for");
                    Ok(())
                });
            });
            g.spawn(testing::real(async move {
                smol::unblock(move || thread.join().is_ok()).await;
                Ok(())
            }));
            Ok(())
        })
        .await
        .expect("nothing fails");
    });
    assert_eq!(told.recv(), Ok(thread::current().id()));
}

#[test]
fn advancing_for_ever_is_ended_by_a_deadline() {
    testing::run(async {
        let start = now();
        let ticks = AtomicU32::new(0);
        let ticks = &ticks;
        let late = timeout(10 * SECOND, async {
            let ticking = group(async |g| {
                g.spawn_local(async move {
                    loop {
                        sleep(SECOND).await;
                        ticks.fetch_add(1, SeqCst);
                    }
                    #[expect(unreachable_code, reason = "it says what the task returns")]
                    Ok(())
                });
                testing::advance(Duration::MAX).await;
                Ok(())
            });
            drop(ticking.await);
        });
        assert!(late.await.is_err());
        assert_eq!(now() - start, 10 * SECOND);
        assert!(ticks.load(SeqCst) >= 9);
    });
}

#[test]
fn advancing_for_ever_alone_is_a_deadlock() {
    let report = message_of(|| testing::run(async { testing::advance(Duration::MAX).await }));
    assert!(report.contains("no timer is set"), "{report}");
}

#[test]
fn advancing_by_nothing_lets_everything_that_is_ready_happen() {
    testing::explore(50, || async {
        let start = now();
        group(async |g| {
            let task = g.spawn(async { Ok(checkpoint().await) });
            testing::advance(Duration::ZERO).await;
            assert!(task.is_finished());
            assert_eq!(now(), start);
            Ok(())
        })
        .await
    });
}

#[test]
fn several_may_wait_until_everything_has_settled() {
    testing::explore(100, || async {
        let settled = Arc::new(AtomicU32::new(0));
        group(async |g| {
            for _ in 0..3 {
                let settled = Arc::clone(&settled);
                g.spawn(async move {
                    testing::settle().await;
                    settled.fetch_add(1, SeqCst);
                    Ok(())
                });
            }
            let busy = g.spawn(async {
                for _ in 0..10 {
                    checkpoint().await;
                }
                Ok(())
            });
            testing::settle().await;
            assert!(busy.is_finished());
            // Those who have waited as long are let on at the same time.
            testing::settle().await;
            assert_eq!(settled.load(SeqCst), 3);
            Ok(())
        })
        .await
    });
}

#[test]
fn whoever_does_not_wait_for_it_any_more_is_not_told() {
    testing::run(async {
        let scope = CancelScope::new().timeout(Duration::ZERO);
        drop(scope.run(testing::settle()).await);
        testing::settle().await;
    });
}

#[test]
fn what_needs_a_test_run_says_so() {
    let advance = message_of(|| testing::advance(SECOND));
    let settle = message_of(testing::settle);
    let real = message_of(|| futures_lite::future::block_on(testing::real(async {})));
    for (name, text) in [("advance", advance), ("settle", settle), ("real", real)] {
        let expected = format!(
            "`testing::{name}` was called outside of a test run; call it under `testing::run`"
        );
        assert_eq!(text, expected);
    }
}

#[test]
fn a_sequence_holds_up_those_who_come_too_early() {
    testing::run(async {
        let sequence = Sequence::new();
        let mut second = Box::pin(sequence.turn(1));
        testing::assert_waits(second.as_mut());
        let first = testing::assert_ready(sequence.turn(0));
        testing::assert_waits(second.as_mut());
        drop(first);
        drop(testing::assert_ready(second));
        // Turns that are over do not come again.
        testing::assert_waits(sequence.turn(0));
    });
}

#[test]
fn tracked_values_are_themselves_outside_of_test_runs() {
    let mut value = Tracked::new(vec![1]);
    value.push(2);
    assert_eq!(format!("{value:?} {}", value.len()), "[1, 2] 2");
    assert_eq!(value.into_inner(), [1, 2]);
}

#[test]
fn a_tracked_value_may_be_taken_out() {
    testing::run(async { drop(Tracked::new(String::new()).into_inner()) });
}

#[test]
fn a_count_knows_what_was_made_and_what_is_alive() {
    let count = DropCount::new();
    let values: Vec<_> = (0..3).map(|number| count.track(number)).collect();
    assert_eq!((count.made(), count.alive()), (3, 3));
    let taken_out: Vec<_> = values.into_iter().map(Tracked::into_inner).collect();
    assert_eq!(taken_out, [0, 1, 2]);
    assert_eq!((count.clone().made(), count.alive()), (3, 0));
}

#[test]
fn a_future_is_ready_or_waits() {
    let ready = message_of(|| testing::assert_waits(async {}));
    assert_eq!(
        ready,
        "the future was expected to wait, and is ready in its first poll"
    );
    let waits = message_of(|| testing::assert_ready(std::future::pending::<()>()));
    assert_eq!(
        waits,
        "the future was expected to be ready in its first poll, and waits"
    );
}

#[test]
fn wakes_are_counted() {
    let count = WakeCount::new();
    let waker = count.waker();
    waker.wake_by_ref();
    let other = waker.clone();
    other.wake();
    drop(waker);
    assert_eq!(count.get(), 2);
}

/// Pinned: the same in debug and release, on every machine.
#[test]
fn the_steps_of_a_run_are_the_same_text_everywhere() {
    let line = line!();
    let (_, steps) = Builder::new().seed(3).record(async {
        let outer = group(async |g| {
            g.spawn_named("fails", async {
                sleep(2 * SECOND).await;
                Err::<(), _>("no route".into())
            });
            let inner = TaskGroup::builder().name("inner");
            let inner = inner.run(async |g| {
                g.spawn(async { Ok(sleep(3 * SECOND).await) });
                g.spawn_local(async { Ok(sleep(SECOND).await) });
                Ok(())
            });
            Ok(inner.await?)
        });
        drop(outer.await);
    });
    let (main, outer, fails) = (line + 1, line + 2, line + 3);
    let (inner, slow, quick) = (line + 8, line + 9, line + 10);
    let expected = EXPECTED_STEPS
        .replace("@main", &format!("tests/exploring.rs:{main}"))
        .replace("@outer", &format!("tests/exploring.rs:{outer}"))
        .replace("@fails", &format!("tests/exploring.rs:{fails}"))
        .replace("@inner", &format!("tests/exploring.rs:{inner}"))
        .replace("@slow", &format!("tests/exploring.rs:{slow}"))
        .replace("@quick", &format!("tests/exploring.rs:{quick}"));
    assert_eq!(steps.to_string(), expected);
    assert_eq!(steps.len(), expected.lines().count());
    assert!(!steps.is_empty());
}

const EXPECTED_STEPS: &str = "   1. 0ns: task 1 \"fails\" (@fails) is spawned
   2. 0ns: task 2 (@slow) is spawned
   3. 0ns: task 3 (@quick) is spawned
   4. 0ns: the body of \"inner\" (@inner) returns
   5. 0ns: the body of the group (@outer) waits
   6. 0ns: main (@main) waits
   7. 0ns: task 1 \"fails\" (@fails) waits
   8. 0ns: task 3 (@quick) waits
   9. 0ns: the body of the group (@outer) waits
  10. 0ns: main (@main) waits
  11. 0ns: task 2 (@slow) waits
  12. 1s: the clock moves
  13. 1s: task 3 (@quick) returns
  14. 1s: the body of the group (@outer) waits
  15. 1s: main (@main) waits
  16. 2s: the clock moves
  17. 2s: task 1 \"fails\" (@fails) fails
  18. 2s: task 2 (@slow) is cancelled
  19. 2s: the body of the group (@outer) waits
  20. 2s: the body of the group (@outer) is cancelled
  21. 2s: main (@main) returns
";
