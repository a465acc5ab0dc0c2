//! Law 10. Every future of this crate may be dropped after any of its polls, and cancelled after any
//! of them: each is driven by hand, poll by poll, and dropped or cancelled after the k-th, for every
//! k. Every value is dropped once, finalizers run as they promise, and what is around joins.

use std::{
    future::{Future, pending, poll_fn},
    pin::Pin,
    task::Poll,
    time::Duration,
};

use futures_lite::future::yield_now;
use headcount::{
    CancelScope, Error, ErrorGroup, Ready, TaskGroup, bracket, cancelled, checkpoint, finally,
    group, interval, now, run, shield, sleep, sleep_until, timeout, timeout_at,
};

use crate::common::{Census, Log, everywhere_at_length, on_threads, watched};

mod common;

const HOUR: Duration = Duration::from_secs(3600);

/// After how many polls a future is dropped at most. Those that only take as many steps as they
/// need are done by then; the others wait for something.
const POLLS: usize = 14;

/// What a scenario leaves its traces in.
#[derive(Clone, Default)]
struct World {
    /// Values that must be gone when the drop of the future returns.
    here: Census,
    /// Values of parallel tasks, which must be gone when what is around the future has ended.
    elsewhere: Census,
    /// `entered` and `cleaned` for each finalizer, `deferred` and `deferred ran` for each of those.
    log: Log,
}

impl World {
    /// Notes what a group came to.
    fn joined(&self, outcome: Result<(), ErrorGroup>) {
        if let Err(failed) = outcome {
            self.log.say(format!("failed: {failed:#}"));
        }
    }

    fn count(&self, entry: &str) -> usize {
        self.log
            .entries()
            .iter()
            .filter(|known| *known == entry)
            .count()
    }
}

type Scenario = for<'a> fn(&'a World) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

async fn steps(n: usize) {
    for _ in 0..n {
        yield_now().await;
    }
}

/// A task with a finalizer that takes its steps.
async fn child(world: World) -> Result<usize, Error> {
    let _value = world.elsewhere.enter();
    world.log.say("entered");
    finally(
        async {
            let _value = world.elsewhere.enter();
            steps(3).await;
        },
        async {
            let _value = world.elsewhere.enter();
            steps(3).await;
            world.log.say("cleaned");
        },
    )
    .await;
    Ok(7)
}

