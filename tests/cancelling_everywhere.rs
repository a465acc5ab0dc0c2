//! Cancelling everywhere: which points, in which ways, what is looked for, and what is said.
#![cfg(feature = "testing")]

mod common;

use std::{
    collections::BTreeSet,
    env,
    process::Command,
    sync::{Arc, Mutex, atomic::AtomicU32, atomic::Ordering::SeqCst},
    time::Duration,
};

use common::message_of;
use headcount::{
    checkpoint, finally, group, now, shield, sleep,
    testing::{self, Builder, Injection, Tracked},
};

const SECOND: Duration = Duration::from_secs(1);

const KINDS: [Injection; 4] = [
    Injection::Dropped,
    Injection::ScopeCancelled,
    Injection::DeadlinePassed,
    Injection::SiblingFailed,
];

#[test]
fn each_way_of_being_cancelled_reaches_each_point() {
    let seen = Mutex::new(BTreeSet::new());
    let explored = testing::cancel_everywhere_with(|| {
        let reached = Arc::new(AtomicU32::new(0));
        let after = Arc::clone(&reached);
        let main = async move {
            for _ in 0..3 {
                sleep(SECOND).await;
                reached.fetch_add(1, SeqCst);
            }
        };
        let seen = &seen;
        let check = move |how: Injection| {
            let mut seen = seen.lock().expect("no panic");
            seen.insert((how.to_string(), after.load(SeqCst)));
        };
        (main, check)
    });
    let seen = seen.into_inner().expect("no panic");
    for how in KINDS {
        let points: Vec<_> = seen
            .iter()
            .filter(|(kind, _)| *kind == how.to_string())
            .collect();
        // Cut at each of the three waits, or too late to be cut.
        assert_eq!(points.len(), 4, "{how}: {points:?}");
    }
    // Once nothing was done to it.
    let nothing = (Injection::Nothing.to_string(), 3);
    assert!(seen.contains(&nothing), "{seen:?}");
    assert!(explored.runs() > 4 * 4, "{explored:?}");
    assert!(!explored.is_complete());
}

#[test]
fn a_point_in_a_task_is_a_point_as_well() {
    let seen = Mutex::new(BTreeSet::new());
    Builder::new().seeds(20).cancel_everywhere_with(|| {
        let reached = Arc::new(Mutex::new(BTreeSet::new()));
        let after = Arc::clone(&reached);
        let main = group(async move |g| {
            for name in ["one", "two"] {
                let reached = Arc::clone(&reached);
                g.spawn(async move {
                    checkpoint().await;
                    reached.lock().expect("no panic").insert(name);
                    Ok(())
                });
            }
            Ok(())
        });
        let seen = &seen;
        let check = move |how: Injection| {
            let reached: Vec<_> = after.lock().expect("no panic").iter().copied().collect();
            let mut seen = seen.lock().expect("no panic");
            seen.insert((how.to_string(), reached.concat()));
        };
        (main, check)
    });
    let seen = seen.into_inner().expect("no panic");
    for how in KINDS {
        for reached in ["", "one", "onetwo"] {
            let place = (how.to_string(), reached.to_owned());
            assert!(seen.contains(&place), "{place:?} in {seen:?}");
        }
    }
}

#[test]
fn the_ways_are_told_by_their_names() {
    let names = KINDS.map(|how| how.to_string());
    assert_eq!(
        names,
        [
            "its future is dropped",
            "its scope is cancelled",
            "its deadline passes",
            "its sibling fails"
        ]
    );
    assert_eq!(Injection::Nothing.to_string(), "nothing was done to it");
}

#[test]
fn a_deadline_passes_without_time_going_by() {
    testing::cancel_everywhere(|| async {
        let start = now();
        shield(checkpoint()).await;
        assert_eq!(now(), start);
    });
}

