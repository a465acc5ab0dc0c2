//! Deadlines: the earliest counts, they can be moved while the scope runs, and a scope that is over
//! is over.

use std::{
    future::{Future, pending},
    pin::pin,
    task::Context,
    thread,
    time::{Duration, Instant},
};

use futures_lite::future::{yield_now, zip};
use headcount::{
    CancelScope, Error, checkpoint, deadline, finally, group, interval, now, shield, sleep,
    sleep_until, time_left, timeout, timeout_at,
};

use crate::common::{
    Census, CountWakes, Gate, Log, everywhere, let_others_run, on_threads, poll_once, until,
};

mod common;

const HOUR: Duration = Duration::from_secs(3600);
const MOMENT: Duration = Duration::from_millis(1);

fn past() -> Instant {
    let now = now();
    now.checked_sub(MOMENT).unwrap_or(now)
}

/// Case 98. Of two nested scopes the earlier deadline is in force, whichever is the outer one.
#[test]
fn the_earlier_deadline_is_in_force() {
    everywhere(|| async {
        let (early, late) = (now() + HOUR, now() + 2 * HOUR);
        for (outer, inner) in [(early, late), (late, early)] {
            timeout_at(outer, async {
                assert_eq!(deadline(), Some(outer));
                timeout_at(inner, async {
                    assert_eq!(deadline(), Some(early));
                    yield_now().await;
                    assert_eq!(deadline(), Some(early));
                    assert!(time_left().unwrap() <= HOUR);
                })
                .await
                .unwrap();
                assert_eq!(deadline(), Some(outer));
            })
            .await
            .unwrap();
            assert_eq!(deadline(), None);
        }
    });
}

/// Case 98. And it is the scope whose deadline it was that is cut.
#[test]
fn the_scope_with_the_earlier_deadline_is_cut() {
    everywhere(|| async {
        let inner_first = timeout(HOUR, timeout(MOMENT, pending::<()>())).await;
        assert!(inner_first.unwrap().is_err());
        let outer_first = timeout(MOMENT, timeout(HOUR, pending::<()>())).await;
        assert!(outer_first.is_err());
    });
}

/// Case 98. Of a scope's deadline and its timeout the earlier one counts.
#[test]
fn of_deadline_and_timeout_the_earlier_counts() {
    everywhere(|| async {
        let at = now() + HOUR;
        let scopes = [
            CancelScope::new().deadline(at).timeout(2 * HOUR),
            CancelScope::new().timeout(2 * HOUR).deadline(at),
        ];
        for scope in scopes {
            assert_eq!(scope.run(async { deadline() }).await.unwrap(), Some(at));
        }
        let scope = CancelScope::new().deadline(now() + 2 * HOUR).timeout(HOUR);
        let before = now();
        let seen = scope.run(async { deadline() }).await.unwrap().unwrap();
        assert!(seen >= before + HOUR && seen <= now() + HOUR);
    });
}

/// Case 100. A deadline that is moved later, or taken away, before it has passed: nothing happens at
/// the old time.
#[test]
fn a_deadline_that_was_moved_later_does_not_fire() {
    everywhere(|| async {
        for moved_to in [None, Some(now() + HOUR)] {
            let old = now() + Duration::from_millis(3);
            let scope = CancelScope::new().deadline(old);
            let handle = scope.handle();
            let outcome = scope
                .run(async {
                    yield_now().await;
                    handle.set_deadline(moved_to);
                    assert_eq!(deadline(), moved_to);
                    sleep_until(old + Duration::from_millis(2)).await;
                    assert!(now() > old);
                    checkpoint().await;
                    7
                })
                .await;
            assert_eq!(outcome.unwrap(), 7);
        }
    });
}

/// Case 100. Moved earlier while the body waits, by another task: the new time counts.
#[test]
fn a_deadline_that_was_moved_earlier_fires() {
    everywhere(|| async {
        let scope = CancelScope::new().timeout(HOUR);
        let handle = scope.handle();
        let moves = async {
            let_others_run().await;
            handle.set_deadline(Some(now() + MOMENT));
        };
        let (outcome, ()) = zip(scope.run(pending::<()>()), moves).await;
        assert!(outcome.unwrap_err().is_deadline());
    });
}