const SCENARIOS: &[(&str, Scenario)] = &[
    ("checkpoint", |_| {
        Box::pin(async {
            for _ in 0..3 {
                checkpoint().await;
            }
        })
    }),
    ("sleep", |_| Box::pin(sleep(Duration::from_micros(100)))),
    ("sleep_until", |_| {
        Box::pin(sleep_until(now() + Duration::from_micros(100)))
    }),
    ("tick", |_| {
        Box::pin(async {
            let mut beat = interval(Duration::from_micros(50));
            for _ in 0..3 {
                beat.tick().await;
            }
        })
    }),
    ("cancelled", |world| {
        Box::pin(async {
            let _value = world.here.enter();
            let scope = CancelScope::new();
            let handle = scope.handle();
            let bell = scope.run(async {
                let hold = shield(steps(6));
                let rings = async {
                    steps(2).await;
                    handle.cancel();
                };
                futures_lite::future::zip(hold, futures_lite::future::zip(cancelled(), rings))
                    .await;
            });
            bell.await
                .expect("the scope ends in the step in which the shield does");
        })
    }),
    ("scope", |world| {
        Box::pin(async {
            let captured = world.here.enter();
            let body = async {
                let _values = (captured, world.here.enter());
                steps(4).await;
            };
            CancelScope::new()
                .timeout(HOUR)
                .run(body)
                .await
                .expect("nobody cancels it");
        })
    }),
    ("scope that is cut", |world| {
        Box::pin(async {
            let scope = CancelScope::new();
            let handle = scope.handle();
            let cut = scope.run(async {
                let _value = world.here.enter();
                shield(async {
                    handle.cancel();
                    steps(3).await;
                })
                .await;
                pending::<()>().await;
            });
            assert!(cut.await.is_err());
            steps(2).await;
        })
    }),
    ("timeout", |world| {
        Box::pin(async {
            let body = async {
                let _value = world.here.enter();
                steps(3).await;
            };
            timeout(HOUR, body).await.expect("it has an hour");
            let late = timeout(Duration::ZERO, async {
                let _value = world.here.enter();
                shield(steps(3)).await;
                pending::<()>().await;
            });
            assert!(late.await.is_err());
            assert!(timeout_at(now(), steps(2)).await.is_err());
        })
    }),
    ("shield", |world| {
        Box::pin(async {
            let captured = world.here.enter();
            shield(async {
                let _values = (captured, world.here.enter());
                steps(3).await;
            })
            .await;
            steps(2).await;
        })
    }),
    ("finally", |world| {
        Box::pin(async {
            let captured = (world.here.enter(), world.here.enter());
            world.log.say("entered");
            finally(
                async {
                    let _values = (captured.0, world.here.enter());
                    steps(3).await;
                },
                async {
                    let _value = captured.1;
                    assert_eq!(world.here.alive(), 1, "the body is gone");
                    steps(3).await;
                    world.log.say("cleaned");
                },
            )
            .await;
            steps(2).await;
        })
    }),
    ("bracket", |world| {
        Box::pin(async {
            world.log.say("entered");
            bracket(
                world.here.enter(),
                async |_resource| steps(3).await,
                async |_resource| {
                    steps(3).await;
                    world.log.say("cleaned");
                },
            )
            .await;
            steps(2).await;
        })
    }),
    ("nested finalizers", |world| {
        Box::pin(async {
            let clean = async || {
                let _value = world.here.enter();
                steps(1).await;
                world.log.say("cleaned");
            };
            let using = async |_resource: &mut _| {
                for _ in 0..3 {
                    world.log.say("entered");
                }
                let innermost = finally(timeout(HOUR, steps(1)), clean());
                let inner = finally(shield(innermost), clean());
                finally(inner, clean()).await.expect("it has an hour");
            };
            world.log.say("entered");
            bracket(world.here.enter(), using, async |_resource| clean().await).await;
        })
    }),
    ("group of borrowing tasks", |world| {
        Box::pin(async {
            let outcome = group(async |g| {
                let _value = world.here.enter();
                for _ in 0..3 {
                    let captured = world.here.enter();
                    g.spawn_local(async {
                        let _values = (captured, world.here.enter());
                        steps(4).await;
                        Ok(())
                    });
                }
                steps(2).await;
                Ok(())
            });
            world.joined(outcome.await);
            steps(1).await;
        })
    }),
    ("group of parallel tasks", |world| {
        Box::pin(async {
            let outcome = group(async |g| {
                let _value = world.here.enter();
                for _ in 0..3 {
                    g.spawn(child(world.clone()));
                }
                for _ in 0..2 {
                    let world = world.clone();
                    let captured = world.elsewhere.enter();
                    world.log.say("deferred");
                    g.defer(async move {
                        let _value = captured;
                        steps(2).await;
                        world.log.say("deferred ran");
                    });
                }
                steps(2).await;
                Ok(())
            });
            world.joined(outcome.await);
        })
    }),
    ("limited group", |world| {
        Box::pin(async {
            let outcome = TaskGroup::builder().limit(1).run(async |g| {
                for _ in 0..3 {
                    let captured = world.elsewhere.enter();
                    let world = world.clone();
                    g.spawn(async move {
                        let _value = captured;
                        child(world).await
                    });
                }
                Ok(())
            });
            world.joined(outcome.await);
        })
    }),
    ("nested groups", |world| {
        Box::pin(async {
            let outcome = group(async |g| {
                g.spawn({
                    let world = world.clone();
                    async move {
                        let _value = world.elsewhere.enter();
                        let inner = group(async |h| {
                            h.spawn(child(world.clone()));
                            h.spawn_local(child(world.clone()));
                            Ok(())
                        });
                        inner.await?;
                        Ok(())
                    }
                });
                let inner = group(async |h| {
                    let _value = world.here.enter();
                    h.spawn(child(world.clone()));
                    steps(3).await;
                    Ok(())
                });
                inner.await?;
                Ok(())
            });
            world.joined(outcome.await);
        })
    }),
    ("task", |world| {
        Box::pin(async {
            let outcome = group(async |g| {
                let task = g.spawn(child(world.clone()));
                assert_eq!(task.await?, 7);
                let task = g.spawn_local(async {
                    let _value = world.here.enter();
                    steps(3).await;
                    Ok(7)
                });
                assert_eq!(task.await?, 7);
                Ok(())
            });
            world.joined(outcome.await);
        })
    }),
    ("start", |world| {
        Box::pin(async {
            let outcome = group(async |g| {
                let value = world.elsewhere.enter();
                let ready_with = world.elsewhere.enter();
                let inner = world.clone();
                let ready = g.start(|ready: Ready<common::Counted>| async move {
                    let _value = value;
                    steps(2).await;
                    ready.send(ready_with);
                    child(inner).await?;
                    Ok(())
                });
                let ready = ready.await?;
                steps(1).await;
                drop(ready);
                Ok(())
            });
            world.joined(outcome.await);
        })
    }),
    ("start_task", |world| {
        Box::pin(async {
            let outcome = group(async |g| {
                let value = world.elsewhere.enter();
                let starting = g.start_task(|ready: Ready<()>| async move {
                    let _value = value;
                    steps(1).await;
                    ready.send(());
                    steps(1).await;
                    Ok(())
                });
                let ((), task) = starting.await?;
                task.await?;
                Ok(())
            });
            world.joined(outcome.await);
        })
    }),
    ("all of them in each other", |world| {
        Box::pin(async {
            let clean = async || {
                let _value = world.here.enter();
                steps(2).await;
                world.log.say("cleaned");
            };
            let innermost = group(async |g| {
                let _value = world.here.enter();
                g.spawn(child(world.clone()));
                g.spawn_local(async {
                    let _value = world.here.enter();
                    world.log.say("entered");
                    finally(steps(2), clean()).await;
                    Ok(())
                });
                steps(2).await;
                Ok(())
            });
            world.log.say("entered");
            let body = finally(shield(timeout(HOUR, innermost)), clean());
            let outcome = CancelScope::new().timeout(HOUR).run(body).await;
            world.joined(outcome.expect("nobody cancels it").expect("it has an hour"));
        })
    }),
];

