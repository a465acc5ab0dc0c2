//! A timeout is an outcome of its own scope, and is never mistaken for another cancellation.

use std::{future::pending, panic, pin::pin, thread, time::Duration};

use futures_lite::future::{yield_now, zip};
use headcount::{
    CancelScope, Error, FailureKind, TimedOut, checkpoint, finally, group, now, shield, sleep,
    timeout, timeout_at,
};

use crate::common::{
    Census, Gate, Log, everywhere, in_run, let_others_run, poll_once, until, watched,
};

mod common;

const HOUR: Duration = Duration::from_secs(3600);
const MOMENT: Duration = Duration::from_millis(1);

/// Case 110. A timeout gives a typed error, a scope with a deadline says that it was the deadline.
#[test]
fn both_forms_tell_of_the_deadline() {
    everywhere(|| async {
        let failed: Result<(), TimedOut> = timeout(MOMENT, pending()).await;
        assert!(failed.unwrap_err().to_string().contains("1ms"));
        let failed: Result<(), TimedOut> = timeout_at(now() + MOMENT, pending()).await;
        assert!(!failed.unwrap_err().to_string().is_empty());

        let cancelled = CancelScope::new()
            .timeout(MOMENT)
            .run(pending::<()>())
            .await
            .unwrap_err();
        assert!(cancelled.is_deadline());
        assert_eq!(cancelled.reason(), None);
    });
}

/// Case 110. Whoever is in time gets the value, and hears nothing later.
#[test]
fn in_time_is_the_value() {
    everywhere(|| async {
        let in_time = timeout(HOUR, async {
            yield_now().await;
            7
        });
        assert_eq!(in_time.await, Ok(7));
        assert_eq!(timeout(MOMENT, async { 7 }).await, Ok(7));
        sleep(2 * MOMENT).await;
        checkpoint().await;
    });
}

/// Case 112. Cancelled by hand, and past its deadline before the body gets out: the cause stays the
/// first one.
#[test]
fn cancelled_by_hand_before_the_deadline_stays_by_hand() {
    everywhere(|| async {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope
            .run(
                shield(async {
                    handle.cancel_with("by hand");
                    handle.set_deadline(Some(now()));
                    sleep(MOMENT).await;
                })
                .and_then_wait(),
            )
            .await;
        let cancelled = outcome.unwrap_err();
        assert_eq!(
            (cancelled.reason(), cancelled.is_deadline()),
            (Some("by hand"), false)
        );

        let scope = CancelScope::new().timeout(MOMENT);
        let handle = scope.handle();
        let outcome = scope
            .run(
                shield(async {
                    handle.cancel_with("by hand");
                    sleep(3 * MOMENT).await;
                })
                .and_then_wait(),
            )
            .await;
        let cancelled = outcome.unwrap_err();
        assert_eq!(
            (cancelled.reason(), cancelled.is_deadline()),
            (Some("by hand"), false)
        );
    });
}

trait AndThenWait: Future + Sized {
    async fn and_then_wait(self) {
        self.await;
        pending::<()>().await;
    }
}

impl<F: Future> AndThenWait for F {}

/// Case 112. Past its deadline, and then cancelled by hand: the cause stays the deadline.
#[test]
fn past_the_deadline_before_cancelled_by_hand_stays_the_deadline() {
    everywhere(|| async {
        let scope = CancelScope::new().timeout(Duration::ZERO);
        let handle = scope.handle();
        let outcome = scope
            .run(
                shield(async {
                    until(|| handle.is_cancelled()).await;
                    handle.cancel_with("by hand");
                })
                .and_then_wait(),
            )
            .await;
        let cancelled = outcome.unwrap_err();
        assert_eq!((cancelled.reason(), cancelled.is_deadline()), (None, true));
    });
}

/// Case 112. The same for a group, whose error carries the cause.
#[test]
fn the_cause_of_a_group_is_the_first_too() {
    everywhere(|| async {
        let stopped = group(async |g| {
            shield(async {
                g.cancel_with("by hand");
                g.scope().set_deadline(Some(now()));
                sleep(MOMENT).await;
            })
            .await;
            pending::<Result<(), Error>>().await
        });
        assert_eq!(stopped.await.unwrap_err().reason(), Some("by hand"));
    });
}

