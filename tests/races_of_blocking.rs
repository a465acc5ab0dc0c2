//! Races of blocking calls with cancellations, drops and ends, on real threads and by seed: thousands of
//! rounds, a few seconds in all. What is asserted holds whoever wins.

#[path = "common/calls.rs"]
mod calls;
mod common;

use std::{
    future::{Future, pending},
    pin::pin,
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    thread,
    time::Duration,
};

use calls::{Calls, Latch, Meeting, wait_until};
use common::{Census, CountWakes, Gate, keep_quiet_about_purpose, leaves_of, on_threads, watched};
use futures_lite::future::{block_on, or, poll_once, yield_now, zip};
#[cfg(feature = "testing")]
use headcount::testing::Builder;
use headcount::{
    Aborted, CancelScope, Error, Policy, Runtime, ScopeHandle, TaskGroup, checkpoint, gather,
    group, is_cancelled, run, shield,
    sync::{Limiter, Semaphore},
    timeout, unblock,
};

/// Numbers that look drawn, and are the same each time.
struct Draws(u64);

impl Draws {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below this one.
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % end
    }
}

/// Wastes a time that differs from round to round, too short to be slept.
fn dither(round: u64) {
    for _ in 0..(round * 7) % 600 {
        std::hint::spin_loop();
    }
}

/// A call that takes a little while, differing from round to round, and is counted.
fn brief(calls: &Calls, census: &Census, round: u64) -> impl FnOnce() -> u64 + Send + use<> {
    let (calls, value) = (calls.clone(), census.enter());
    move || {
        let _value = value;
        let _running = calls.begin();
        dither(round);
        if round % 5 == 0 {
            thread::yield_now();
        }
        round
    }
}

/// Runs many rounds of a scenario, on one thread of its own, while another thread does something to
/// it at about the same time.
fn rounds<T: Send + Sync>(
    count: u64,
    prepare: impl Fn() -> T,
    here: impl Fn(u64, &T) + Sync,
    there: impl Fn(u64, &T) + Sync,
) {
    let start = Barrier::new(2);
    let slots: Vec<T> = (0..count).map(|_| prepare()).collect();
    watched("racing", || {
        thread::scope(|s| {
            s.spawn(|| {
                for (round, slot) in (0..).zip(&slots) {
                    start.wait();
                    dither(round);
                    there(round, slot);
                }
            });
            for (round, slot) in (0..).zip(&slots) {
                start.wait();
                here(round, slot);
            }
        });
    });
}

/// A scope, to be taken once, and what it is cancelled by.
fn scope() -> (Mutex<Option<CancelScope>>, ScopeHandle) {
    let scope = CancelScope::new();
    let handle = scope.handle();
    (Mutex::new(Some(scope)), handle)
}

/// Case 194. A scope is cancelled as its call begins, or ends: the call has never begun and its scope
/// is cut, or it has ended and its value is there. Either way it is over when the scope is left.
#[test]
fn a_call_begins_as_its_scope_is_cancelled() {
    let (both, census) = (Calls::default(), Census::default());
    rounds(
        5000,
        scope,
        |round, (scope, _)| {
            let scope = scope.lock().unwrap().take().unwrap();
            let calls = Calls::default();
            let outcome = block_on(scope.run(unblock(brief(&calls, &census, round))));
            assert_eq!(outcome.is_ok(), calls.begun() == 1);
            assert_eq!(calls.begun(), calls.ended());
            assert_eq!(census.alive(), 0);
            if let Ok(value) = outcome {
                assert_eq!(value, round);
                drop(both.begin());
            }
        },
        |_, (_, handle)| handle.cancel(),
    );
    assert_eq!(census.entered(), 5000);
    assert!(
        both.begun() > 0,
        "no call was quicker than its cancellation"
    );
}

/// Case 191. The same with a wait after the call: the scope is always cut, and what the call returned
/// was seen if it has run.
#[test]
fn a_call_ends_as_its_scope_is_cancelled() {
    rounds(
        3000,
        scope,
        |round, (scope, _)| {
            let scope = scope.lock().unwrap().take().unwrap();
            let (calls, census) = (Calls::default(), Census::default());
            let seen = AtomicUsize::new(0);
            let outcome = block_on(scope.run(async {
                for _ in 0..round % 3 {
                    assert_eq!(unblock(brief(&calls, &census, round)).await, round);
                    seen.fetch_add(1, Ordering::SeqCst);
                }
                pending::<()>().await;
            }));
            assert!(outcome.is_err());
            assert_eq!(calls.begun(), calls.ended());
            assert_eq!(calls.ended(), seen.load(Ordering::SeqCst));
            assert_eq!(census.alive(), 0);
        },
        |_, (_, handle)| handle.cancel(),
    );
}

