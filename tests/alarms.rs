//! However many timers are set, by whomever: each wakes once, in time, in order. And one that is not
//! needed any more is nobody's burden.

mod common;

use std::{
    future::{Future, pending},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use common::{CountWakes, Log, everywhere, keep_quiet_about_purpose, poll_once, watched};
use futures_lite::future::{block_on, yield_now};
use headcount::{
    CancelScope, Error, Runtime, Sleep, deadline, group, now, sleep, sleep_until, time_left,
    timeout, timeout_at,
};

const HOUR: Duration = Duration::from_secs(3600);
const MOMENT: Duration = Duration::from_millis(1);

/// A waker that does something.
struct Does<F>(F);

impl<F: Fn() + Send + Sync + 'static> Wake for Does<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

fn waker(does: impl Fn() + Send + Sync + 'static) -> Waker {
    Waker::from(Arc::new(Does(does)))
}

/// A sleep that has been polled with this waker, and is not over.
fn set(until: Instant, waker: &Waker) -> Pin<Box<Sleep>> {
    let mut sleep = Box::pin(sleep_until(until));
    assert!(
        sleep
            .as_mut()
            .poll(&mut Context::from_waker(waker))
            .is_pending()
    );
    sleep
}

/// Waits for something that another thread does.
fn wait_until(what: &'static str, done: impl Fn() -> bool) {
    watched(what, || {
        while !done() {
            thread::yield_now();
        }
    });
}

/// Sets alarms at these distances from some time that is yet to come, and returns in which order they
/// came.
fn order_of(distances: &[Duration]) -> Vec<String> {
    let mut lead = 20 * MOMENT;
    loop {
        let log = Log::default();
        let start = now() + lead;
        let alarms: Vec<_> = (0_usize..)
            .zip(distances)
            .map(|(index, &distance)| {
                let log = log.clone();
                set(start + distance, &waker(move || log.say(index.to_string())))
            })
            .collect();
        // Else some have come before others were set.
        let was_in_time = now() < start;
        if was_in_time {
            wait_until("for all to come", || log.entries().len() == distances.len());
            drop(alarms);
            return log.entries();
        }
        lead *= 2;
    }
}

/// Alarms come in the order of their times, in whatever order they were set.
#[test]
fn alarms_come_in_the_order_of_their_times() {
    let mut index = 0_u64;
    let distances: Vec<_> = (0..500)
        .map(|_| {
            index = (index + 197) % 500;
            Duration::from_micros(index * 40)
        })
        .collect();
    let mut expected: Vec<_> = distances.iter().zip(0_usize..).collect();
    expected.sort_unstable();
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(_, index)| index.to_string())
        .collect();
    assert_eq!(order_of(&distances), expected);
}

/// Alarms that are set to the same time come in the order in which they were set.
#[test]
fn alarms_for_the_same_time_come_in_the_order_of_setting() {
    let expected: Vec<_> = (0..100).map(|index: usize| index.to_string()).collect();
    assert_eq!(order_of(&[MOMENT; 100]), expected);
}

/// An alarm does not wait for those that were set before and come later.
#[test]
fn an_alarm_earlier_than_all_others_comes_first() {
    let (far_wakes, far) = CountWakes::new();
    let _alarms: Vec<_> = (1..50).map(|i| set(now() + i * HOUR, &far)).collect();
    // As far as a time can be told.
    let _century = set(now() + 24 * 365 * 100 * HOUR, &far);
    let mut ends = Vec::new();
    for i in (1..20).rev() {
        let (wakes, near) = CountWakes::new();
        ends.push((set(now() + i * MOMENT, &near), wakes));
    }
    wait_until("for the near ones", || {
        ends.iter().all(|(_, wakes)| wakes.count() == 1)
    });
    assert_eq!(far_wakes.count(), 0);
    for (mut sleep, _) in ends {
        assert!(poll_once(sleep.as_mut()).is_ready());
    }
}

/// Dropping the alarm that would have come first takes nothing from the others.
#[test]
fn alarms_come_though_the_first_was_dropped() {
    let ((dropped, first), (wakes, second)) = (CountWakes::new(), CountWakes::new());
    for _ in 0..10 {
        let before = wakes.count();
        let earlier = set(now() + 10 * MOMENT, &first);
        let _later = set(now() + 20 * MOMENT, &second);
        drop(earlier);
        wait_until("for the later one", || wakes.count() > before);
    }
    assert_eq!((dropped.count(), wakes.count()), (0, 10));
}