/// Case 100. A scope without a deadline is given one, from another thread, while it waits.
#[test]
fn a_deadline_is_set_from_another_thread() {
    on_threads(|| async {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let inside = Gate::default();
        let foreign = thread::spawn({
            let inside = inside.clone();
            move || {
                futures_lite::future::block_on(inside.wait());
                handle.set_deadline(Some(now() + MOMENT));
            }
        });
        let outcome = scope
            .run(async {
                inside.open();
                pending::<()>().await;
            })
            .await;
        assert!(outcome.unwrap_err().is_deadline());
        foreign.join().unwrap();
    });
}

/// Case 101. A deadline that is moved to the past cuts the next wait, and so the one after.
#[test]
fn a_deadline_moved_to_the_past_cuts_the_next_wait() {
    everywhere(|| async {
        let log = Log::default();
        let scope = CancelScope::new().timeout(HOUR);
        let handle = scope.handle();
        let outcome = scope
            .run(async {
                checkpoint().await;
                handle.set_deadline(Some(past()));
                log.say("no wait yet");
                shield(checkpoint()).await;
                log.say("a shielded wait");
                sleep(Duration::ZERO).await;
                log.say("never");
            })
            .await;
        assert!(outcome.unwrap_err().is_deadline());
        assert_eq!(log.entries(), ["no wait yet", "a shielded wait"]);
    });
}

/// Case 101. The same for the deadline of a group, with its tasks.
#[test]
fn a_group_deadline_moved_to_the_past_cuts_all() {
    everywhere(|| async {
        let census = Census::default();
        let stopped = group(async |g| {
            let value = census.enter();
            g.spawn(async move {
                let _value = value;
                pending::<Result<(), _>>().await
            });
            let value = census.enter();
            g.spawn_local(async move {
                let _value = value;
                pending::<Result<(), _>>().await
            });
            g.scope().set_deadline(Some(past()));
            pending::<Result<(), Error>>().await
        })
        .await
        .unwrap_err();
        assert!(stopped.is_cancelled() && stopped.is_empty());
        assert_eq!((census.entered(), census.alive()), (2, 0));
    });
}

/// Case 103. With no time at all, or a deadline in the past, the body runs up to its first wait.
#[test]
fn without_any_time_the_body_runs_to_its_first_wait() {
    everywhere(|| async {
        let log = Log::default();
        let body = async |name: &str| {
            log.say(name);
            yield_now().await;
            log.say("never");
        };
        assert!(timeout(Duration::ZERO, body("zero")).await.is_err());
        assert!(timeout_at(past(), body("past")).await.is_err());
        assert!(timeout_at(now(), body("now")).await.is_err());
        assert!(
            CancelScope::new()
                .deadline(past())
                .run(body("scope"))
                .await
                .is_err()
        );
        let scope = CancelScope::new();
        scope.handle().set_deadline(Some(past()));
        assert!(scope.run(body("moved")).await.unwrap_err().is_deadline());
        assert_eq!(log.entries(), ["zero", "past", "now", "scope", "moved"]);
    });
}

/// Case 104. A time limit counts from the first poll, not from when it was written down.
#[test]
fn a_time_limit_counts_from_the_first_poll() {
    everywhere(|| async {
        let limit = timeout(HOUR, async { deadline() });
        let scope = CancelScope::new().timeout(HOUR).run(async { deadline() });
        let nap = sleep(MOMENT);
        sleep(MOMENT).await;

        let entered = now();
        assert!(limit.await.unwrap().unwrap() >= entered + HOUR);
        assert!(scope.await.unwrap().unwrap() >= entered + HOUR);
        let entered = now();
        nap.await;
        assert!(now() >= entered + MOMENT);
    });
}

/// Case 106. A scope whose deadline has passed does not come back to life when the deadline is moved
/// on.
#[test]
fn an_expired_scope_does_not_come_back() {
    everywhere(|| async {
        for moved_to in [None, Some(now() + HOUR)] {
            let log = Log::default();
            let scope = CancelScope::new().deadline(past());
            let handle = scope.handle();
            let outcome = scope
                .run(async {
                    shield(async {
                        until(|| handle.is_cancelled()).await;
                        handle.set_deadline(moved_to);
                        yield_now().await;
                    })
                    .await;
                    assert!(handle.is_cancelled());
                    checkpoint().await;
                    log.say("never");
                })
                .await;
            assert!(outcome.unwrap_err().is_deadline());
            assert_eq!(log.entries(), [""; 0]);
        }
    });
}