/// Case 197. A call that waits for its own cancellation always hears of it.
#[test]
fn a_call_never_misses_its_cancellation() {
    rounds(
        3000,
        scope,
        |_, (scope, _)| {
            let scope = scope.lock().unwrap().take().unwrap();
            let calls = Calls::default();
            let begins = calls.clone();
            let outcome = block_on(scope.run(unblock(move || {
                let _running = begins.begin();
                wait_until(is_cancelled);
            })));
            assert_eq!(outcome.is_ok(), calls.begun() == 1);
            assert_eq!(calls.begun(), calls.ended());
        },
        |_, (_, handle)| handle.cancel(),
    );
}

/// Waits that are polled once or twice and then dropped, at any point of their calls: no group is left
/// while one of them runs.
#[test]
fn a_call_ends_as_its_wait_is_dropped() {
    on_threads(|| async {
        for round in 0..500_u64 {
            let (calls, census) = (Calls::default(), Census::default());
            group(async |g| {
                for number in 0..4 {
                    let call = unblock(brief(&calls, &census, round + number));
                    g.spawn(async move {
                        let mut call = Box::pin(call);
                        for _ in 0..(round + number) % 4 {
                            if poll_once(call.as_mut()).await.is_some() {
                                return Ok(());
                            }
                            dither(round);
                        }
                        drop(call);
                        Ok(())
                    });
                }
                Ok(())
            })
            .await
            .unwrap();
            assert_eq!((calls.begun(), census.alive()), (calls.ended(), 0));
            assert!(calls.begun() <= 4);
        }
    });
}

/// The same where a run is all there is.
#[test]
fn a_call_ends_as_its_run_returns() {
    watched("in many runs", || {
        for round in 0..300_u64 {
            let (calls, census) = (Calls::default(), Census::default());
            let threads = if round % 2 == 0 { 1 } else { 2 };
            Runtime::builder().threads(threads).run(async {
                for number in 0..3 {
                    let call = unblock(brief(&calls, &census, round + number));
                    let waits = async {
                        call.await;
                    };
                    or(waits, async {
                        for _ in 0..(round + number) % 3 {
                            yield_now().await;
                        }
                    })
                    .await;
                }
            });
            assert_eq!((calls.begun(), census.alive()), (calls.ended(), 0));
        }
    });
}

/// Groups are dropped by their owners as calls of them begin and end.
#[test]
fn a_call_ends_as_its_group_is_dropped() {
    on_threads(|| async {
        for round in 0..300_u64 {
            let (calls, census) = (Calls::default(), Census::default());
            group(async |_outer| {
                let mut doomed = Box::pin(group(async |g| {
                    for number in 0..4 {
                        let call = brief(&calls, &census, round + number);
                        g.spawn_blocking(move || Ok(call()));
                    }
                    pending::<Result<(), Error>>().await
                }));
                for _ in 0..round % 4 {
                    assert!(poll_once(doomed.as_mut()).await.is_none());
                    dither(round);
                }
                drop(doomed);
                Ok(())
            })
            .await
            .unwrap();
            assert_eq!((calls.begun(), census.alive()), (calls.ended(), 0));
        }
    });
}

/// A handle is cancelled as its call begins: it yields the value of a call that has run, and says of
/// any other that it was cancelled.
#[test]
fn a_task_is_cancelled_as_its_call_begins() {
    on_threads(|| async {
        for round in 0..500_u64 {
            let (calls, census) = (Calls::default(), Census::default());
            group(async |g| {
                let call = brief(&calls, &census, round);
                let task = g.spawn_blocking(move || Ok(call()));
                for _ in 0..round % 4 {
                    yield_now().await;
                }
                dither(round);
                task.cancel();
                let expected = |begun| match begun {
                    0 => Err(Aborted::Cancelled),
                    _ => Ok(round),
                };
                let outcome = task.await;
                assert_eq!(outcome, expected(calls.begun()));
                assert_eq!((calls.begun(), census.alive()), (calls.ended(), 0));
                Ok(())
            })
            .await
            .unwrap();
        }
    });
}

