//! The programs of the chapter on testing: each has a bug that an ordinary test does not see, is
//! found out, and passes once mended.
#![cfg(feature = "testing")]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use headcount::{
    group, now, shield, sleep,
    testing::{self, Injection},
    timeout,
};

/// What a failing test says.
fn report_of(test: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(test)).expect_err("it was to fail");
    *panic.downcast::<String>().expect("a text")
}

const SECOND: Duration = Duration::from_secs(1);

mod retry {
    use super::*;

    /// Tries up to five times, and waits in between: one second, two, four, eight.
    async fn retry<T, E>(mut attempt: impl AsyncFnMut() -> Result<T, E>) -> Result<T, E> {
        let mut pause = SECOND;
        for _ in 0..4 {
            if let Ok(value) = attempt().await {
                return Ok(value);
            }
            sleep(pause).await;
            pause *= 2;
        }
        attempt().await
    }

    /// The same with a slip: the pause is made longer only once.
    async fn retry_with_a_slip<T, E>(
        mut attempt: impl AsyncFnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        let pause = SECOND;
        for _ in 0..4 {
            if let Ok(value) = attempt().await {
                return Ok(value);
            }
            sleep(pause).await;
            let _pause = pause * 2;
        }
        attempt().await
    }

    /// When the attempts are made, in seconds from the start, if the first `failures` fail.
    macro_rules! attempts_of {
        ($retry:ident, $failures:expr) => {
            testing::run(async {
                let (start, mut times) = (now(), Vec::new());
                let result = $retry(async || {
                    times.push((now() - start).as_secs());
                    sleep(SECOND / 10).await; // It takes a while to see that nobody answers.
                    if times.len() > $failures {
                        Ok(times.len())
                    } else {
                        Err("no route")
                    }
                });
                let result = result.await;
                (result, times)
            })
        };
    }

    #[test]
    fn the_pauses_are_told_to_the_second() {
        assert_eq!(attempts_of!(retry, 2), (Ok(3), vec![0, 1, 3]));
        assert_eq!(
            attempts_of!(retry, 9),
            (Err("no route"), vec![0, 1, 3, 7, 15])
        );
    }

    #[test]
    fn a_slip_in_the_pauses_shows() {
        assert_eq!(
            attempts_of!(retry_with_a_slip, 9),
            (Err("no route"), vec![0, 1, 2, 3, 4])
        );
    }

    #[test]
    fn a_deadline_round_all_attempts_is_kept() {
        testing::run(async {
            let start = now();
            let all = retry(async || Err::<(), _>("no route"));
            let late = timeout(10 * SECOND, all).await;
            assert!(late.is_err());
            assert_eq!(now() - start, 10 * SECOND);
        });
    }
}

mod cache {
    use super::*;

    const ROUND_TRIP: Duration = Duration::from_millis(10);

    /// A database with one number in it.
    #[derive(Default)]
    struct Database(AtomicU32);

    impl Database {
        async fn read(&self) -> u32 {
            let value = self.0.load(SeqCst);
            sleep(ROUND_TRIP).await;
            value
        }

        async fn write(&self, value: u32) {
            self.0.store(value, SeqCst);
            sleep(ROUND_TRIP).await;
        }
    }

    #[derive(Default)]
    struct Cache {
        database: Database,
        state: Mutex<State>,
        is_careful: bool,
    }

    #[derive(Clone, Copy, Default)]
    struct State {
        kept: Option<u32>,
        writes: u32,
    }

    impl Cache {
        fn state(&self) -> State {
            *self.state.lock().expect("no panic")
        }

        async fn get(&self) -> u32 {
            let before = self.state();
            if let Some(value) = before.kept {
                return value;
            }
            let value = self.database.read().await;
            let mut state = self.state.lock().expect("no panic");
            // The mended cache keeps nothing that was read before the last write.
            if !self.is_careful || state.writes == before.writes {
                state.kept = Some(value);
            }
            value
        }

        async fn set(&self, value: u32) {
            self.database.write(value).await;
            let mut state = self.state.lock().expect("no panic");
            state.kept = None;
            state.writes += 1;
        }
    }

    async fn a_reader_and_a_writer(is_careful: bool) {
        let cache = Arc::new(Cache {
            is_careful,
            ..Cache::default()
        });
        group(async |g| {
            let (reader, writer) = (Arc::clone(&cache), Arc::clone(&cache));
            g.spawn_named("reader", async move { Ok(reader.get().await) });
            g.spawn_named("writer", async move {
                writer.set(7).await;
                Ok(())
            });
            Ok(())
        })
        .await
        .expect("nothing fails");
        assert_eq!(cache.get().await, 7, "the update is lost");
    }

    #[test]
    fn first_come_first_served_does_not_show_the_bug() {
        testing::exhaust(0, || a_reader_and_a_writer(false));
    }