/// Case 106. Nor does one that was cancelled by hand, nor one that is over.
#[test]
fn a_cancelled_scope_does_not_come_back() {
    everywhere(|| async {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope
            .run(async {
                handle.cancel_with("by hand");
                handle.set_deadline(Some(now() + HOUR));
                checkpoint().await;
            })
            .await;
        let cancelled = outcome.unwrap_err();
        assert_eq!(
            (cancelled.reason(), cancelled.is_deadline()),
            (Some("by hand"), false)
        );

        handle.set_deadline(Some(past()));
        handle.set_deadline(None);
        checkpoint().await;
    });
}

/// Polls a future until it is ready, or once if it never will be.
fn wakes_afterwards<F: Future>(future: F, ready: bool, kept: bool) -> usize {
    let (wakes, waker) = CountWakes::new();
    let cx = &mut Context::from_waker(&waker);
    let mut future = Box::pin(future);
    assert!(future.as_mut().poll(cx).is_pending());
    if ready {
        assert!(future.as_mut().poll(cx).is_ready());
    }
    let before = wakes.count();
    let kept = kept.then_some(future);
    thread::sleep(10 * MOMENT);
    drop(kept);
    wakes.count() - before
}

/// Case 107. A scope that ends before its deadline takes its timer along: nobody is woken later.
#[test]
fn a_scope_that_ended_forgets_its_timer() {
    let scope = CancelScope::new().timeout(MOMENT);
    assert_eq!(
        wakes_afterwards(timeout(MOMENT, yield_now()), true, false),
        0
    );
    assert_eq!(wakes_afterwards(scope.run(yield_now()), true, false), 0);
}

/// Case 107. Also if somebody keeps what is left of it.
#[test]
fn a_scope_that_ended_and_is_kept_forgets_its_timer() {
    let scope = CancelScope::new().timeout(MOMENT);
    assert_eq!(
        wakes_afterwards(timeout(MOMENT, yield_now()), true, true),
        0
    );
    assert_eq!(wakes_afterwards(scope.run(yield_now()), true, true), 0);
}

/// Case 107. So does everything with a timer that is dropped while it waits.
#[test]
fn what_is_dropped_forgets_its_timer() {
    assert_eq!(
        wakes_afterwards(timeout(MOMENT, pending::<()>()), false, false),
        0
    );
    assert_eq!(wakes_afterwards(sleep(MOMENT), false, false), 0);
    assert_eq!(
        wakes_afterwards(sleep_until(now() + MOMENT), false, false),
        0
    );
    let scope = CancelScope::new().timeout(MOMENT);
    let _handle = scope.handle();
    assert_eq!(
        wakes_afterwards(scope.run(pending::<()>()), false, false),
        0
    );
}

/// Case 109. The deadline round a group cuts body and children, and the group has joined before the
/// timeout is reported.
#[test]
fn a_deadline_round_a_group_is_reported_after_the_join() {
    everywhere(|| async {
        let census = Census::default();
        let log = Log::default();
        let scope = CancelScope::new().timeout(Duration::from_secs(3600));
        let limit = scope.handle();
        let late = scope
            .run(group(async |g| {
                let _body = census.enter();
                let (log2, census2) = (log.clone(), census.clone());
                g.spawn(async move {
                    let _child = census2.enter();
                    finally(pending::<()>(), async {
                        let_others_run().await;
                        log2.say("child cleaned up");
                    })
                    .await;
                    Ok(())
                });
                let log2 = log.clone();
                g.defer(async move {
                    let_others_run().await;
                    log2.say("deferred");
                });
                let borrowed = &census;
                g.spawn_local(async move {
                    let _child = borrowed.enter();
                    pending::<Result<(), _>>().await
                });
                until(|| census.entered() == 3).await;
                limit.set_deadline(Some(now()));
                pending::<Result<(), Error>>().await
            }))
            .await;
        log.say("timed out");
        assert!(late.is_err());
        assert_eq!((census.entered(), census.alive()), (3, 0));
        assert_eq!(log.entries(), ["child cleaned up", "deferred", "timed out"]);
    });
}

/// A time that is too long to be added means never, everywhere.
#[test]
fn a_time_too_long_means_never() {
    everywhere(|| async {
        let never = Duration::MAX;
        assert_eq!(timeout(never, async { deadline() }).await, Ok(None));
        assert_eq!(timeout(never, async { time_left() }).await, Ok(None));
        let scope = CancelScope::new().timeout(never);
        assert_eq!(scope.run(async { deadline() }).await.unwrap(), None);
        assert!(timeout(MOMENT, sleep(never)).await.is_err());
        let mut beat = interval(never);
        assert!(timeout(MOMENT, beat.tick()).await.is_err());
        timeout(never, checkpoint()).await.unwrap();
        timeout(
            HOUR,
            timeout(never, async { assert!(deadline().is_some()) }),
        )
        .await
        .unwrap()
        .unwrap();
    });
}

