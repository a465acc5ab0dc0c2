//! Ties: a result beats a cancellation that came too late, and nothing that was granted is lost.

use std::{
    future::pending,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use futures_lite::future::{self, yield_now, zip};
use headcount::{
    Aborted, CancelScope, Error, TaskGroup, checkpoint, group, now, shield, timeout, timeout_at,
};
use smol::{
    channel,
    lock::{Mutex, Semaphore},
};

use crate::common::{
    Census, Gate, Log, everywhere, in_run, let_others_run, poll_once, until, watched,
};

mod common;

const HOUR: Duration = Duration::from_secs(3600);
const MOMENT: Duration = Duration::from_millis(1);

/// Far enough away for a first poll to come before it, on a machine that is busy.
const SOON: Duration = Duration::from_millis(50);

/// Blocks the thread until the time is past, as a busy executor would.
fn busy_until(time: std::time::Instant) {
    while now() <= time {
        thread::sleep(MOMENT);
    }
}

/// Case 119, Law 7. By the time that the task gets its turn, its value is there and its deadline has
/// passed: it is the value that comes out.
#[test]
fn a_value_beats_the_deadline_on_a_tie() {
    let deadline = now() + SOON;
    let gate = Gate::default();
    let mut running = pin!(timeout_at(deadline, async {
        gate.wait().await;
        7
    }));
    assert!(poll_once(running.as_mut()).is_pending());
    busy_until(deadline);
    gate.open();
    assert!(matches!(
        poll_once(running.as_mut()),
        std::task::Poll::Ready(Ok(7))
    ));
}

/// Case 119. The same through several scopes, and through a group.
#[test]
fn a_value_beats_all_deadlines_on_a_tie() {
    let deadline = now() + SOON;
    let gate = Gate::default();
    let mut running = pin!(timeout_at(
        deadline,
        group(async |_g| {
            let inner = CancelScope::new()
                .deadline(deadline)
                .run(timeout_at(deadline, async {
                    gate.wait().await;
                    7
                }));
            Ok::<_, Error>(inner.await??)
        })
    ));
    assert!(poll_once(running.as_mut()).is_pending());
    busy_until(deadline);
    gate.open();
    let std::task::Poll::Ready(outcome) = poll_once(running.as_mut()) else {
        panic!("the group is not done");
    };
    assert_eq!(outcome.unwrap().unwrap(), 7);
}

/// Case 119. On real threads: a value is sent at about the time at which the receiver's deadline
/// passes. It was received, or it is still in the channel: never neither.
#[test]
fn a_value_sent_at_the_deadline_is_not_lost() {
    in_run(|| async {
        for round in 0..1000_u32 {
            let (sender, receiver) = channel::bounded(1);
            let limit = Duration::from_micros(u64::from(round % 60));
            let received = group(async |g| {
                let start = now();
                g.spawn(async move {
                    while start.elapsed() < Duration::from_micros(30) {
                        std::hint::spin_loop();
                    }
                    sender.send(round).await?;
                    Ok(())
                });
                let receiver = receiver.clone();
                Ok(timeout(limit, async move { receiver.recv().await }).await)
            });
            let received = received.await.unwrap();
            match received {
                Ok(value) => assert_eq!(value, Ok(round)),
                Err(_) => assert_eq!(receiver.try_recv(), Ok(round), "the value is lost"),
            }
        }
    });
}

/// Case 119. On real threads: a task is cancelled by hand at about the time at which it returns. Its
/// value comes out of the handle, or it was dropped inside: it exists once.
#[test]
fn a_value_returned_at_the_cancellation_is_not_lost() {
    in_run(|| async {
        for _ in 0..500 {
            let census = Census::default();
            let outcome = group(async |g| {
                let release = Gate::default();
                let value = census.enter();
                let task = g.spawn({
                    let release = release.clone();
                    async move {
                        release.wait().await;
                        Ok(value)
                    }
                });
                let opener = thread::spawn(move || release.open());
                task.cancel();
                opener.join().expect("the gate opens");
                let outcome = task.await;
                assert_eq!(census.alive(), usize::from(outcome.is_ok()));
                drop(outcome);
                Ok(())
            });
            outcome.await.unwrap();
            assert_eq!((census.entered(), census.alive()), (1, 0));
        }
    });
}

/// Case 121. Who cancels itself and fails in the same step has failed.
#[test]
fn an_error_beats_the_cancellation_of_the_same_step() {
    everywhere(|| async {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope.run(async {
            yield_now().await;
            handle.cancel();
            Err::<(), _>("real")
        });
        assert_eq!(outcome.await.unwrap(), Err("real"));

        let failed = group(async |g| {
            yield_now().await;
            g.cancel();
            Err::<(), _>("real".into())
        });
        let failed = failed.await.unwrap_err();
        assert_eq!(failed.len(), 1);
        assert_eq!(failed.first().unwrap().error().unwrap().to_string(), "real");

        let failed = group(async |g| {
            let stop = g.scope();
            let task = g.spawn(async move {
                stop.cancel();
                Err::<(), _>("real".into())
            });
            let seen = shield(task).await;
            assert_eq!(seen, Err(Aborted::Failed));
            Ok(())
        });
        assert_eq!(failed.await.unwrap_err().len(), 1);
    });
}

/// Case 122. Who cancels itself and returns a value in the same step has returned it.
#[test]
fn a_value_beats_the_cancellation_of_the_same_step() {
    everywhere(|| async {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope.run(async {
            yield_now().await;
            handle.cancel();
            7
        });
        assert_eq!(outcome.await.unwrap(), 7);

        let outcome = group(async |g| {
            yield_now().await;
            g.cancel();
            Ok(7)
        });
        assert_eq!(outcome.await.unwrap(), 7);

        let outcome = group(async |g| {
            let stop = g.scope();
            let task = g.spawn(async move {
                yield_now().await;
                stop.cancel();
                Ok(7)
            });
            Ok(shield(task).await?)
        });
        assert_eq!(outcome.await.unwrap(), 7);

        let scope = CancelScope::new();
        let handle = scope.handle();
        let late = scope.run(timeout(Duration::ZERO, async {
            handle.cancel();
            7
        }));
        assert_eq!(late.await.unwrap(), Ok(7));
    });
}

/// Case 123. A lock is handed to a task that is cancelled before it runs: the next in line gets it.
#[test]
fn a_lock_granted_to_a_cancelled_waiter_goes_on() {
    everywhere(|| async {
        let lock = Mutex::new(());
        let scope = CancelScope::new();
        let handle = scope.handle();
        let held = lock.lock().await;
        let first = scope.run(async {
            let _guard = lock.lock().await;
            pending::<()>().await;
        });
        let second = async {
            let _guard = lock.lock().await;
            7
        };
        let (mut first, mut second) = (pin!(first), pin!(second));
        assert!(poll_once(first.as_mut()).is_pending());
        assert!(poll_once(second.as_mut()).is_pending());

        drop(held);
        handle.cancel();

        let (first, second) = zip(first, second).await;
        assert!(first.is_err());
        assert_eq!(second, 7);
    });
}

/// Case 123. On real threads: permits are taken by tasks that are cancelled at any moment. In the
/// end every permit is there.
#[test]
fn permits_of_cancelled_tasks_come_back() {
    const PERMITS: usize = 3;

    in_run(|| async {
        for round in 0..100_usize {
            let permits = Arc::new(Semaphore::new(PERMITS));
            let served = Arc::new(AtomicUsize::new(0));
            let outcome = group(async |g| {
                let tasks: Vec<_> = (0..20)
                    .map(|i| {
                        let (permits, served) = (Arc::clone(&permits), Arc::clone(&served));
                        g.spawn(async move {
                            let _permit = permits.acquire_arc().await;
                            for _ in 0..(i + round) % 4 {
                                yield_now().await;
                            }
                            served.fetch_add(1, Ordering::SeqCst);
                            Ok(())
                        })
                    })
                    .collect();
                let mut gone = 0;
                for (i, task) in tasks.into_iter().enumerate() {
                    if (i + round) % 3 == 0 {
                        task.cancel();
                    }
                    gone += usize::from(task.await.is_err());
                }
                Ok(gone)
            });
            let gone = outcome.await.unwrap();
            assert_eq!(served.load(Ordering::SeqCst) + gone, 20);
            let all: Vec<_> = (0..PERMITS).map_while(|_| permits.try_acquire()).collect();
            assert_eq!(all.len(), PERMITS, "a permit is lost");
        }
    });
}

/// Case 123. The turn in a limited group that a queued task is given as it is cancelled goes to the
/// next one.
#[test]
fn a_turn_granted_to_a_cancelled_task_goes_on() {
    everywhere(|| async {
        let outcome = TaskGroup::builder().limit(1).run(async |g| {
            let release = Gate::default();
            let first = g.spawn({
                let release = release.clone();
                async move {
                    release.wait().await;
                    Ok(1)
                }
            });
            let second = g.spawn(async { Ok(2) });
            let third = g.spawn(async { Ok(3) });
            let_others_run().await;
            second.cancel();
            release.open();
            assert_eq!(second.await, Err(Aborted::Cancelled));
            Ok((first.await?, third.await?))
        });
        assert_eq!(outcome.await.unwrap(), (1, 3));
    });
}

/// Case 123. A value that a task was waiting for is sent, and the task cancelled before it runs: the
/// value is still there for somebody else.
#[test]
fn an_item_granted_to_a_cancelled_receiver_stays() {
    everywhere(|| async {
        let (sender, receiver) = channel::bounded(1);
        let scope = CancelScope::new();
        let handle = scope.handle();
        let mut waiting = pin!(scope.run(receiver.recv()));
        assert!(poll_once(waiting.as_mut()).is_pending());
        sender.send(7).await.unwrap();
        handle.cancel();
        assert!(waiting.await.is_err());
        assert_eq!(receiver.try_recv(), Ok(7));
    });
}

/// Case 124. An event is set and the group of the waiter cancelled in one step: a cancelled body is
/// not polled again, so the waiter is cut in whichever order the two happened.
#[test]
fn an_event_and_a_cancellation_of_one_step_cut() {
    everywhere(|| async {
        for event_first in [true, false] {
            let log = Log::default();
            let (event, scope) = (Gate::default(), CancelScope::new());
            let handle = scope.handle();
            let mut waiting = pin!(scope.run(async {
                event.wait().await;
                log.say("went on");
            }));
            assert!(poll_once(waiting.as_mut()).is_pending());
            if event_first {
                event.open();
                handle.cancel();
            } else {
                handle.cancel();
                event.open();
            }
            assert!(waiting.await.is_err());
            assert_eq!(log.entries(), [""; 0]);
        }
    });
}

/// Case 124. A waiter that had its turn between the two goes on to its next wait.
#[test]
fn an_event_that_was_noticed_before_the_cancellation_counts() {
    everywhere(|| async {
        let log = Log::default();
        let (event, scope) = (Gate::default(), CancelScope::new());
        let handle = scope.handle();
        let mut waiting = pin!(scope.run(async {
            event.wait().await;
            log.say("went on");
            pending::<()>().await;
        }));
        assert!(poll_once(waiting.as_mut()).is_pending());
        event.open();
        assert!(poll_once(waiting.as_mut()).is_pending());
        handle.cancel();
        assert!(waiting.await.is_err());
        assert_eq!(log.entries(), ["went on"]);
    });
}

/// Case 125. A zero timeout on work that is done yields its result.
#[test]
fn a_zero_timeout_on_finished_work_yields_its_result() {
    everywhere(|| async {
        assert_eq!(timeout(Duration::ZERO, future::ready(7)).await, Ok(7));
        let outcome = group(async |g| {
            let task = g.spawn(async { Ok(7) });
            until(|| task.is_finished()).await;
            Ok(timeout(Duration::ZERO, task).await??)
        });
        assert_eq!(outcome.await.unwrap(), 7);
        let nested = timeout(Duration::ZERO, group(async |_g| Ok(7)));
        assert_eq!(nested.await.unwrap().unwrap(), 7);
    });
}

/// Case 126. The thread was busy until an inner and an outer deadline had passed: the outermost
/// takes everything, whichever of them was the earlier.
#[test]
fn of_two_deadlines_past_the_outermost_takes_all() {
    for outer_first in [true, false] {
        let log = Log::default();
        let (early, late) = (now() + SOON, now() + 2 * SOON);
        let (outer, inner) = if outer_first {
            (early, late)
        } else {
            (late, early)
        };
        let mut running = pin!(timeout_at(outer, async {
            let middle = timeout(HOUR, timeout_at(inner, pending::<()>())).await;
            log.say(format!("between: {middle:?}"));
        }));
        assert!(poll_once(running.as_mut()).is_pending());
        busy_until(late);
        watched("both past", || {
            assert!(future::block_on(running.as_mut()).is_err())
        });
        assert_eq!(log.entries(), [""; 0], "outer first: {outer_first}");
    }
}

/// Case 126. The same if the outer one is that of a group round the inner.
#[test]
fn of_two_deadlines_past_that_of_the_group_takes_all() {
    for group_first in [true, false] {
        let log = Log::default();
        let (early, late) = (now() + SOON, now() + 2 * SOON);
        let (outer, inner) = if group_first {
            (early, late)
        } else {
            (late, early)
        };
        let mut running = pin!(group(async |g| {
            g.scope().set_deadline(Some(outer));
            let inner = timeout_at(inner, pending::<()>()).await;
            log.say(format!("between: {inner:?}"));
            Ok(())
        }));
        assert!(poll_once(running.as_mut()).is_pending());
        busy_until(late);
        let stopped = watched("both past", || future::block_on(running.as_mut())).unwrap_err();
        assert!(stopped.is_cancelled() && stopped.is_empty());
        assert_eq!(log.entries(), [""; 0], "group first: {group_first}");
    }
}

/// Case 126. The same for a child of the group, whose own timeout has passed too.
#[test]
fn of_two_deadlines_past_that_of_the_group_takes_the_children() {
    let log = Log::default();
    let (early, late) = (now() + SOON, now() + 2 * SOON);
    let mut running = pin!(group(async |g| {
        g.scope().set_deadline(Some(late));
        g.spawn_local(async {
            let inner = timeout_at(early, pending::<()>()).await;
            log.say(format!("between: {inner:?}"));
            Ok(())
        });
        pending::<Result<(), Error>>().await
    }));
    assert!(poll_once(running.as_mut()).is_pending());
    busy_until(late);
    let stopped = watched("both past", || future::block_on(running.as_mut())).unwrap_err();
    assert!(stopped.is_cancelled() && stopped.is_empty());
    assert_eq!(log.entries(), [""; 0]);
}

/// Case 126. The same if the deadline is that of a scope round the group.
#[test]
fn of_two_deadlines_past_that_round_the_group_takes_the_children() {
    let log = Log::default();
    let (early, late) = (now() + SOON, now() + 2 * SOON);
    let mut running = pin!(timeout_at(
        late,
        group(async |g| {
            g.spawn_local(async {
                let inner = timeout_at(early, pending::<()>()).await;
                log.say(format!("between: {inner:?}"));
                Ok(())
            });
            pending::<Result<(), Error>>().await
        })
    ));
    assert!(poll_once(running.as_mut()).is_pending());
    busy_until(late);
    assert!(watched("both past", || future::block_on(running.as_mut())).is_err());
    assert_eq!(log.entries(), [""; 0]);
}

/// Case 126. One deadline for a group and for a scope in each of its children is that of the group,
/// on whichever thread it is noticed.
#[test]
fn one_deadline_for_group_and_children_is_that_of_the_group() {
    everywhere(|| async {
        for by_handle in [true, false] {
            let log = Log::default();
            let deadline = now() + SOON;
            let running = group(async |g| {
                if by_handle {
                    g.scope().set_deadline(Some(deadline));
                }
                for _ in 0..4 {
                    let log = log.clone();
                    g.spawn(async move {
                        let inner = timeout_at(deadline, pending::<()>()).await;
                        log.say(format!("between: {inner:?}"));
                        Ok(())
                    });
                }
                pending::<Result<(), Error>>().await
            });
            if by_handle {
                assert!(running.await.unwrap_err().is_empty());
            } else {
                assert!(timeout_at(deadline, running).await.is_err());
            }
            assert_eq!(log.entries(), [""; 0], "by the group's handle: {by_handle}");
        }
    });
}

/// Case 127. A shielded piece outlasts the cancellation, and nothing is awaited after it: its value
/// is returned.
#[test]
fn a_shield_at_the_very_end_yields_its_value() {
    everywhere(|| async {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope.run(async {
            shield(async {
                handle.cancel();
                checkpoint().await;
                7
            })
            .await
        });
        assert_eq!(outcome.await.unwrap(), 7);

        let late = timeout(
            Duration::ZERO,
            shield(async {
                yield_now().await;
                7
            }),
        );
        assert_eq!(late.await, Ok(7));

        let outcome = group(async |g| {
            shield(async {
                g.cancel();
                checkpoint().await;
            })
            .await;
            Ok(7)
        });
        assert_eq!(outcome.await.unwrap(), 7);
    });
}

/// Case 128. Cancelling what has ended changes nothing.
#[test]
fn cancelling_a_finished_task_changes_nothing() {
    everywhere(|| async {
        let outcome = group(async |g| {
            let task = g.spawn(async { Ok(7) });
            let local = g.spawn_local(async { Ok(8) });
            until(|| task.is_finished() && local.is_finished()).await;
            for _ in 0..3 {
                task.cancel();
                local.cancel();
            }
            checkpoint().await;
            Ok((task.await?, local.await?))
        });
        assert_eq!(outcome.await.unwrap(), (7, 8));
    });
}

/// Law 7. A group whose body had returned its value keeps it when the cancellation comes while it
/// joins.
#[test]
fn a_body_value_survives_a_cancellation_in_the_join() {
    everywhere(|| async {
        let outcome = group(async |g| {
            let stop = g.scope();
            g.spawn(async move {
                let_others_run().await;
                stop.cancel();
                pending::<Result<(), _>>().await
            });
            Ok(7)
        });
        assert_eq!(outcome.await.unwrap(), 7);
    });
}
