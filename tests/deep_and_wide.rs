//! Depth and width: nothing overflows the stack, and nothing takes more than linear time.

use std::{
    future::{Future, pending},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use headcount::{CancelScope, Error, ErrorGroup, Policy, TaskGroup, group, run, shield, sleep};

const DEEP: usize = 10_000;
const WIDE: usize = 1_000_000;

/// Counts how many of it are alive.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(alive))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Calls a function when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Opens groups in tasks of groups, so deep, and then waits for ever.
fn nested_groups(depth: usize, bottom: Arc<dyn Fn() + Send + Sync>) -> Boxed<Result<(), Error>> {
    Box::pin(async move {
        if depth == 0 {
            bottom();
            return pending().await;
        }
        group(async |g| Ok(g.spawn(nested_groups(depth - 1, bottom)).await?)).await?;
        Ok(())
    })
}

#[test]
fn groups_nested_ten_thousand_deep_are_cancelled_together() {
    let scope = CancelScope::new();
    let handle = scope.handle();
    let bottom = Arc::new(move || handle.cancel());
    let cancelled = run(scope.run(nested_groups(DEEP, bottom)));
    assert!(cancelled.is_err());
}

/// Opens groups in tasks of groups, so deep, and fails at the bottom.
fn nested_failure(depth: usize) -> Boxed<Result<(), Error>> {
    Box::pin(async move {
        if depth == 0 {
            return Err("the bottom".into());
        }
        group(async |g| {
            g.spawn(nested_failure(depth - 1));
            Ok(())
        })
        .await?;
        Ok(())
    })
}

#[test]
fn an_error_tree_ten_thousand_levels_deep_is_joined_displayed_and_dropped() {
    let failed: Error = run(nested_failure(DEEP)).unwrap_err();
    let failed = failed.downcast::<ErrorGroup>().unwrap();
    assert_eq!(failed.leaves().count(), 1);
    let tree = format!("{failed:#}");
    assert!(tree.contains("the bottom"));
    assert!(tree.len() < DEEP * 1_000);
    assert!(failed.find::<std::fmt::Error>().is_none());
    let (matching, rest) = failed.partition::<std::fmt::Error>();
    assert!(matching.is_none());
    assert_eq!(rest.unwrap().leaves().count(), 1);
}

/// Opens scopes in scopes, so deep, each boxed.
fn nested_scopes(depth: usize, bottom: Boxed<()>) -> Boxed<()> {
    let mut body = bottom;
    for _ in 0..depth {
        body = Box::pin(async move {
            CancelScope::new().run(body).await.ok();
        });
    }
    body
}

/// Runs a future that is deep itself on a stack that is as deep.
fn with_a_deep_stack(f: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().stack_size(256 << 20);
    thread.spawn(f).expect("a thread").join().expect("no panic");
}

#[test]
fn scopes_nested_ten_thousand_deep_are_cancelled_together() {
    with_a_deep_stack(|| {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let bottom = Box::pin(async move {
            shield(async { handle.cancel() }).await;
            shield(sleep(std::time::Duration::from_millis(1))).await;
            pending().await
        });
        assert!(run(scope.run(nested_scopes(DEEP, bottom))).is_err());
    });
}

#[test]
fn a_million_children_are_joined() {
    let done = Arc::new(AtomicUsize::new(0));
    run(group(async |g| {
        for _ in 0..WIDE {
            let done = Arc::clone(&done);
            g.spawn(async move {
                done.fetch_add(1, Ordering::Relaxed);
                Ok(())
            });
        }
        Ok(())
    }))
    .unwrap();
    assert_eq!(done.load(Ordering::Relaxed), WIDE);
}

#[test]
fn a_million_waiting_children_are_cancelled() {
    let alive = Arc::new(AtomicUsize::new(0));
    let cancelled = run(group(async |g| {
        for _ in 0..WIDE {
            let counted = Counted::new(&alive);
            g.spawn(async move {
                let _counted = counted;
                pending::<Result<(), _>>().await
            });
        }
        headcount::checkpoint().await;
        g.cancel();
        pending::<Result<(), _>>().await
    }));
    assert!(cancelled.unwrap_err().is_cancelled());
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

/// Those who were spawned last are cancelled first, so that a search from the front would find each
/// of them last.
#[test]
fn a_hundred_thousand_children_behind_a_limit_are_cancelled_one_by_one() {
    const QUEUED: usize = 100_000;
    let started = Arc::new(Mutex::new(Vec::new()));
    let alive = Arc::new(AtomicUsize::new(0));
    let joined = run(TaskGroup::builder().limit(1).run(async |g| {
        let first = g.spawn(pending::<Result<(), _>>());
        let mut queued = Vec::new();
        for i in 0..QUEUED {
            let (counted, started) = (Counted::new(&alive), Arc::clone(&started));
            queued.push(g.spawn(async move {
                let _counted = counted;
                started.lock().unwrap().push(i);
                Ok(())
            }));
        }
        let left = queued.split_off(QUEUED - 2);
        let last_but = queued.remove(QUEUED / 2);
        for task in queued.iter().rev() {
            task.cancel();
        }
        for task in queued {
            assert!(task.await.is_err());
        }
        assert_eq!(alive.load(Ordering::SeqCst), 3);
        first.cancel();
        last_but.await?;
        for task in left {
            task.await?;
        }
        Ok(())
    }));
    joined.unwrap();
    let started = started.lock().unwrap();
    assert_eq!(*started, [QUEUED / 2, QUEUED - 2, QUEUED - 1]);
}

/// While the children of a wide group are dropped, who still runs can use it: the destructor that
/// is called first does not return before a sibling that is shielded has had a turn, been refused a
/// task, and run a group of its own.
#[test]
fn who_runs_on_can_use_a_wide_group_while_it_is_cancelled() {
    const MANY: usize = 100_000;
    let alive = Arc::new(AtomicUsize::new(0));
    let (ask, asked) = mpsc::channel::<mpsc::Sender<usize>>();
    let asked = Mutex::new(asked);
    let begun = Arc::new(AtomicBool::new(false));
    let cancelled = run(group(async |g| {
        let spawner = g.spawner();
        g.spawn(async move {
            shield(async {
                let answer = loop {
                    let question = asked.lock().unwrap().try_recv();
                    if let Ok(answer) = question {
                        break answer;
                    }
                    headcount::checkpoint().await;
                };
                assert!(spawner.try_spawn(async { Ok(()) }).unwrap().await.is_err());
                let inside = group(async |g| Ok(g.spawn(async { Ok(7) }).await?));
                assert_eq!(inside.await.unwrap(), 7);
                answer.send(7).unwrap();
            })
            .await;
            Ok(())
        });
        let spawner = g.spawner();
        for i in 0..MANY {
            let counted = Counted::new(&alive);
            let (ask, spawner) = (ask.clone(), spawner.clone());
            let begun = Arc::clone(&begun);
            g.spawn(async move {
                let _counted = counted;
                let _asker = (i == 0).then(|| {
                    OnDrop(move || {
                        drop(spawner.try_spawn(async { Ok(()) }));
                        let (answer, answered) = mpsc::channel();
                        ask.send(answer).unwrap();
                        assert_eq!(answered.recv(), Ok(7));
                    })
                });
                begun.fetch_or(i == 0, Ordering::SeqCst);
                pending::<Result<(), _>>().await
            });
        }
        while !begun.load(Ordering::SeqCst) {
            headcount::checkpoint().await;
        }
        g.cancel();
        pending::<Result<(), _>>().await
    }));
    assert!(cancelled.unwrap_err().is_cancelled());
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[test]
fn a_million_failures_are_reported() {
    let group = TaskGroup::builder().policy(Policy::Collect).run(async |g| {
        for _ in 0..WIDE {
            g.spawn(async { Err::<(), _>(std::fmt::Error.into()) });
        }
        Ok(())
    });
    let failed = run(group).unwrap_err();
    assert_eq!(failed.len(), WIDE);
}

#[test]
fn groups_nested_ten_thousand_deep_are_handed_up_when_dropped() {
    let alive = Arc::new(AtomicUsize::new(0));
    run(async {
        let counted = Counted::new(&alive);
        let (tell, told) = mpsc::channel();
        let bottom = Arc::new(move || {
            let _counted = &counted;
            tell.send(()).unwrap();
        });
        let nested = nested_groups(DEEP, bottom);
        futures_lite::future::or(async { drop(nested.await) }, async {
            while told.try_recv().is_err() {
                headcount::checkpoint().await;
            }
        })
        .await;
    });
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}