/// A call that takes no time at all, and whose wake may come before the poll has returned: each value
/// comes, to whoever asked for it.
#[test]
fn the_values_of_the_shortest_calls_come() {
    on_threads(|| async {
        group(async |g| {
            let tasks: Vec<_> = (0..4_u64)
                .map(|task| {
                    g.spawn(async move {
                        for number in 0..1000 {
                            let expected = task * 1000 + number;
                            assert_eq!(unblock(move || expected).await, expected);
                        }
                        Ok(())
                    })
                })
                .collect();
            for number in 0..1000_u64 {
                assert_eq!(unblock(move || number).await, number);
            }
            for task in tasks {
                task.await?;
            }
            Ok(())
        })
        .await
        .unwrap();
    });
}

/// Many in the queue at once: each runs once, whatever thread it comes to.
#[test]
fn each_call_of_many_runs_once() {
    const CALLS: usize = 5000;

    on_threads(|| async {
        let runs: Arc<Vec<AtomicUsize>> = Arc::new((0..CALLS).map(|_| 0.into()).collect());
        group(async |g| {
            for number in 0..CALLS {
                let runs = Arc::clone(&runs);
                g.spawn_blocking(move || Ok(runs[number].fetch_add(1, Ordering::SeqCst)));
            }
            Ok(())
        })
        .await
        .unwrap();
        assert!(runs.iter().all(|runs| runs.load(Ordering::SeqCst) == 1));
    });
}

/// Bursts of short calls, and after each two that wait for each other: these never wait behind one
/// thread that has so far been enough.
#[test]
fn calls_that_wait_for_each_other_are_helped_each_time() {
    on_threads(|| async {
        for round in 0..100 {
            for _ in 0..20 {
                unblock(|| ()).await;
            }
            let meeting = Meeting::of(2 + round % 3);
            group(async |g| {
                for _ in 0..2 + round % 3 {
                    let meeting = meeting.clone();
                    g.spawn_blocking(move || {
                        meeting.attend();
                        Ok(())
                    });
                    for _ in 0..10 {
                        g.spawn_blocking(|| Ok(()));
                    }
                }
                Ok(())
            })
            .await
            .unwrap();
        }
    });
}

/// A thread that has nothing to do is given a call as it goes to rest: the call is not forgotten.
#[test]
fn a_call_that_comes_to_a_resting_thread_is_run() {
    watched("by hand", || {
        for round in 0..3000_u64 {
            dither(round);
            assert_eq!(block_on(unblock(move || round)), round);
            if round % 500 == 0 {
                // Longer than any thread spins for.
                thread::park_timeout(Duration::from_millis(2));
            }
        }
    });
}

/// Case 193. Callers are cancelled and dropped as they wait for a permit, or have one, and the calls of
/// those who have one are never more than there are permits.
#[test]
fn permits_hold_while_callers_are_cancelled() {
    const PERMITS: usize = 3;

    on_threads(|| async {
        for round in 0..40_u64 {
            let (by_semaphore, by_limiter) = (Calls::default(), Calls::default());
            let census = Census::default();
            let semaphore = Arc::new(Semaphore::new(PERMITS));
            let limiter = Limiter::new(PERMITS);
            group(async |g| {
                let mut draws = Draws::new(round);
                let tasks: Vec<_> = (0..20)
                    .map(|number| {
                        let is_even = number % 2 == 0;
                        let calls = if is_even { &by_semaphore } else { &by_limiter };
                        let call = brief(calls, &census, round + number);
                        let (semaphore, limiter) = (Arc::clone(&semaphore), limiter.clone());
                        g.spawn(async move {
                            if is_even {
                                let _permit = semaphore.acquire().await;
                                unblock(call).await;
                            } else {
                                let _permit = limiter.acquire().await;
                                unblock(call).await;
                            }
                            Ok(())
                        })
                    })
                    .collect();
                for _ in 0..10 {
                    tasks[draws.below(20) as usize].cancel();
                    for _ in 0..draws.below(5) {
                        yield_now().await;
                    }
                }
                Ok(())
            })
            .await
            .unwrap();
            for calls in [by_semaphore, by_limiter] {
                assert!(calls.most() <= PERMITS, "{} at a time", calls.most());
                assert_eq!(calls.begun(), calls.ended());
            }
            assert_eq!(census.alive(), 0);
            assert_eq!(semaphore.available(), PERMITS);
            assert_eq!((limiter.in_use(), limiter.waiting()), (0, 0));
        }
    });
}