    #[test]
    fn the_lost_update_is_found_and_its_schedule_can_be_read() {
        let report = report_of(|| {
            testing::explore(1_000, || a_reader_and_a_writer(false));
        });
        assert!(report.contains("the update is lost"), "{report}");
        assert!(report.contains("HEADCOUNT_SEED="), "{report}");
        assert!(report.contains("departs 1 times"), "{report}");
        // The writer has forgotten what was kept before the reader keeps the old value.
        let place = |what: &str| report.find(what).expect("it is among the steps");
        let (writer, reader) = ("\"writer\" (tests/testing_programs.rs:", "\"reader\" (");
        assert!(place(writer) > place(reader), "{report}");
        assert!(
            report.rfind(writer) < report.rfind(reader),
            "the writer is done first: {report}"
        );
    }

    #[test]
    fn exhaust_finds_it_as_well() {
        let report = report_of(|| {
            testing::exhaust(1, || a_reader_and_a_writer(false));
        });
        assert!(report.contains("the update is lost"), "{report}");
    }

    #[test]
    fn the_mended_cache_passes_under_every_schedule() {
        let explored = testing::exhaust(usize::MAX, || a_reader_and_a_writer(true));
        assert!(explored.is_complete());
        testing::explore(1_000, || a_reader_and_a_writer(true));
    }
}

mod transfer {
    use super::*;

    /// Two accounts, with a hundred in the first. Asking the bank takes a while.
    #[derive(Clone)]
    struct Bank(Arc<[AtomicU32; 2]>);

    impl Bank {
        fn new() -> Self {
            Self(Arc::new([AtomicU32::new(100), AtomicU32::new(0)]))
        }

        async fn withdraw(&self, amount: u32) {
            sleep(SECOND).await;
            self.0[0].fetch_sub(amount, SeqCst);
        }

        async fn deposit(&self, amount: u32) {
            sleep(SECOND).await;
            self.0[1].fetch_add(amount, SeqCst);
        }

        fn sum(&self) -> u32 {
            self.0.iter().map(|account| account.load(SeqCst)).sum()
        }

        async fn transfer(&self, amount: u32) {
            self.withdraw(amount).await;
            self.deposit(amount).await;
        }
    }

    #[test]
    fn the_await_between_the_two_steps_is_found() {
        let report = report_of(|| {
            testing::cancel_everywhere_with(|| {
                let bank = Bank::new();
                let after = bank.clone();
                let transfer = async move { bank.transfer(30).await };
                (transfer, move |_how| assert_eq!(after.sum(), 100))
            });
        });
        assert!(report.contains("left: 70"), "{report}");
        assert!(report.contains("when its future is dropped"), "{report}");
        // The first second is over: it stands between the steps.
        assert!(report.contains("at this point: 1s: main"), "{report}");
    }

    #[test]
    fn a_shield_holds_off_every_cancellation() {
        testing::cancel_everywhere_with(|| {
            let bank = Bank::new();
            let after = bank.clone();
            let transfer = async move { shield(bank.transfer(30)).await };
            let check = move |how| {
                // A shield is dropped with its owner.
                if how != Injection::Dropped {
                    assert_eq!(after.sum(), 100);
                }
            };
            (transfer, check)
        });
    }

    /// Nothing in a future can hold off its being dropped; a task of a group is not dropped with it.
    #[test]
    fn a_shield_in_a_task_holds_off_a_drop_as_well() {
        testing::Builder::new()
            .seeds(20)
            .cancel_everywhere_with(|| {
                let bank = Bank::new();
                let after = bank.clone();
                let transfer = group(async move |g| {
                    let task = g.spawn(async move {
                        shield(bank.transfer(30)).await;
                        Ok(())
                    });
                    Ok(task.await?)
                });
                (transfer, move |_how: Injection| {
                    assert_eq!(after.sum(), 100)
                })
            });
    }
}

mod deadlock {
    use super::*;
    use headcount::{CancelScope, TaskGroup, channel};

    #[test]
    fn the_crawler_that_nobody_listens_to_is_found_and_its_tree_can_be_read() {
        let line = line!();
        let report = report_of(|| {
            testing::run(async {
                let (to_worker, jobs) = channel::bounded::<u32>(1);
                let (to_owner, results) = channel::bounded::<u32>(1);
                TaskGroup::builder()
                    .name("crawler")
                    .run(async |g| {
                        g.spawn_named("worker", async move {
                            while let Ok(job) = jobs.recv().await {
                                shield(to_owner.send(job * 2)).await?;
                            }
                            Ok(())
                        });
                        let sending = async {
                            for job in 0..9 {
                                to_worker.send(job).await?;
                            }
                            Ok(())
                        };
                        CancelScope::new().name("sending").run(sending).await?
                    })
                    .await
                    .expect("nothing fails");
                drop(results);
            });
        });
        let (main, crawler, worker) = (line + 2, line + 7, line + 8);
        let expected = format!(
            "nothing is ready and no timer is set: these wait for ever, unless another thread \
             wakes them (see `testing::real`)
  main (tests/testing_programs.rs:{main})
    group \"crawler\" (tests/testing_programs.rs:{crawler}), in a scope \"sending\"
      task 1 \"worker\" (tests/testing_programs.rs:{worker}) waits, in a shield"
        );
        assert_eq!(report, expected);
    }
}
