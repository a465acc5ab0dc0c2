//! Failures without an owner: what fails in a cleanup that nobody waits for any more is told to a
//! hook, once, and everything else goes on. The hook belongs to the process, so all is one test.

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_lite::future;
use headcount::{Error, FailureKind, finally, group, on_unclaimed, run};

use crate::common::{Gate, Log, let_others_run, watched};

mod common;

/// Drops a group, in which a named task then fails in its cleanup.
async fn leaves_a_failure_behind(name: &'static str) {
    let running = Gate::default();
    let doomed = group(async |g| {
        let running = running.clone();
        g.spawn_named(name, async move {
            let body = async {
                running.open();
                pending::<()>().await;
            };
            finally(body, async {
                let_others_run().await;
                panic!("cannot say goodbye");
            })
            .await;
            Ok(())
        });
        pending::<Result<(), Error>>().await
    });
    future::or(async { drop(doomed.await) }, running.wait()).await;
}

/// Case 140. A failure that no group is there to report is told to the hook exactly once; one that a
/// group further out reports is not told; a hook that panics is ignored; the run goes on.
#[test]
fn a_failure_without_an_owner_is_told_once() {
    let log = Log::default();
    on_unclaimed({
        let log = log.clone();
        move |failure| {
            let FailureKind::Panic(panic) = failure.kind() else {
                panic!("an error nobody made");
            };
            log.say(format!(
                "{}: {}",
                failure.task().name().unwrap_or("nameless"),
                panic.message().unwrap_or("no message"),
            ));
        }
    });

    let answer = watched("with nobody further out", || {
        run(async {
            leaves_a_failure_behind("in a run").await;
            7
        })
    });
    assert_eq!(answer, 7);
    assert_eq!(log.entries(), ["in a run: cannot say goodbye"]);

    let failed = watched("with a group further out", || {
        run(group(async |_outer| {
            leaves_a_failure_behind("in a group").await;
            Ok(())
        }))
    });
    assert_eq!(failed.unwrap_err().leaves().count(), 1);
    assert_eq!(log.entries(), ["in a run: cannot say goodbye"]);

    watched("outside of run", || {
        future::block_on(leaves_a_failure_behind("on its own"));
        while log.entries().len() < 2 {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    assert_eq!(log.entries()[1..], ["on its own: cannot say goodbye"]);

    let called = Arc::new(Mutex::new(0));
    on_unclaimed({
        let called = Arc::clone(&called);
        move |_| {
            *called
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner()) += 1;
            panic!("the hook")
        }
    });
    let answer = watched("with a hook that panics", || {
        run(async {
            leaves_a_failure_behind("first").await;
            leaves_a_failure_behind("second").await;
            8
        })
    });
    assert_eq!(answer, 8);
    assert_eq!(*called.lock().unwrap(), 2);
}