/// A deadline that is moved while its alarm is set: the old time means nothing any more.
#[test]
fn moved_deadlines_count_and_old_ones_do_not() {
    for i in 1..20 {
        let soon = i * 2 * MOMENT;
        let (wakes, waker) = CountWakes::new();
        let cx = &mut Context::from_waker(&waker);

        // Later. If the old time has come meanwhile, nothing was moved in time.
        let at = now() + soon;
        let scope = CancelScope::new().deadline(at);
        let handle = scope.handle();
        let mut relaxed = pin!(scope.run(pending::<()>()));
        assert!(relaxed.as_mut().poll(cx).is_pending());
        handle.set_deadline(Some(now() + HOUR));
        let polled = relaxed.as_mut().poll(cx);
        let was_in_time = polled.is_pending() && now() < at;

        // Earlier.
        let scope = CancelScope::new().timeout(HOUR);
        let handle = scope.handle();
        let mut hurried = pin!(scope.run(pending::<()>()));
        assert!(poll_once(hurried.as_mut()).is_pending());
        handle.set_deadline(Some(at));
        let before = wakes.count();
        let late = watched("for the earlier deadline", || block_on(hurried));
        assert!(late.unwrap_err().is_deadline());
        assert!(now() >= at);

        if was_in_time {
            block_on(sleep(2 * MOMENT));
            assert_eq!(wakes.count(), before);
            assert!(poll_once(relaxed.as_mut()).is_pending());
        }
    }
}

/// A waker that panics keeps nobody else from being woken, now or later.
#[test]
fn a_panicking_waker_keeps_no_other_from_being_woken() {
    keep_quiet_about_purpose();
    let (wakes, good) = CountWakes::new();
    let bad = waker(|| panic!("on purpose"));
    let at = now() + 10 * MOMENT;
    let alarms: Vec<_> = (0..100)
        .map(|i| {
            // Some together, some later.
            let at = at + u32::from(i >= 50) * 5 * MOMENT;
            set(at, if i % 3 == 0 { &bad } else { &good })
        })
        .collect();
    wait_until("for the good ones", || wakes.count() == 66);
    drop(alarms);
    block_on(sleep(MOMENT));
}

/// What wakers do while they are woken, they do with no lock held: set alarms, drop some, poll some.
#[test]
fn wakers_may_set_and_drop_alarms() {
    for _ in 0..20 {
        let (wakes, count) = CountWakes::new();
        let (dropped_wakes, never) = CountWakes::new();
        let later = Arc::new(Mutex::new(Some(set(now() + HOUR, &never))));
        let sooner = Arc::new(Mutex::new(None));
        let busy = waker({
            let (later, sooner) = (Arc::clone(&later), Arc::clone(&sooner));
            move || {
                drop(later.lock().unwrap().take());
                let mut again = Box::pin(sleep(MOMENT));
                let polled = again.as_mut().poll(&mut Context::from_waker(&count));
                assert!(polled.is_pending());
                *sooner.lock().unwrap() = Some(again);
            }
        });
        let _alarm = set(now() + MOMENT, &busy);
        wait_until("for the one that was set by a waker", || wakes.count() == 1);
        assert!(later.lock().unwrap().is_none());
        assert_eq!(dropped_wakes.count(), 0);
    }
}

/// The last owner of an alarm may be the waker of another one, or its own.
#[test]
fn an_alarm_may_be_dropped_with_a_waker() {
    struct Holds(Mutex<Option<Pin<Box<Sleep>>>>, Arc<AtomicBool>);

    impl Wake for Holds {
        fn wake(self: Arc<Self>) {
            self.1.store(true, Ordering::SeqCst);
        }
    }

    let woken = Arc::new(AtomicBool::new(false));
    let holds = Arc::new(Holds(Mutex::default(), Arc::clone(&woken)));
    // Holds the alarm that holds it.
    let alarm = set(now() + 5 * MOMENT, &Waker::from(Arc::clone(&holds)));
    *holds.0.lock().unwrap() = Some(alarm);
    drop(holds);
    wait_until("for the waker", || woken.load(Ordering::SeqCst));
    block_on(sleep(MOMENT));
}

/// Timers work wherever they are polled: under executors that know nothing of us or of a reactor.
#[test]
fn alarms_come_under_any_executor() {
    async fn scenario() {
        let start = Instant::now();
        sleep(3 * MOMENT).await;
        assert!(start.elapsed() >= 3 * MOMENT);
        assert!(timeout(MOMENT, pending::<()>()).await.is_err());
        assert!(timeout(MOMENT, sleep(HOUR)).await.is_err());
        assert!(timeout(HOUR, sleep(MOMENT)).await.is_ok());
    }

    for _ in 0..5 {
        watched("without an executor", || block_on(scenario()));
        watched("under smol", || smol::block_on(smol::spawn(scenario())));
        watched("under futures", || {
            futures::executor::block_on(scenario());
        });
        watched("under tokio", || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .build()
                .unwrap();
            runtime.block_on(async { tokio::spawn(scenario()).await.unwrap() });
        });
    }
}