/// Polls a future so many times, letting others run in between. Tells whether it is done.
async fn poll_times(mut future: Pin<&mut dyn Future<Output = ()>>, polls: usize) -> bool {
    for _ in 0..polls {
        if poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx)))
            .await
            .is_ready()
        {
            return true;
        }
        yield_now().await;
    }
    false
}

/// Polls a future so many times and drops it then.
async fn drop_after(world: &World, scenario: Scenario, polls: usize, what: &str) {
    let mut doomed = scenario(world);
    poll_times(doomed.as_mut(), polls).await;
    drop(doomed);
    assert_eq!(
        world.here.alive(),
        0,
        "{what}: something is left where it was dropped"
    );
}

/// What must be so when everything around has ended.
fn check(world: &World, what: &str) {
    for entry in world.log.entries() {
        assert!(!entry.starts_with("failed"), "{what}: {entry}");
    }
    assert_eq!(world.here.alive(), 0, "{what}: something is left");
    assert_eq!(
        world.elsewhere.alive(),
        0,
        "{what}: something is left of a parallel task"
    );
    assert!(
        world.count("cleaned") <= world.count("entered"),
        "{what}: cleaned twice"
    );
    assert_eq!(
        world.count("deferred ran"),
        world.count("deferred"),
        "{what}: deferred"
    );
}

/// Dropped after every poll, in a group: that joins, and then nothing is left.
#[test]
fn dropped_in_a_group() {
    on_threads(|| async {
        for (name, scenario) in SCENARIOS {
            for polls in 0..POLLS {
                let what = format!("{name}, dropped after {polls} polls");
                let world = World::default();
                let outcome = group(async |_outer| {
                    drop_after(&world, *scenario, polls, &what).await;
                    Ok(())
                });
                outcome.await.expect("nothing fails");
                check(&world, &what);
            }
        }
    });
}

/// Dropped after every poll, in a scope that is cancelled afterwards: nothing holds that up.
#[test]
fn dropped_in_a_scope_that_is_cancelled() {
    on_threads(|| async {
        for (name, scenario) in SCENARIOS {
            for polls in 0..POLLS {
                let what = format!("{name}, dropped after {polls} polls in a scope");
                let world = World::default();
                let outcome = group(async |_outer| {
                    let scope = CancelScope::new();
                    let handle = scope.handle();
                    let cut = scope.run(async {
                        drop_after(&world, *scenario, polls, &what).await;
                        handle.cancel();
                        pending::<()>().await;
                    });
                    assert!(cut.await.is_err(), "{what}");
                    Ok(())
                });
                outcome.await.expect("nothing fails");
                check(&world, &what);
            }
        }
    });
}