/// A deadline that has passed leaves no time, rather than a negative one.
#[test]
fn after_the_deadline_no_time_is_left() {
    everywhere(|| async {
        let left = timeout_at(past(), async { time_left() }).await;
        assert_eq!(left, Ok(Some(Duration::ZERO)));
    });
}

/// A child is under the deadlines of its group, not of the place that it was spawned from.
#[test]
fn a_child_has_the_deadlines_of_its_group() {
    everywhere(|| async {
        let at = now() + HOUR;
        let outcome = timeout_at(
            at,
            group(async |g| {
                let (parallel, local) = timeout(MOMENT, async {
                    let parallel = g.spawn(async { Ok(deadline()) });
                    let local = g.spawn_local(async { Ok(deadline()) });
                    (parallel, local)
                })
                .await?;
                Ok((parallel.await?, local.await?))
            }),
        );
        assert_eq!(outcome.await.unwrap().unwrap(), (Some(at), Some(at)));
    });
}

/// A child spawned from inside a scope that is cut lives on: it is not below that scope.
#[test]
fn a_child_outlives_the_scope_it_was_spawned_in() {
    everywhere(|| async {
        let outcome = group(async |g| {
            let release = Gate::default();
            let cut = timeout(Duration::ZERO, async {
                let release = release.clone();
                let spawned = g.spawn(async move {
                    release.wait().await;
                    checkpoint().await;
                    Ok(7)
                });
                (pending::<()>().await, spawned)
            });
            assert!(cut.await.is_err());
            assert_eq!(g.len(), 1);
            release.open();
            Ok(())
        });
        outcome.await.unwrap();
    });
}

/// A deadline set through the group's handle is seen by body and children.
#[test]
fn a_group_deadline_is_seen_below() {
    everywhere(|| async {
        let at = now() + HOUR;
        let seen = group(async |g| {
            g.scope().set_deadline(Some(at));
            let body = deadline();
            let child = g.spawn(async { Ok(deadline()) }).await?;
            let nested = group(async |h| Ok(h.spawn(async { Ok(deadline()) }).await?)).await?;
            Ok([body, child, nested])
        });
        assert_eq!(seen.await.unwrap(), [Some(at); 3]);
    });
}

/// The same for a borrowing child, from its first step.
#[test]
fn a_group_deadline_is_seen_by_borrowing_children() {
    everywhere(|| async {
        let at = now() + HOUR;
        let seen = group(async |g| {
            g.scope().set_deadline(Some(at));
            let local = g.spawn_local(async {
                let first = deadline();
                yield_now().await;
                Ok([first, deadline()])
            });
            Ok(local.await?)
        });
        assert_eq!(seen.await.unwrap(), [Some(at); 2]);
    });
}

/// A deadline moved while it is asked for by code below: asking again tells the new one.
#[test]
fn a_moved_deadline_is_seen_below() {
    everywhere(|| async {
        let (first, second) = (now() + HOUR, now() + 2 * HOUR);
        let scope = CancelScope::new().deadline(first);
        let handle = scope.handle();
        let outcome = scope.run(timeout(3 * HOUR, async {
            assert_eq!(deadline(), Some(first));
            handle.set_deadline(Some(second));
            assert_eq!(deadline(), Some(second));
            yield_now().await;
            handle.set_deadline(None);
            assert!(deadline().unwrap() > second);
        }));
        outcome.await.unwrap().unwrap();
    });
}

/// Polled with another waker, a scope's timer wakes that one.
#[test]
fn the_timer_wakes_the_waker_of_the_last_poll() {
    let ((old, old_waker), (new, new_waker)) = (CountWakes::new(), CountWakes::new());
    let mut late = pin!(timeout(5 * MOMENT, pending::<()>()));
    assert!(
        late.as_mut()
            .poll(&mut Context::from_waker(&old_waker))
            .is_pending()
    );
    assert!(
        late.as_mut()
            .poll(&mut Context::from_waker(&new_waker))
            .is_pending()
    );
    common::watched("waiting for the timer", || {
        while new.count() == 0 {
            thread::yield_now();
        }
    });
    assert_eq!(old.count(), 0);
    while poll_once(late.as_mut()).is_pending() {
        thread::yield_now();
    }
}
