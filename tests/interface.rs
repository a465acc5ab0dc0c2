//! The interface that programs are written against: names, shapes, and what may be sent to another
//! thread. What is here only has to compile; what it does is the business of the other tests.

use std::time::{Duration, Instant};

use headcount::{
    Aborted, CancelScope, Cancelled, Error, ErrorGroup, Failure, FailureKind, GroupClosed, Panic,
    Policy, Ready, Runtime, ScopeHandle, Spawner, StartError, Task, TaskGroup, TaskInfo, TimedOut,
    bracket, cancelled, checkpoint, deadline, finally, group, interval, is_cancelled, now, run,
    shield, sleep, sleep_until, time_left, timeout, timeout_at,
};

fn is_send<T: Send>(value: T) -> T {
    value
}

fn is_shared<T: Send + Sync>() {}

fn is_a_handle<T: Clone + Send + Sync + 'static>() {}

#[derive(Debug)]
struct Refused;

/// All of a group's methods, in a task that is sent to another thread.
#[test]
fn a_program_that_uses_everything_can_be_sent() {
    let program = async {
        let page = String::from("three words here");
        let mut hits = 0;
        let typed: Result<u32, ErrorGroup<Refused>> = TaskGroup::builder()
            .name("typed")
            .policy(Policy::Collect)
            .limit(4)
            .resume_panics()
            .errors::<Refused>()
            .run(async |g| {
                g.spawn(async { if hits_nothing() { Ok(()) } else { Err(Refused) } });
                Ok(1)
            })
            .await;
        assert_eq!(typed.unwrap(), 1);
        let counted: Result<usize, ErrorGroup> = group(async |g| {
            let parallel: Task<u32> = g.spawn(async { Ok(7) });
            let local = g.spawn_local(async {
                hits += 1;
                Ok(page.split(' ').count())
            });
            let named = g.spawn_named("named", async { Ok(std::io::Error::last_os_error()) });
            let local_named = g.spawn_local_named("near", async { Ok(page.len()) });
            let spawner: Spawner = g.spawner();
            let from_outside: Result<Task<()>, GroupClosed<_>> =
                spawner.try_spawn(async { Ok(()) });
            let port: Result<u16, StartError> = g
                .start(|ready: Ready<u16>| async move {
                    ready.send(80);
                    Ok(())
                })
                .await;
            g.defer(async {});
            assert_eq!(port.unwrap(), 80);
            assert!(!parallel.is_finished() || parallel.id() > 0);
            assert_eq!(named.name(), Some("named"));
            let scope: ScopeHandle = g.scope();
            assert!(!scope.is_cancelled() && !g.is_cancelled() && g.len() <= 5);
            from_outside.map_err(|_| "closed")?.await?;
            parallel.await?;
            drop((named.await?, local_named.await?));
            Ok(local.await?)
        })
        .await;
        assert_eq!(counted.unwrap(), 3);
        assert_eq!(hits, 1);
        scopes().await;
    };
    run(is_send(program));
}

fn hits_nothing() -> bool {
    true
}

/// Scopes and what can be asked about them.
async fn scopes() {
    let scope = CancelScope::new()
        .deadline(now() + Duration::from_secs(60))
        .timeout(Duration::from_secs(60))
        .name("scope");
    let handle = scope.handle();
    handle.set_deadline(None::<Instant>);
    let cut: Result<(), Cancelled> = scope
        .run(async {
            handle.cancel_with("enough");
            cancelled().await;
            assert!(is_cancelled());
            checkpoint().await;
        })
        .await;
    assert!(cut.is_err());
    let late: Result<(), TimedOut> = timeout(Duration::ZERO, sleep(Duration::MAX)).await;
    assert!(late.is_err());
    let late = timeout_at(now(), sleep_until(now() + Duration::from_secs(60))).await;
    assert!(late.is_err());
    assert_eq!(shield(async { 1 }).await, 1);
    assert_eq!(finally(async { 2 }, async {}).await, 2);
    let used = bracket(3, async |n: &mut u32| *n, async |_: u32| ());
    assert_eq!(used.await, 3);
    let mut ticks = interval(Duration::from_millis(1));
    ticks.tick().await;
    assert_eq!((deadline(), time_left()), (None, None));
}

#[test]
fn a_runtime_takes_options() {
    let answer = Runtime::builder()
        .threads(1)
        .thread_name("own")
        .run(async { 42 });
    assert_eq!(answer, 42);
}

/// `?` works on errors, on texts, and on what `anyhow` makes of them.
#[test]
fn every_error_becomes_an_error() {
    fn number(text: &str) -> Result<u32, Error> {
        if text.is_empty() {
            Err("nothing there")?;
        }
        if text == "?" {
            Err(anyhow::anyhow!("what?"))?;
        }
        Ok(text.parse()?)
    }
    assert_eq!(number("").unwrap_err().to_string(), "nothing there");
    assert_eq!(number("?").unwrap_err().to_string(), "what?");
    let error = number("x").unwrap_err();
    assert!(error.downcast_ref::<std::num::ParseIntError>().is_some());
    assert_eq!(number("7").unwrap(), 7);
}

#[test]
fn a_report_can_be_taken_apart() {
    let failed: ErrorGroup = run(group(async |g| {
        g.spawn_named("fails", async { Err::<(), _>("no route".into()) });
        Ok(())
    }))
    .unwrap_err();
    assert_eq!((failed.len(), failed.is_cancelled()), (1, false));
    let first: &Failure = failed.first().unwrap();
    let info: &TaskInfo = first.task();
    assert_eq!(info.name(), Some("fails"));
    assert!(info.location().file().ends_with("interface.rs"));
    match first.kind() {
        FailureKind::Error(error) => assert_eq!(error.to_string(), "no route"),
        FailureKind::Panic(panic) => {
            let _: &Panic = panic;
            unreachable!("it did not panic");
        }
    }
    assert_eq!(failed.leaves().count(), 1);
    assert!(failed.find::<std::io::Error>().is_none());
    let failed = failed.resume_panics();
    let (matching, rest) = failed.partition::<std::io::Error>();
    assert!(matching.is_none());
    assert_eq!(rest.unwrap().into_iter().count(), 1);
}

#[test]
fn handles_may_go_anywhere() {
    is_a_handle::<Spawner>();
    is_a_handle::<ScopeHandle>();
    is_shared::<ErrorGroup>();
    is_shared::<Error>();
    is_shared::<Task<u32>>();
    is_shared::<TaskGroup<'static>>();
    is_shared::<Aborted>();
    is_shared::<Cancelled>();
    is_shared::<TimedOut>();
}