/// Alarms come on time though every thread that could see to them is busy.
#[test]
fn alarms_come_while_all_our_threads_compute() {
    let rung = Arc::new(AtomicBool::new(false));
    let compute = |rung: Arc<AtomicBool>| {
        move || {
            while !rung.load(Ordering::SeqCst) {
                thread::yield_now();
            }
        }
    };
    let ring = {
        let rung = Arc::clone(&rung);
        waker(move || rung.store(true, Ordering::SeqCst))
    };
    watched("while all compute", || {
        let (on_main, on_worker) = (compute(Arc::clone(&rung)), compute(rung));
        Runtime::builder().threads(1).run(async {
            let _alarm = set(now() + 10 * MOMENT, &ring);
            let joined = group(async |g| {
                g.spawn(async move {
                    on_worker();
                    Ok(())
                });
                on_main();
                Ok(())
            });
            joined.await.unwrap();
        });
    });
}

/// Many threads set, drop, move and await alarms, each in the other's way.
#[test]
fn many_threads_share_the_alarms() {
    const THREADS: u64 = 12;
    const EACH: u64 = 300;

    fn work(mut random: u64) {
        let mut kept = Vec::new();
        for _ in 0..EACH {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let near = Duration::from_micros(random % 3_000);
            match random % 5 {
                0 => kept.push(set(now() + HOUR + near, Waker::noop())),
                1 => drop(kept.pop()),
                2 => assert!(block_on(timeout(near, pending::<()>())).is_err()),
                3 => assert!(block_on(timeout(HOUR, yield_now())).is_ok()),
                _ => {
                    let until = now() + near;
                    block_on(sleep_until(until));
                    assert!(now() >= until);
                }
            }
        }
        // Dropped on another thread than the one that set them.
        thread::spawn(move || drop(kept)).join().unwrap();
    }

    watched("on many threads", || {
        let threads: Vec<_> = (1..=THREADS)
            .map(|seed| thread::spawn(move || work(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed))))
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

/// A task with an alarm goes from thread to thread, and so does its waker.
#[test]
fn an_alarm_goes_where_its_task_goes() {
    let mut sleep = Box::pin(sleep(10 * MOMENT));
    for _ in 0..10 {
        let (wakes, waker) = CountWakes::new();
        sleep = thread::spawn(move || {
            let _: Poll<()> = sleep.as_mut().poll(&mut Context::from_waker(&waker));
            sleep
        })
        .join()
        .unwrap();
        if wakes.count() > 0 {
            break;
        }
    }
    watched("for its end", || block_on(sleep));
}

/// The time of a timeout counts from its first poll, also what it computes before its first wait.
#[test]
fn a_timeout_counts_what_it_computes_before_its_first_wait() {
    let start = now();
    let late = block_on(timeout(10 * MOMENT, async {
        while now() - start < 20 * MOMENT {
            thread::yield_now();
        }
        yield_now().await;
    }));
    assert!(late.is_err());

    // Both are over when it first waits: the outer one takes all.
    let mut went_on = false;
    let outer = block_on(timeout(10 * MOMENT, async {
        let inner = timeout(5 * MOMENT, async {
            let start = now();
            while now() - start < 20 * MOMENT {
                thread::yield_now();
            }
            yield_now().await;
        });
        inner.await.ok();
        went_on = true;
    }));
    assert!(outer.is_err() && !went_on);
}

/// The deadline that code inside is told does not change.
#[test]
fn the_deadline_of_a_timeout_is_the_same_for_all_inside() {
    everywhere(|| async {
        let before = now();
        timeout(HOUR, async {
            let asked = deadline().unwrap();
            assert!(asked >= before + HOUR && asked <= now() + HOUR);
            assert!(time_left().unwrap() <= HOUR);
            yield_now().await;
            assert_eq!(deadline(), Some(asked));
            // From a task below, too.
            let below = group(async |g| Ok(g.spawn(async { Ok(deadline()) }).await?));
            assert_eq!(below.await.unwrap(), Some(asked));
        })
        .await
        .unwrap();
    });
}

/// Of two limits of the same length, one right inside the other, the outer one is what ends it.
#[test]
fn of_equal_timeouts_the_outer_one_counts() {
    everywhere(|| async {
        for limit in [Duration::ZERO, MOMENT] {
            let outcome = timeout(limit, timeout(limit, pending::<()>())).await;
            assert!(outcome.is_err());
            // Also with something between that has to know.
            let within = timeout(
                limit,
                group(async |_g| pending::<Result<(), Error>>().await),
            );
            assert!(timeout(limit, within).await.is_err());
        }
    });
}

/// A time that has passed leaves none, and cuts the first wait.
#[test]
fn a_time_that_has_passed_cuts_the_first_wait() {
    everywhere(|| async {
        let passed = now();
        let outcome = timeout_at(passed, async {
            let left = time_left();
            yield_now().await;
            left
        });
        assert!(outcome.await.is_err());
        let mut ready = pin!(timeout(Duration::ZERO, async { time_left() }));
        let Poll::Ready(left) = poll_once(ready.as_mut()) else {
            panic!("it is ready at once");
        };
        assert_eq!(left, Ok(Some(Duration::ZERO)));
    });
}