/// Case 193. The same of the limit of a group.
#[test]
fn a_limit_holds_while_tasks_are_cancelled() {
    on_threads(|| async {
        for round in 0..60_u64 {
            let limit = 1 + (round % 4) as usize;
            let (calls, census) = (Calls::default(), Census::default());
            TaskGroup::builder()
                .limit(limit)
                .run(async |g| {
                    let mut draws = Draws::new(round);
                    let tasks: Vec<_> = (0..20)
                        .map(|number| {
                            let call = brief(&calls, &census, round + number);
                            g.spawn_blocking(move || Ok(call()))
                        })
                        .collect();
                    for _ in 0..10 {
                        tasks[draws.below(20) as usize].cancel();
                        for _ in 0..draws.below(5) {
                            yield_now().await;
                        }
                    }
                    Ok(())
                })
                .await
                .unwrap();
            assert!(calls.most() <= limit, "{} of {limit}", calls.most());
            assert_eq!((calls.begun(), census.alive()), (calls.ended(), 0));
        }
    });
}

/// Law 3. Calls panic as they are cancelled: each that has begun is told of once, and no other.
#[test]
fn panics_of_calls_that_are_cancelled_are_told_once() {
    keep_quiet_about_purpose();
    on_threads(|| async {
        for round in 0..100_u64 {
            let (calls, census) = (Calls::default(), Census::default());
            let ended = TaskGroup::builder().policy(Policy::Collect).run(async |g| {
                let tasks: Vec<_> = (0..8)
                    .map(|number| {
                        let call = brief(&calls, &census, round + number);
                        g.spawn_blocking(move || {
                            call();
                            if true {
                                panic!("on purpose: {number}");
                            }
                            Ok(())
                        })
                    })
                    .collect();
                for _ in 0..round % 8 {
                    yield_now().await;
                }
                for task in tasks.iter().step_by(2) {
                    task.cancel();
                }
                if round % 3 == 0 {
                    g.cancel();
                }
                Ok(())
            });
            let told = ended
                .await
                .map_or_else(|failed| leaves_of(&failed), |()| Vec::new());
            assert_eq!(told.len(), calls.begun());
            assert_eq!((calls.begun(), census.alive()), (calls.ended(), 0));
        }
    });
}

/// A wait is polled from one thread after the other while its call ends: the last waker is woken, if
/// the value has not come before.
#[test]
fn a_wait_moves_between_threads_as_its_call_ends() {
    watched("by hand", || {
        for round in 0..1000_u64 {
            let release = Latch::default();
            let released = release.clone();
            let mut call = Box::pin(unblock(move || {
                released.wait();
                round
            }));
            let (_, first) = CountWakes::new();
            let polled = call.as_mut().poll(&mut Context::from_waker(&first));
            assert!(polled.is_pending());
            let elsewhere = thread::spawn(move || block_on(call));
            dither(round);
            release.open();
            assert_eq!(elsewhere.join().unwrap(), round);
        }
    });
}

/// One of several ways for a call to be made and given up.
async fn one_of_many(draws: &mut Draws, calls: &Calls, census: &Census) {
    let round = draws.below(1000);
    let call = brief(calls, census, round);
    let turns = draws.below(4);
    let some_turns = async {
        for _ in 0..turns {
            yield_now().await;
        }
    };
    match draws.below(6) {
        0 => assert_eq!(unblock(call).await, round),
        1 => {
            let limit = Duration::from_micros(draws.below(60));
            if let Ok(value) = timeout(limit, unblock(call)).await {
                assert_eq!(value, round);
            }
        }
        2 => {
            let scope = CancelScope::new();
            let handle = scope.handle();
            let cancels = async {
                some_turns.await;
                handle.cancel();
            };
            drop(zip(scope.run(unblock(call)), cancels).await);
        }
        3 => {
            let waits = async {
                unblock(call).await;
            };
            or(waits, some_turns).await;
        }
        4 => {
            let value = shield(unblock(call)).await;
            assert_eq!(value, round);
            checkpoint().await;
        }
        _ => {
            let joined = group(async |g| {
                let task = g.spawn_blocking(move || Ok(call()));
                some_turns.await;
                if turns > 1 {
                    g.cancel();
                }
                Ok(task.await?)
            });
            if let Ok(value) = joined.await {
                assert_eq!(value, round);
            }
        }
    }
}

