//! Producers, a queue, a pool of workers, and an end in good order: what is queued is worked off,
//! nothing new is taken in, everybody goes home.
//!
//! ```text
//! cargo run --example worker_pool
//! ```
//!
//! prints who did how many jobs, and that each was done once. There is no list of threads to join
//! and no poison pill in the queue: when the last producer is done its end of the channel is gone,
//! and the workers find the channel closed once it is empty.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use headcount::{Error, ErrorGroup, channel, group, run, sleep};

const PRODUCERS: u32 = 2;
const WORKERS: usize = 3;
const JOBS: u32 = 20;

/// Queues its jobs. Waits while the queue is full, which is what keeps it from running away.
async fn produce(first: u32, queue: channel::Sender<u32>) -> Result<(), Error> {
    for job in first..first + JOBS {
        queue.send(job).await?;
    }
    Ok(())
}

/// Works until the queue is closed and empty.
async fn work(queue: channel::Receiver<u32>) -> Result<Vec<u32>, Error> {
    let mut done = Vec::new();
    while let Ok(job) = queue.recv().await {
        sleep(Duration::from_millis(u64::from(job % 3))).await;
        done.push(job);
    }
    Ok(done)
}

fn main() -> Result<(), ErrorGroup> {
    run(group(async |g| {
        let (into, out) = channel::bounded(4);
        let workers: Vec<_> = (0..WORKERS)
            .map(|n| g.spawn_named(format!("worker {n}"), work(out.clone())))
            .collect();
        for n in 0..PRODUCERS {
            g.spawn_named(format!("producer {n}"), produce(n * JOBS, into.clone()));
        }
        drop(into); // Only the producers can send now.

        let mut all = Vec::new();
        for worker in workers {
            let name = worker.name().map(str::to_owned).unwrap_or_default();
            let done = worker.await?;
            println!("{name} did {} jobs", done.len());
            all.extend(done);
        }
        all.sort_unstable();
        assert_eq!(all, (0..PRODUCERS * JOBS).collect::<Vec<_>>());
        println!("each of {} jobs was done once", all.len());
        Ok(())
    }))
}
