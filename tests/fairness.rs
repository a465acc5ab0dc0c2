//! Whoever keeps itself ready must not keep others from running.

mod common;

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use common::{everywhere, keep_quiet_about_purpose};
use futures_lite::future::{yield_now, zip};
use headcount::{Error, checkpoint, group};

/// More turns than anybody fair needs before a neighbour gets one.
const TURNS: usize = 1_000_000;

/// Yields until the flag is set, and fails if that takes too many turns.
async fn yields_until(set: impl Fn() -> bool) -> Result<(), Error> {
    for _ in 0..TURNS {
        if set() {
            return Ok(());
        }
        yield_now().await;
    }
    Err("its neighbour never had a turn".into())
}

/// A body that keeps itself ready lets what is beside its group run.
#[test]
fn a_body_that_yields_lets_the_neighbours_of_its_group_run() {
    everywhere(|| async {
        let flag = Cell::new(false);
        let busy = group(async |_g| yields_until(|| flag.get()).await);
        let (outcome, ()) = zip(busy, async { flag.set(true) }).await;
        outcome.unwrap();
    });
}

/// So does a borrowing task that keeps itself ready.
#[test]
fn a_borrowing_task_that_yields_lets_the_neighbours_of_its_group_run() {
    everywhere(|| async {
        let flag = AtomicBool::new(false);
        let busy = group(async |g| {
            g.spawn_local(yields_until(|| flag.load(Ordering::SeqCst)));
            Ok(())
        });
        let (outcome, ()) = zip(busy, async { flag.store(true, Ordering::SeqCst) }).await;
        outcome.unwrap();
    });
}

/// And a parallel one.
#[test]
fn a_parallel_task_that_yields_lets_the_neighbours_of_its_group_run() {
    everywhere(|| async {
        let flag = Arc::new(AtomicBool::new(false));
        let busy = group(async |g| {
            let flag = Arc::clone(&flag);
            g.spawn(yields_until(move || flag.load(Ordering::SeqCst)));
            Ok(())
        });
        let (outcome, ()) = zip(busy, async { flag.store(true, Ordering::SeqCst) }).await;
        outcome.unwrap();
    });
}

/// Inside a group: body, borrowing and parallel tasks all get their turns while the others yield.
#[test]
fn members_of_a_group_that_yield_let_each_other_run() {
    everywhere(|| async {
        let flags: Arc<[AtomicBool; 3]> = Arc::default();
        let all_set = |flags: &[AtomicBool; 3]| flags.iter().all(|f| f.load(Ordering::SeqCst));
        group(async |g| {
            let mine = Arc::clone(&flags);
            g.spawn(async move {
                mine[0].store(true, Ordering::SeqCst);
                yields_until(|| all_set(&mine)).await
            });
            g.spawn_local(async {
                flags[1].store(true, Ordering::SeqCst);
                yields_until(|| all_set(&flags)).await
            });
            flags[2].store(true, Ordering::SeqCst);
            yields_until(|| all_set(&flags)).await
        })
        .await
        .unwrap();
    });
}

/// A task that does nothing but take checkpoints is cancelled at one of them.
#[test]
fn a_loop_of_checkpoints_can_be_cancelled() {
    keep_quiet_about_purpose();
    everywhere(|| async {
        let failed = group(async |g| {
            g.spawn::<(), _>(async {
                loop {
                    checkpoint().await;
                }
            });
            g.spawn_local::<(), _>(async {
                loop {
                    checkpoint().await;
                }
            });
            g.spawn::<(), _>(async { panic!("on purpose") });
            Ok(())
        })
        .await
        .unwrap_err();
        assert_eq!(failed.len(), 1);
    });
}
