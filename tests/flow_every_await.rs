//! Results, streams and selects, cancelled at every point where a program waits: every finalizer is
//! run, every value dropped, and nobody is left waiting.
#![cfg(feature = "testing")]

use std::{pin::pin, time::Duration};

use futures_lite::{StreamExt, stream};
use headcount::{
    ConcurrentStreamExt, Error, OneOf2, TaskGroup, as_completed, checkpoint, finally, first_ok,
    gather, gather_all, gather_settled, group, local, policies, produce, quorum, race, race_all,
    race_with, select, shield, sleep, staggered,
    testing::{self, Tracked},
};

/// A piece of work with everything in it: a step that is shielded, cleanup that waits, a value.
async fn work(turns: usize) -> Result<usize, Error> {
    let value = Tracked::new(turns);
    for _ in 0..turns {
        checkpoint().await;
    }
    shield(checkpoint()).await;
    finally(checkpoint(), checkpoint()).await;
    Ok(value.into_inner())
}

async fn fails(turns: usize) -> Result<usize, Error> {
    work(turns).await?;
    Err("no route".into())
}

#[test]
fn gathers_clean_up_wherever_they_are_cancelled() {
    testing::cancel_everywhere(|| async {
        assert_eq!(gather((work(0), work(2))).await.unwrap(), (0, 2));
        assert!(gather((work(3), fails(0))).await.is_err());
        assert_eq!(gather_all([1, 0].map(work)).await.unwrap(), [1, 0]);
        assert_eq!(gather_settled([fails(1)]).await.len(), 1);
    });
}

#[test]
fn races_clean_up_wherever_they_are_cancelled() {
    testing::cancel_everywhere(|| async {
        race((work(0), work(3))).await.into_output().unwrap();
        race_with((work(1), work(1)), |a, b| a.is_some() || b.is_some()).await;
        race_all([2, 0].map(work)).await.unwrap().1.unwrap();
    });
}

#[test]
fn quorums_and_staggered_starts_clean_up_wherever_they_are_cancelled() {
    testing::cancel_everywhere(|| async {
        first_ok([2, 0].map(work)).await.unwrap();
        quorum(2, [2, 0, 1].map(work)).await.unwrap();
        let ports = [4, 0].map(work);
        staggered(Duration::from_secs(1), ports).await.unwrap();
    });
}

#[test]
fn outputs_as_they_come_clean_up_wherever_they_are_cancelled() {
    testing::cancel_everywhere(|| async {
        let mut outputs = as_completed([2, 0, 5].map(work));
        outputs.next().await;
        outputs.next().await;
        outputs.cancel().await;
    });
}

#[test]
fn streams_clean_up_wherever_they_are_cancelled() {
    testing::cancel_everywhere(|| async {
        let items = stream::iter([2, 0, 1]);
        items
            .for_each_concurrent(2, async |n| work(n).await.map(drop))
            .await
            .unwrap();
        assert_eq!(
            stream::iter([1, 0]).map_concurrent(2, work).count().await,
            2
        );
        assert_eq!(stream::iter([1, 0]).map_unordered(2, work).count().await, 2);
        let failed = stream::iter([4, 0]).map_unordered(2, fails);
        assert_eq!(failed.count().await, 1);
    });
}

#[test]
fn produced_streams_clean_up_wherever_they_are_cancelled() {
    testing::cancel_everywhere(|| async {
        let numbers = produce(1, async |tx| {
            for n in 0..3 {
                work(n).await?;
                tx.send(Tracked::new(n)).await?;
            }
            Ok::<_, Error>(())
        });
        assert_eq!(numbers.count().await, 3);
    });
}

#[test]
fn parallel_maps_clean_up_wherever_they_are_cancelled() {
    testing::cancel_everywhere(|| async {
        let count = group(async |g| {
            let mapped = stream::iter([2, 0, 1]).map_parallel(2, g.spawner(), work);
            Ok(mapped.count().await)
        });
        assert_eq!(count.await.unwrap(), 3);
    });
}

#[test]
fn policies_clean_up_wherever_they_are_cancelled() {
    testing::cancel_everywhere(|| async {
        let first = TaskGroup::builder()
            .join(policies::first_ok())
            .run(async |g| {
                g.spawn(work(2));
                g.spawn_local(work(0));
                Ok(())
            });
        first.await.unwrap();
        let partial = TaskGroup::builder()
            .join(policies::partial())
            .timeout(Duration::from_secs(1))
            .run(async |g| {
                g.spawn(work(0));
                g.spawn(async {
                    sleep(Duration::from_secs(2)).await;
                    work(0).await
                });
                Ok(())
            });
        assert_eq!(partial.await.unwrap().values.len(), 1);
    });
}

#[test]
fn selects_lose_nothing_wherever_they_are_cancelled() {
    testing::cancel_everywhere(|| async {
        let mut job = pin!(work(3));
        let done = loop {
            match select((job.as_mut(), sleep(Duration::from_millis(1)))).await {
                OneOf2::First(done) => break done,
                OneOf2::Second(()) => {}
            }
        };
        assert_eq!(done.unwrap(), 3);
    });
}

#[test]
fn bindings_hold_wherever_they_are_cancelled() {
    local! {
        static NUMBER: usize;
    }
    testing::cancel_everywhere(|| {
        NUMBER.bind(7, async {
            let seen = group(async |g| {
                let task = g.spawn(async {
                    finally(checkpoint(), async { assert_eq!(NUMBER.get(), Some(7)) }).await;
                    Ok(NUMBER.get())
                });
                Ok(task.await?)
            });
            assert_eq!(seen.await.unwrap(), Some(7));
        })
    });
}
