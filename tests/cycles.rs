//! Nothing keeps itself alive: what ran a hundred times takes no more memory than what ran once.
//!
//! One test in a file of its own, because it counts what the whole process has allocated.

mod common;
mod counting;

use std::{
    future::{Future as _, pending, poll_fn},
    sync::{Arc, Mutex, atomic::Ordering},
    task::Poll,
    time::Duration,
};

use common::{Gate, keep_quiet_about_purpose, let_others_run, watched};
use counting::ALLOCATED;
use futures_lite::future::{block_on, or};
use headcount::{
    CancelScope, Error, Ready, Runtime, TaskGroup, bracket, cancelled, finally, group, run, shield,
    timeout,
};

/// Runs a scenario many times and expects that no memory stays.
fn grows_not(what: &'static str, scenario: impl Fn()) {
    const ROUNDS: isize = 100;

    watched(what, || {
        // Threads, thread-locals and queues get to their size.
        (0..20).for_each(|_| scenario());
        let before = ALLOCATED.load(Ordering::SeqCst);
        (0..ROUNDS).for_each(|_| scenario());
        let grown = (ALLOCATED.load(Ordering::SeqCst) - before) / ROUNDS;
        assert!(grown < 40, "{what}: {grown} bytes stay each time");
    });
}

/// A group with everything in it, each child holding what may hold it.
async fn entangled(end: End) {
    let scope = CancelScope::new();
    let stop = scope.handle();
    let kept = Mutex::new(Vec::new());
    let body = async |g: TaskGroup<'_>| {
        let inner = g.clone();
        let task = g.spawn_local(async {
            let _group = inner;
            shield(let_others_run()).await;
            pending::<Result<(), Error>>().await
        });
        let spawner = g.spawner();
        let parallel = g.spawn(async move {
            let _spawner = spawner;
            finally(pending::<()>(), let_others_run()).await;
            Ok(())
        });
        let handle = g.scope();
        g.defer(async move {
            let _handle = handle;
        });
        g.spawn(async move {
            let _sibling = parallel;
            or(cancelled(), pending()).await;
            pending::<Result<(), _>>().await
        });
        g.start(|ready: Ready<()>| async {
            ready.send(());
            pending().await
        })
        .await?;
        kept.lock().expect("nobody panics").push(task);
        let_others_run().await;
        match end {
            End::Cancelled => stop.cancel(),
            End::Failed => return Err("on purpose".into()),
            End::Panicked => panic!("on purpose"),
            End::Dropped => {}
        }
        pending::<Result<(), Error>>().await
    };
    let mut whole = Box::pin(scope.run(group(body)));
    let polls = Gate::default();
    let mut left = 60;
    poll_fn(|cx| {
        left -= 1;
        if end == End::Dropped && left == 0 {
            return Poll::Ready(());
        }
        if end == End::Dropped {
            cx.waker().wake_by_ref();
        }
        whole.as_mut().poll(cx).map(drop)
    })
    .await;
    drop((whole, polls));
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Cancelled,
    Failed,
    Panicked,
    Dropped,
}

#[test]
fn nothing_stays_of_what_has_ended() {
    keep_quiet_about_purpose();
    for end in [End::Cancelled, End::Failed, End::Panicked, End::Dropped] {
        let threads = || Runtime::builder().threads(2).run(entangled(end));
        grows_not("in a run", threads);
        grows_not("in a group in a run", || {
            run(async {
                let mine = group(async |_g| {
                    entangled(end).await;
                    Ok(())
                });
                mine.await.expect("it has no failures of its own");
            });
        });
        grows_not("outside of run", || {
            block_on(async {
                let mine = group(async |_g| {
                    entangled(end).await;
                    Ok(())
                });
                mine.await.expect("it has no failures of its own");
            });
        });
    }
    let busy = || {
        Runtime::builder().threads(2).run(async {
            let joined = group(async |g| {
                for _ in 0..200 {
                    g.spawn(async { Ok(std::hint::black_box(1 + 1)) });
                }
                Ok(())
            });
            joined.await.expect("nothing fails");
        });
    };
    grows_not("helpers that come too late", busy);
    grows_not("handles that are cancelled as their tasks end", || {
        run(async {
            let joined = group(async |g| {
                let task = g.spawn(async { Ok(()) });
                task.cancel();
                task.await.ok();
                Ok(())
            });
            joined.await.expect("nothing fails");
        });
    });
    grows_not("a resource that is released late", || {
        run(async {
            let late = timeout(
                Duration::from_micros(10),
                bracket(
                    Arc::new(()),
                    async |_: &mut Arc<()>| pending::<()>().await,
                    async |_: Arc<()>| let_others_run().await,
                ),
            );
            late.await.expect_err("it never ends by itself");
        });
    });
}
