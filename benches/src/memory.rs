//! W9: how many allocations does a child at rest take, and how many bytes?
//!
//! Children with a future of 128 bytes that waits for ever are spawned and polled once; what is
//! allocated then, and was not before, is theirs. The bytes are those asked for, without what the
//! allocator adds.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::stream::{FuturesUnordered, StreamExt};
use headcount::group;
use tokio::task::JoinSet;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    hosts::{self, EXECUTOR, LocalJob, STATIC_EXECUTOR},
    question::{OURS, RAW},
    work::begun,
};

/// The system's allocator, with a count of what is allocated while somebody asks for it.
#[derive(Debug)]
pub struct Counting;

static COUNTS: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicI64 = AtomicI64::new(0);
static BYTES: AtomicI64 = AtomicI64::new(0);

fn count(allocations: i64, bytes: i64) {
    if COUNTS.load(Ordering::Relaxed) {
        ALLOCATIONS.fetch_add(allocations, Ordering::Relaxed);
        BYTES.fetch_add(bytes, Ordering::Relaxed);
    }
}

fn size(layout: Layout) -> i64 {
    layout.size().try_into().unwrap_or(i64::MAX)
}

// SAFETY: `GlobalAlloc` asks for an allocator that keeps its contract and does not unwind. All calls
// are passed on to the system's as they come; counting neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, size(layout));
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-1, -size(layout));
        // SAFETY: the pointer is from `alloc` or `realloc` of this, and so from the system's.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(
            0,
            i64::try_from(new_size).unwrap_or(i64::MAX) - size(layout),
        );
        // SAFETY: as for `dealloc`; the new size is the caller's.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

/// What a child of a peer takes.
#[derive(Clone, Debug)]
pub struct Footprint {
    /// Whose child.
    pub peer: &'static str,
    /// How many allocations.
    pub allocations: f64,
    /// How many bytes, its future of 128 included.
    pub bytes: f64,
}

/// How many children there are. A power of two, so that vectors that double hold no spare room.
const CHILDREN: usize = 65_536;

/// A future of 128 bytes that waits for ever.
struct Child {
    count: Option<Arc<AtomicUsize>>,
    _rest: [u64; 15],
}

impl Future for Child {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if let Some(count) = self.count.take() {
            count.fetch_add(1, Ordering::Release);
        }
        Poll::Pending
    }
}

/// The same, for those whose children return a result.
struct Fallible(Child);

impl Future for Fallible {
    type Output = Result<(), headcount::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(Ok)
    }
}

/// The children that begin to be measured when the first is made.
struct Children(Arc<AtomicUsize>);

impl Children {
    fn new() -> Self {
        assert_eq!(size_of::<Child>(), 128, "that is what the question says");
        let count = Arc::default();
        ALLOCATIONS.store(0, Ordering::Relaxed);
        BYTES.store(0, Ordering::Relaxed);
        COUNTS.store(true, Ordering::SeqCst);
        Self(count)
    }

    fn child(&self) -> Child {
        Child {
            count: Some(Arc::clone(&self.0)),
            _rest: [0; 15],
        }
    }

    /// Waits until all have been polled, and stops counting.
    async fn rest(&self) {
        begun(&self.0, CHILDREN).await;
        COUNTS.store(false, Ordering::SeqCst);
    }
}

/// Asks it.
pub fn measure() -> Vec<Footprint> {
    vec![
        of(OURS, || hosts::HEADCOUNT.ask(local(ours))),
        of("headcount, borrowing", || {
            hosts::HEADCOUNT.ask(local(borrowing))
        }),
        of(RAW, || hosts::RAW.ask(local(raw))),
        of("StaticExecutor", || {
            hosts::STATIC.ask(local(static_executor))
        }),
        of("tokio JoinSet", || {
            hosts::TOKIO.ask(Box::pin(timeless(join_set())))
        }),
        of("tokio TaskTracker+Token", || {
            hosts::TOKIO.ask(Box::pin(timeless(task_tracker())))
        }),
        of("FuturesUnordered", || hosts::PLAIN.ask(local(unordered))),
        of("moro", || hosts::PLAIN.ask(local(moro))),
    ]
}

fn of(peer: &'static str, run: impl Fn() -> Duration) -> Footprint {
    // The first time warms up what is kept.
    run();
    run();
    let per_child = |sum: &AtomicI64| sum.load(Ordering::SeqCst) as f64 / CHILDREN as f64;
    Footprint {
        peer,
        allocations: per_child(&ALLOCATIONS),
        bytes: per_child(&BYTES),
    }
}

fn local<Fut: Future<Output = ()> + 'static>(f: fn() -> Fut) -> LocalJob {
    Box::new(move || Box::pin(timeless(f())))
}

async fn timeless(future: impl Future<Output = ()>) -> Duration {
    future.await;
    Duration::ZERO
}

async fn ours() {
    let joined = group(async |g| {
        let children = Children::new();
        for _ in 0..CHILDREN {
            g.spawn(Fallible(children.child()));
        }
        children.rest().await;
        g.cancel();
        Ok(())
    });
    joined.await.expect("being cancelled is no failure");
}

async fn borrowing() {
    let joined = group(async |g| {
        let children = Children::new();
        for _ in 0..CHILDREN {
            g.spawn_local(Fallible(children.child()));
        }
        children.rest().await;
        g.cancel();
        Ok(())
    });
    joined.await.expect("being cancelled is no failure");
}

async fn raw() {
    let mut tasks = Vec::with_capacity(CHILDREN);
    let children = Children::new();
    tasks.extend((0..CHILDREN).map(|_| EXECUTOR.spawn(children.child())));
    children.rest().await;
    for task in tasks {
        task.cancel().await;
    }
}

async fn static_executor() {
    let mut tasks = Vec::with_capacity(CHILDREN);
    let children = Children::new();
    tasks.extend((0..CHILDREN).map(|_| STATIC_EXECUTOR.spawn(children.child())));
    children.rest().await;
    for task in tasks {
        task.cancel().await;
    }
}

async fn join_set() {
    let mut set = JoinSet::new();
    let children = Children::new();
    for _ in 0..CHILDREN {
        set.spawn(children.child());
    }
    children.rest().await;
    set.shutdown().await;
}

async fn task_tracker() {
    let (tracker, token) = (TaskTracker::new(), CancellationToken::new());
    let children = Children::new();
    for _ in 0..CHILDREN {
        let (token, child) = (token.child_token(), children.child());
        tracker.spawn(async move {
            token.run_until_cancelled(child).await;
        });
    }
    children.rest().await;
    token.cancel();
    tracker.close();
    tracker.wait().await;
}

async fn unordered() {
    let children = Children::new();
    let mut set: FuturesUnordered<_> = (0..CHILDREN).map(|_| children.child()).collect();
    while children.0.load(Ordering::Acquire) < CHILDREN {
        futures_lite::future::poll_once(set.next()).await;
    }
    children.rest().await;
}

async fn moro() {
    let scope = moro::scope_fn(|scope: &moro::Scope<'_, '_, ()>| {
        Box::pin(async move {
            let children = Children::new();
            for _ in 0..CHILDREN {
                let _detached = scope.spawn(children.child());
            }
            children.rest().await;
            scope.terminate(()).await
        })
    });
    scope.await;
}