/// Case 113. Timeouts around each other with one deadline: only the outermost reports it, and none
/// of the code between runs.
#[test]
fn one_deadline_for_several_is_reported_by_the_outermost() {
    everywhere(|| async {
        for deadline in [now() + MOMENT, now()] {
            let log = Log::default();
            let outcome = timeout_at(deadline, async {
                let middle = timeout_at(deadline, async {
                    let inner = timeout_at(deadline, pending::<()>()).await;
                    log.say(format!("inner: {:?}", inner.is_err()));
                });
                log.say(format!("middle: {:?}", middle.await.is_err()));
            })
            .await;
            assert!(outcome.is_err());
            assert_eq!(log.entries(), [""; 0]);
        }
    });
}

/// Case 113. The same when the outer one is a group's deadline.
#[test]
fn one_deadline_with_a_group_is_reported_by_the_group() {
    everywhere(|| async {
        let log = Log::default();
        let outcome = group(async |g| {
            let deadline = now() + MOMENT;
            g.scope().set_deadline(Some(deadline));
            let inner = timeout_at(deadline, pending::<()>()).await;
            log.say(format!("inner: {:?}", inner.is_err()));
            Ok(())
        });
        let stopped = outcome.await.unwrap_err();
        assert!(stopped.is_empty() && stopped.is_cancelled());
        assert_eq!(log.entries(), [""; 0]);
    });
}

/// Case 115. An enclosing scope is cancelled while a timeout is open: the timeout reports nothing.
#[test]
fn an_enclosing_cancellation_is_no_timeout() {
    everywhere(|| async {
        let log = Log::default();
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = scope
            .run(async {
                let inner = timeout(HOUR, async {
                    handle.cancel();
                    pending::<()>().await;
                });
                log.say(format!("timeout: {:?}", inner.await.is_err()));
            })
            .await;
        assert!(outcome.is_err());
        assert_eq!(log.entries(), [""; 0]);
    });
}

/// Case 115. Nor is the deadline of one further out that of the one inside, or the other way round.
#[test]
fn an_enclosing_deadline_is_not_the_inner_one() {
    everywhere(|| async {
        let log = Log::default();
        let outcome = timeout(MOMENT, async {
            let inner = timeout(HOUR, pending::<()>()).await;
            log.say(format!("inner: {:?}", inner.is_err()));
        });
        assert!(outcome.await.unwrap_err().to_string().contains("1ms"));
        assert_eq!(log.entries(), [""; 0]);

        let outcome = timeout(HOUR, async {
            let inner = timeout(MOMENT, pending::<()>()).await;
            inner.unwrap_err().to_string()
        });
        assert!(outcome.await.unwrap().contains("1ms"));
    });
}

/// Case 116. A body cut by a timeout fails in its cleanup: the failure comes out, with the timeout
/// beside it.
#[test]
fn a_failure_in_the_cleanup_outranks_the_timeout() {
    everywhere(|| async {
        let scope = CancelScope::new();
        let limit = scope.handle();
        let outcome = scope
            .run(group(async |g| {
                g.spawn_local(async {
                    let goodbye = async {
                        limit.set_deadline(Some(now()));
                        until(|| limit.is_cancelled()).await;
                    };
                    shield(goodbye).await;
                    Err::<(), _>("cannot say goodbye".into())
                });
                pending::<Result<(), Error>>().await
            }))
            .await;
        let failed = outcome.expect("the failure comes out").unwrap_err();
        assert_eq!(failed.len(), 1);
        assert_eq!(
            failed.first().unwrap().error().unwrap().to_string(),
            "cannot say goodbye"
        );
        assert!(failed.is_cancelled(), "the timeout is lost");
    });
}

/// Case 116. A cleanup that panics lets the panic through the timeout.
#[test]
fn a_panic_in_the_cleanup_outranks_the_timeout() {
    everywhere(|| async {
        let failed = group(async |_g| {
            let _late = timeout(
                Duration::ZERO,
                finally(pending::<()>(), async { panic!("cannot say goodbye") }),
            )
            .await;
            Ok(())
        })
        .await
        .unwrap_err();
        assert_eq!(failed.len(), 1);
        let FailureKind::Panic(panic) = failed.first().unwrap().kind() else {
            panic!("no panic");
        };
        assert_eq!(panic.message(), Some("cannot say goodbye"));
    });
}