/// Dropped after every poll, with nothing around but a run: that waits for what is left.
#[test]
fn dropped_in_a_run() {
    watched("in a run", || {
        for (name, scenario) in SCENARIOS {
            for polls in 0..POLLS {
                let what = format!("{name}, dropped after {polls} polls in a run");
                let world = World::default();
                run(drop_after(&world, *scenario, polls, &what));
                check(&world, &what);
            }
        }
    });
}

/// Cancelled after every poll: whatever was entered is cleaned up, once, and all is gone.
#[test]
fn cancelled_after_every_poll() {
    everywhere_at_length(|| async {
        for (name, scenario) in SCENARIOS {
            for polls in 0..POLLS {
                let what = format!("{name}, cancelled after {polls} polls");
                let world = World::default();
                let scope = CancelScope::new();
                let handle = scope.handle();
                let mut running: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async {
                    drop(scope.run(scenario(&world)).await);
                });
                let done = poll_times(running.as_mut(), polls).await;
                handle.cancel();
                if !done {
                    running.await;
                } else {
                    drop(running);
                }
                check(&world, &what);
                assert_eq!(world.count("cleaned"), world.count("entered"), "{what}");
            }
        }
    });
}

/// The same by a deadline that is moved to the past.
#[test]
fn past_its_deadline_after_every_poll() {
    everywhere_at_length(|| async {
        for (name, scenario) in SCENARIOS {
            for polls in 0..POLLS {
                let what = format!("{name}, past its deadline after {polls} polls");
                let world = World::default();
                let scope = CancelScope::new();
                let handle = scope.handle();
                let mut running: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async {
                    drop(scope.run(scenario(&world)).await);
                });
                let done = poll_times(running.as_mut(), polls).await;
                handle.set_deadline(Some(now()));
                if !done {
                    running.await;
                } else {
                    drop(running);
                }
                check(&world, &what);
                assert_eq!(world.count("cleaned"), world.count("entered"), "{what}");
            }
        }
    });
}

/// Driven to the end, each of them cleans up what it entered; so the tests above test something.
#[test]
fn undisturbed() {
    everywhere_at_length(|| async {
        for (name, scenario) in SCENARIOS {
            let world = World::default();
            scenario(&world).await;
            check(&world, name);
            assert_eq!(world.count("cleaned"), world.count("entered"), "{name}");
        }
    });
}

/// The wait for a handle is dropped after every poll: the task goes on, and its value is still there
/// for the next wait.
#[test]
fn a_wait_for_a_task_is_dropped() {
    everywhere_at_length(|| async {
        for polls in 0..POLLS {
            for local in [true, false] {
                let outcome = group(async |g| {
                    let work = async {
                        steps(5).await;
                        Ok(7)
                    };
                    let mut task = if local {
                        g.spawn_local(work)
                    } else {
                        g.spawn(work)
                    };
                    let mut value = None;
                    {
                        let mut waiting = Box::pin(async { value = Some((&mut task).await) });
                        poll_times(waiting.as_mut(), polls).await;
                    }
                    match value {
                        Some(value) => Ok(value?),
                        None => Ok(task.await?),
                    }
                });
                assert_eq!(outcome.await.expect("nothing fails"), 7);
            }
        }
    });
}

/// A handle is dropped after every poll: the task is run to its end all the same.
#[test]
fn a_handle_is_dropped() {
    everywhere_at_length(|| async {
        for polls in 0..POLLS {
            let log = Log::default();
            let outcome = group(async |g| {
                let log = log.clone();
                let task = g.spawn(async move {
                    steps(5).await;
                    log.say("ran");
                    Ok(())
                });
                let mut waiting: Pin<Box<dyn Future<Output = ()>>> =
                    Box::pin(async { task.await.expect("it returns") });
                poll_times(waiting.as_mut(), polls).await;
                drop(waiting);
                Ok(())
            });
            outcome.await.expect("nothing fails");
            assert_eq!(log.entries(), ["ran"]);
        }
    });
}

/// The wait for a tick is dropped after every poll: the tick is waited for again, and none is lost.
#[test]
fn a_wait_for_a_tick_is_dropped() {
    everywhere_at_length(|| async {
        let period = Duration::from_micros(500);
        for polls in 0..POLLS {
            let start = now();
            let mut beat = interval(period);
            let mut first = None;
            {
                let mut waiting = Box::pin(async { first = Some(beat.tick().await) });
                poll_times(waiting.as_mut(), polls).await;
            }
            let first = match first {
                Some(first) => first,
                None => beat.tick().await,
            };
            assert!(first >= start + period);
            assert!((first - start).as_nanos() > 0 && first <= now());
        }
    });
}
