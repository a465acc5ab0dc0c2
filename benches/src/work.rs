//! What the children do.

use std::{
    future::{Future, poll_fn},
    hint::black_box,
    pin::Pin,
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

/// Lets others run, once.
pub fn yield_once() -> YieldOnce {
    YieldOnce(false)
}

/// The future returned by [`yield_once`]: the same one for all peers.
#[derive(Debug)]
pub struct YieldOnce(bool);

impl Future for YieldOnce {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0 {
            return Poll::Ready(());
        }
        self.0 = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Waits until so many children have begun.
pub async fn begun(count: &AtomicUsize, n: usize) {
    poll_fn(|cx| {
        if count.load(Ordering::Acquire) >= n {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// How often [`turn`] goes round in a microsecond.
static TURNS: LazyLock<u64> = LazyLock::new(|| {
    let best = (0..200).map(|_| {
        let start = Instant::now();
        turn(20_000);
        start.elapsed()
    });
    let best = best.min().expect("there are many");
    (20_000 * 1_000 / best.as_nanos())
        .try_into()
        .expect("a thousand or so")
});

fn turn(times: u64) {
    let mut x = black_box(1_u64);
    for _ in 0..times {
        x = x.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
    }
    black_box(x);
}

/// Computes for about this long: always the same work, whatever else the machine does.
pub fn compute(time: Duration) {
    let micros = u64::try_from(time.as_micros()).expect("not for years");
    turn(micros * *TURNS);
}