/// Law 8. What a timeout cuts is all gone when it is reported.
#[test]
fn what_is_cut_is_gone_when_the_timeout_is_reported() {
    everywhere(|| async {
        let census = Census::default();
        let late = timeout(Duration::ZERO, async {
            let _value = census.enter();
            timeout(HOUR, async {
                let _value = census.enter();
                pending::<()>().await;
            })
            .await
        });
        assert!(late.await.is_err());
        assert_eq!((census.entered(), census.alive()), (2, 0));
    });
}

/// A timeout round each try of a loop: each gets its own time, and the loop goes on.
#[test]
fn each_try_of_a_loop_has_its_own_timeout() {
    everywhere(|| async {
        let mut tries = 0;
        let answer = timeout(HOUR, async {
            loop {
                tries += 1;
                let limit = if tries < 4 { Duration::ZERO } else { HOUR };
                let answer = timeout(limit, async {
                    yield_now().await;
                    7
                });
                if let Ok(answer) = answer.await {
                    return answer;
                }
            }
        });
        assert_eq!(answer.await, Ok(7));
        assert_eq!(tries, 4);
    });
}

/// A body that panics lets the panic through, and nothing of the timeout stays behind.
#[test]
fn a_panic_goes_through_a_timeout() {
    watched("panicking", || {
        let late = panic::catch_unwind(|| {
            futures_lite::future::block_on(timeout(HOUR, async {
                yield_now().await;
                if true {
                    panic!("in the body");
                }
            }))
        });
        assert!(late.is_err());
        assert_eq!(headcount::deadline(), None);
        assert!(!headcount::is_cancelled());
    });
}

/// Case 112. On real threads: a cancellation by hand and a deadline race. Whichever comes first, the
/// cause is one of the two and never a mixture.
#[test]
fn hand_and_deadline_race_for_the_cause() {
    in_run(|| async {
        for round in 0..500_u32 {
            let scope = CancelScope::new().timeout(Duration::from_micros(u64::from(round % 50)));
            let handle = scope.handle();
            let inside = Gate::default();
            let outcome = group(async |g| {
                let task = g.spawn({
                    let inside = inside.clone();
                    async move {
                        Ok(scope
                            .run(async move {
                                inside.open();
                                pending::<()>().await;
                            })
                            .await
                            .unwrap_err())
                    }
                });
                g.spawn(async move {
                    inside.wait().await;
                    handle.cancel_with("by hand");
                    Ok(())
                });
                Ok(task.await?)
            });
            let cancelled = outcome.await.unwrap();
            match cancelled.reason() {
                Some("by hand") => assert!(!cancelled.is_deadline()),
                None => assert!(cancelled.is_deadline()),
                Some(other) => panic!("a reason nobody gave: {other}"),
            }
        }
    });
}

/// The deadline passes while the body is held up in a shield: it is this timeout that is reported,
/// after the shield.
#[test]
fn a_timeout_waits_for_shields() {
    everywhere(|| async {
        let log = Log::default();
        let (late, ()) = zip(
            timeout(Duration::ZERO, async {
                shield(async {
                    let_others_run().await;
                    log.say("shielded");
                })
                .await;
                pending::<()>().await;
            }),
            async {},
        )
        .await;
        log.say("timed out");
        assert!(late.is_err());
        assert_eq!(log.entries(), ["shielded", "timed out"]);
    });
}

/// A timeout may be polled on another thread each time: its deadline stays its own.
#[test]
fn a_timeout_moves_between_threads() {
    let gate = Gate::default();
    let release = gate.clone();
    let mut running = Box::pin(timeout(HOUR, async move {
        let seen = headcount::deadline();
        assert!(seen.is_some());
        gate.wait().await;
        assert_eq!(headcount::deadline(), seen);
        7
    }));
    let mut running = thread::spawn(move || {
        assert!(poll_once(running.as_mut()).is_pending());
        assert_eq!(headcount::deadline(), None);
        running
    })
    .join()
    .unwrap();
    release.open();
    let mut other = pin!(timeout(2 * HOUR, async {
        let own = headcount::deadline();
        let inner = poll_once(running.as_mut());
        assert_eq!(headcount::deadline(), own);
        inner
    }));
    assert!(poll_once(other.as_mut()).is_ready());
}
