//! `run`: what it returns, what it waits for, and that it does not nest.

mod common;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    rc::Rc,
    thread,
    time::Duration,
};

use common::{
    Census, Gate, Log, everywhere, for_ever, in_run, keep_quiet_about_purpose, leaves_of,
    let_others_run, panic_text, watched,
};
use futures_lite::future::poll_once;
use headcount::{Runtime, finally, group, run, sleep, timeout};

/// Case 240. A run inside a run is refused with a panic that says what to do.
#[test]
fn a_run_inside_a_run_is_refused() {
    in_run(|| async {
        let refused = catch_unwind(|| run(async { 7 })).unwrap_err();
        let message = panic_text(&*refused).unwrap();
        assert!(
            message.contains("run") && message.contains("await"),
            "{message}"
        );
        // The run that it was refused in is unharmed.
        assert_eq!(
            group(async |g| Ok(g.spawn(async { Ok(7) }).await?))
                .await
                .unwrap(),
            7
        );
    });
}

/// Case 240. So is one inside a task, on whatever thread it runs; the refusal is that task's panic.
#[test]
fn a_run_inside_a_task_is_refused() {
    everywhere(|| async {
        let failed = group(async |g| {
            g.spawn(async { Ok(run(async { 7 })) });
            Ok(())
        })
        .await
        .unwrap_err();
        let told = leaves_of(&failed);
        assert_eq!(told.len(), 1);
        assert!(
            told[0].starts_with("panic: ") && told[0].contains("await"),
            "{told:?}"
        );
    });
}

/// Case 240. A run on a thread of one's own, started from within a run, is another matter.
#[test]
fn a_run_on_another_thread_is_its_own() {
    in_run(|| async {
        let elsewhere = thread::spawn(|| {
            Runtime::builder()
                .threads(1)
                .run(group(async |g| Ok(g.spawn(async { Ok(7) }).await?)))
        });
        assert_eq!(elsewhere.join().unwrap().unwrap(), 7);
    });
}

/// Case 240. A run that has ended, or panicked, leaves the thread free for the next one.
#[test]
fn runs_may_follow_each_other() {
    keep_quiet_about_purpose();
    watched("one after the other", || {
        assert_eq!(run(async { 7 }), 7);
        let panicked = catch_unwind(|| run(async { panic!("on purpose") }));
        assert_eq!(panic_text(&*panicked.unwrap_err()), Some("on purpose"));
        assert_eq!(
            run(group(async |g| Ok(g.spawn(async { Ok(8) }).await?))).unwrap(),
            8
        );
    });
}

/// Case 241. What main returns is what the run returns, errors included, as they are.
#[test]
fn the_error_of_main_comes_out_as_it_is() {
    #[derive(Debug, PartialEq)]
    struct Mine(Rc<str>);

    watched("in a run", || {
        let failed: Result<(), Mine> = run(async { Err(Mine("not wrapped".into())) });
        assert_eq!(failed, Err(Mine("not wrapped".into())));
        // Main need be neither `Send` nor `'static`.
        let words = Rc::new(vec![1, 2, 3]);
        assert_eq!(run(async { words.iter().sum::<i32>() }), 6);
    });
}

/// Case 242. Tasks that main leaves behind are cancelled, and gone when the run returns, their
/// cleanup included.
#[test]
fn what_main_leaves_behind_is_gone_when_the_run_returns() {
    for threads in [1, 4] {
        watched("in a run", || {
            let (census, log) = (Census::default(), Log::default());
            let seven = Runtime::builder().threads(threads).run(async {
                let begun = Gate::default();
                let mut left_behind = pin!(group(async |g| {
                    let (value, to, started) = (census.enter(), log.clone(), begun.clone());
                    g.spawn(async move {
                        let _value = value;
                        let busy = async {
                            started.open();
                            for_ever().await
                        };
                        let cleanup = async {
                            let_others_run().await;
                            sleep(Duration::from_millis(1)).await;
                            to.say("cleaned up");
                        };
                        finally(busy, cleanup).await
                    });
                    for_ever().await
                }));
                while !begun.is_open() {
                    assert!(poll_once(left_behind.as_mut()).await.is_none());
                }
                7
            });
            assert_eq!(seven, 7);
            assert_eq!(log.entries(), ["cleaned up"]);
            assert_eq!(census.alive(), 0);
        });
    }
}

/// Case 242. Also when main panics: the panic goes on after everything is gone.
#[test]
fn a_panic_of_main_goes_on_after_the_stragglers() {
    keep_quiet_about_purpose();
    watched("in a run", || {
        let (census, log) = (Census::default(), Log::default());
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            run(async {
                let begun = Gate::default();
                let mut left_behind = pin!(group(async |g| {
                    let (value, to, started) = (census.enter(), log.clone(), begun.clone());
                    g.spawn(async move {
                        let _value = value;
                        let busy = async {
                            started.open();
                            for_ever().await
                        };
                        finally(busy, async { to.say("cleaned up") }).await
                    });
                    for_ever().await
                }));
                while !begun.is_open() {
                    assert!(poll_once(left_behind.as_mut()).await.is_none());
                }
                panic!("on purpose")
            })
        }));
        assert_eq!(panic_text(&*panicked.unwrap_err()), Some("on purpose"));
        assert_eq!(log.entries(), ["cleaned up"]);
        assert_eq!(census.alive(), 0);
    });
}

/// Case 244. A future that needs a runtime which is not there panics at its first poll. The panic is
/// a failure like any other, and the group winds down in order.
#[test]
fn a_future_of_a_foreign_runtime_fails_in_order() {
    everywhere(|| async {
        let census = Census::default();
        let failed = group(async |g| {
            let value = census.enter();
            g.spawn(async move {
                let _value = value;
                for_ever().await
            });
            g.spawn_named("foreign", async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(())
            });
            for_ever().await
        })
        .await
        .unwrap_err();
        assert_eq!(census.alive(), 0);
        assert_eq!(failed.len(), 1);
        assert_eq!(failed.first().unwrap().task().name(), Some("foreign"));
        let told = leaves_of(&failed);
        assert!(
            told[0].starts_with("panic: ") && told[0].contains("Tokio"),
            "{told:?}"
        );
    });
}

/// Case 244, the other way round: this crate's futures work under a foreign runtime.
#[test]
fn groups_work_under_tokio_and_smol() {
    async fn program() {
        let sum = group(async |g| {
            let one = g.spawn(async {
                sleep(Duration::from_millis(1)).await;
                Ok(1)
            });
            let two = g.spawn_local(async { Ok(2) });
            Ok(one.await? + two.await?)
        });
        assert_eq!(
            timeout(Duration::from_secs(60), sum)
                .await
                .unwrap()
                .unwrap(),
            3
        );
    }

    watched("under smol", || smol::block_on(program()));
    watched("under tokio", || {
        let tokio = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .build()
            .unwrap();
        tokio.block_on(program());
        tokio.block_on(async { tokio::spawn(program()).await.unwrap() });
    });
}