/// Calls in every way, from several threads and runs at once, given up at random: each has run to its
/// end once or has never begun, and no group was left while one ran.
#[test]
fn calls_from_everywhere_at_once_lose_and_double_nothing() {
    watched("from several threads", || {
        let total = Calls::default();
        thread::scope(|s| {
            for seed in 0..4_u64 {
                let total = total.clone();
                s.spawn(move || {
                    let mut draws = Draws::new(seed + 1);
                    for round in 0..60 {
                        let (calls, census) = (Calls::default(), Census::default());
                        let scenario = group(async |g| {
                            for _ in 0..8 {
                                let mut own = Draws::new(draws.below(u64::from(u32::MAX)));
                                let (calls, census) = (calls.clone(), census.clone());
                                g.spawn(async move {
                                    for _ in 0..3 {
                                        one_of_many(&mut own, &calls, &census).await;
                                    }
                                    Ok(())
                                });
                            }
                            one_of_many(&mut draws, &calls, &census).await;
                            if round % 4 == 3 {
                                g.cancel();
                            }
                            Ok(())
                        });
                        let joined = match round % 3 {
                            0 => run(scenario),
                            1 => Runtime::builder().threads(1).run(scenario),
                            _ => block_on(scenario),
                        };
                        if let Err(failed) = joined {
                            assert!(failed.is_empty(), "nothing failed: {failed:#}");
                        }
                        assert_eq!((calls.now(), census.alive()), (0, 0));
                        assert_eq!(calls.begun(), calls.ended());
                        assert!(calls.begun() <= census.entered());
                        for _ in 0..calls.begun() {
                            drop(total.begin());
                        }
                    }
                });
            }
        });
        assert!(total.begun() > 1000, "hardly a call has run");
    });
}

/// Two calls of one task, which wait for each other, while the task is cancelled: both run or neither
/// has to be waited for.
#[test]
fn calls_that_wait_for_each_other_as_they_are_cancelled_end() {
    on_threads(|| async {
        for round in 0..200_u64 {
            let begun = Gate::default();
            let scope = CancelScope::new();
            let handle = scope.handle();
            let calls = Calls::default();
            let call = || {
                let (calls, at) = (calls.clone(), begun.clone());
                let other = calls.clone();
                unblock(move || {
                    let _running = calls.begin();
                    at.open();
                    // The other one may never begin, once the scope is cancelled.
                    wait_until(|| other.begun() == 2 || is_cancelled());
                    Ok::<_, Error>(())
                })
            };
            let pair = scope.run(gather((call(), call())));
            let cancels = async {
                for _ in 0..round % 5 {
                    yield_now().await;
                }
                dither(round);
                handle.cancel();
            };
            drop(zip(pair, cancels).await);
            assert_eq!(calls.begun(), calls.ended());
        }
    });
}

// By seed.

/// The same ways, in fifty programs, under twenty schedules each: not one call runs after its group.
#[cfg(feature = "testing")]
#[test]
fn calls_lose_and_double_nothing_under_any_schedule() {
    let scenario = async |seed| {
        let mut draws = Draws::new(seed);
        let (calls, census) = (Calls::default(), Census::default());
        let joined = group(async |g| {
            for _ in 0..3 {
                let mut own = Draws::new(draws.below(u64::from(u32::MAX)));
                let (calls, census) = (calls.clone(), census.clone());
                g.spawn(async move {
                    for _ in 0..2 {
                        one_of_many(&mut own, &calls, &census).await;
                    }
                    Ok(())
                });
            }
            one_of_many(&mut draws, &calls, &census).await;
            common::let_others_run().await;
            if draws.below(3) == 0 {
                g.cancel();
            }
            Ok(())
        });
        if let Err(failed) = joined.await {
            assert!(failed.is_empty(), "nothing failed: {failed:#}");
        }
        assert_eq!((calls.now(), census.alive()), (0, 0));
        assert_eq!(calls.begun(), calls.ended());
    };
    for seed in 0..50 {
        Builder::new().explore_here(20, || scenario(seed));
    }
}

/// Waits by hand, in every order of polls and of the end of the call.
#[test]
fn every_poll_is_answered() {
    watched("by hand", || {
        for round in 0..2000_u64 {
            let mut call = pin!(unblock(move || {
                dither(round);
                round
            }));
            wait_until(|| {
                let (wakes, waker) = CountWakes::new();
                match call.as_mut().poll(&mut Context::from_waker(&waker)) {
                    Poll::Ready(value) => {
                        assert_eq!(value, round);
                        true
                    }
                    Poll::Pending => {
                        if round % 2 == 0 {
                            // Whoever was told to wait is woken.
                            wait_until(|| wakes.count() > 0);
                        }
                        false
                    }
                }
            });
        }
    });
}