#[test]
fn finalizers_are_run_exactly_once_whatever_is_done() {
    Builder::new().seeds(10).cancel_everywhere_with(|| {
        let counts = Arc::new([const { AtomicU32::new(0) }; 4]);
        let after = Arc::clone(&counts);
        let main = group(async move |g| {
            let [body, task, deferred, begun] = [0, 1, 2, 3].map(|index| {
                let counts = Arc::clone(&counts);
                move || counts[index].fetch_add(1, SeqCst)
            });
            g.defer(async move {
                sleep(SECOND).await;
                deferred();
            });
            g.spawn(async move {
                begun();
                let work = finally(sleep(SECOND), async move {
                    checkpoint().await;
                    task();
                });
                work.await;
                Ok(())
            });
            let work = finally(sleep(SECOND), async move {
                checkpoint().await;
                body();
            });
            work.await;
            Ok(())
        });
        let check = move |how: Injection| {
            let [body, task, deferred, begun] = [0, 1, 2, 3].map(|index| after[index].load(SeqCst));
            assert!(body <= 1 && deferred <= 1, "{how}");
            // A task that was begun is seen out by its group, or the one further out.
            assert_eq!(task, begun, "{how}");
            if how == Injection::Nothing {
                assert_eq!((body, task, deferred), (1, 1, 1));
            }
        };
        (main, check)
    });
}

#[test]
fn a_cleanup_that_is_dropped_is_found_unless_that_is_fine() {
    let program = || async {
        let work = finally(sleep(2 * SECOND), sleep(SECOND));
        futures_lite::future::or(work, sleep(SECOND)).await;
    };
    let report = message_of(|| testing::cancel_everywhere(program));
    assert!(report.contains("1 finalizers were not run"), "{report}");
    Builder::new()
        .dropped_cleanups_are_fine()
        .cancel_everywhere(program);
    let report = message_of(|| testing::run(program()));
    assert!(report.contains("1 finalizers were not run"), "{report}");
    Builder::new().dropped_cleanups_are_fine().run(program());
}

#[test]
fn a_panic_in_a_task_is_found_unless_that_is_fine() {
    let program = || async {
        let ended = group(async |g| {
            g.spawn(async {
                checkpoint().await;
                panic!("on purpose");
                #[expect(unreachable_code, reason = "it says what the task returns")]
                Ok(())
            });
            Ok(())
        });
        drop(ended.await);
    };
    let report = message_of(|| testing::cancel_everywhere(program));
    let expected = "1 tasks or bodies have panicked\n\nwhen nothing was done to it at this point: \
                    before it began; the steps:";
    assert!(report.starts_with(expected), "{report}");
    headcount::on_unclaimed(|_failure| {});
    Builder::new().panics_are_fine().cancel_everywhere(program);
}

#[test]
fn a_destructor_that_panics_when_it_is_cut_is_found() {
    struct Fragile(bool);

    impl Drop for Fragile {
        fn drop(&mut self) {
            assert!(self.0, "cut halfway");
        }
    }

    let report = message_of(|| {
        testing::cancel_everywhere(|| {
            let ended = group(async |g| {
                g.spawn(async {
                    let mut fragile = Fragile(false);
                    checkpoint().await;
                    fragile.0 = true;
                    Ok(())
                });
                Ok(())
            });
            async { drop(ended.await) }
        })
    });
    assert!(report.contains("tasks or bodies have panicked"), "{report}");
    assert!(
        report.contains("task 1 (tests/cancelling_everywhere.rs:"),
        "{report}"
    );
}

#[test]
fn a_value_that_is_kept_only_when_cut_is_found() {
    /// Gives its value away when dropped, to nobody.
    struct Careless(Option<Tracked<u32>>);

    impl Drop for Careless {
        fn drop(&mut self) {
            let value = Arc::new(Mutex::new(self.0.take()));
            let cycle = Arc::new(Mutex::new(None::<Arc<dyn std::any::Any + Send + Sync>>));
            let kept: Arc<dyn std::any::Any + Send + Sync> = Arc::new((value, Arc::clone(&cycle)));
            *cycle.lock().expect("no panic") = Some(kept);
        }
    }

    let report = message_of(|| {
        testing::cancel_everywhere(|| async {
            let mut careless = Careless(Some(Tracked::new(1)));
            sleep(SECOND).await;
            drop(careless.0.take());
        })
    });
    let expected = "the test run has left something behind:\n  1 tracked values were not dropped\n\n\
                    when its future is dropped at this point: 0ns: main (";
    assert!(report.starts_with(expected), "{report}");
}

#[test]
fn a_program_that_hangs_when_cut_is_found() {
    let report = message_of(|| {
        testing::cancel_everywhere(|| async {
            let (tell, told) = headcount::channel::oneshot::<()>();
            finally(
                async {
                    sleep(SECOND).await;
                    tell.send(()).expect("the other end is open");
                    // Keeps the other end open while it waits to be told.
                    std::future::pending::<()>().await;
                },
                async {
                    told.await.expect("it is told");
                },
            )
            .await;
        })
    });
    assert!(
        report.starts_with("nothing is ready and no timer is set"),
        "{report}"
    );
    assert!(
        report.contains("main (tests/cancelling_everywhere.rs:"),
        "{report}"
    );
}

#[test]
fn a_check_that_fails_names_the_point_and_the_way() {
    let line = line!();
    let report = message_of(|| {
        testing::cancel_everywhere_with(|| {
            let main = async {
                sleep(SECOND).await;
                sleep(SECOND).await;
            };
            let check = |how| assert_ne!(how, Injection::DeadlinePassed, "not this way");
            (main, check)
        })
    });
    let main = line + 2;
    let expected = format!(
        "assertion `left != right` failed: not this way
  left: DeadlinePassed
 right: DeadlinePassed

when its deadline passes at this point: before it began; the steps:
   1. 0ns: its deadline passes
   2. 0ns: main (tests/cancelling_everywhere.rs:{main}) returns"
    );
    assert_eq!(report, expected);
}

/// Fails only under some schedules, and only if it is cut.
fn cut_between_two_tasks() -> (impl Future<Output = ()>, impl FnOnce(Injection)) {
    let order = Arc::new(Mutex::new(Vec::new()));
    let after = Arc::clone(&order);
    let both = group(async move |g| {
        for number in 0..2 {
            let order = Arc::clone(&order);
            g.spawn(async move {
                checkpoint().await;
                order.lock().expect("no panic").push(number);
                Ok(())
            });
        }
        Ok(())
    });
    let check = move |_how| {
        let order = after.lock().expect("no panic").clone();
        assert_ne!(order, [1], "the second without the first");
    };
    (async { drop(both.await) }, check)
}

#[test]
fn seeds_multiply_the_points() {
    let one = testing::cancel_everywhere_with(cut_between_two_tasks);
    let report = message_of(|| {
        Builder::new()
            .seed(100)
            .seeds(50)
            .cancel_everywhere_with(cut_between_two_tasks)
    });
    assert!(report.contains("the second without the first"), "{report}");
    assert!(report.contains(", with seed 1"), "{report}");
    let count = |seeds| {
        let program = || async { sleep(SECOND).await };
        Builder::new()
            .seeds(seeds)
            .cancel_everywhere(program)
            .runs()
    };
    assert_eq!(count(10), 10 * count(1));
    assert!(one.runs() > 20, "{one:?}");
}

#[test]
#[ignore = "run by the test below, in a process of its own"]
fn child_is_cancelled_everywhere() {
    Builder::new()
        .seeds(1_000)
        .cancel_everywhere_with(cut_between_two_tasks);
}

#[test]
fn a_seed_from_the_environment_is_the_only_one_that_is_run() {
    let report = message_of(|| {
        Builder::new()
            .seeds(50)
            .cancel_everywhere_with(cut_between_two_tasks)
    });
    let (_, rest) = report.split_once(", with seed ").expect("it names a seed");
    let seed = rest.split(' ').next().expect("a first part");
    let run = |seed: &str| {
        let output = Command::new(env::current_exe().expect("this program has a path"))
            .args([
                "child_is_cancelled_everywhere",
                "--exact",
                "--ignored",
                "--nocapture",
            ])
            .env("HEADCOUNT_SEED", seed)
            .output()
            .expect("the process can be started");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let text = run(seed);
    assert!(text.contains(&format!(
        ", with seed {seed} (run the test with HEADCOUNT_SEED={seed}"
    )));
    assert!(run("no number").contains("HEADCOUNT_SEED must be a number"));
}

#[test]
fn the_program_may_make_what_it_needs_and_fail_at_that() {
    let report = message_of(|| {
        testing::cancel_everywhere(|| {
            assert!(std::hint::black_box(false), "cannot be made");
            async {}
        })
    });
    assert!(report.contains("cannot be made"), "{report}");
}
