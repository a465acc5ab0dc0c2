//! Hedged requests: ask one replica, and a second one if the first is slow. The first answer wins,
//! and the loser is gone before it is used.
//!
//! ```text
//! cargo run --example hedged_requests
//! ```
//!
//! prints which replica answered each of four requests, and how long that took: a slow replica
//! costs the hedging delay, not its own slowness.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{ops::ControlFlow, time::Duration};

use headcount::{
    ChildEnd, Closing, Error, ErrorGroup, Failure, JoinPolicy, TaskGroup, now, run, sleep,
};

/// How long a replica may take before the next one is asked as well.
const HEDGE: Duration = Duration::from_millis(20);

/// The first answer, and which attempt it was; if there is none, all that failed.
#[derive(Default)]
struct Hedge<T> {
    answer: Option<(usize, T)>,
    failures: Vec<Failure>,
}

impl<T> JoinPolicy<T> for Hedge<T> {
    type Output = (usize, T);

    fn child_ended(&mut self, attempt: usize, end: ChildEnd<T>) -> ControlFlow<()> {
        match end {
            ChildEnd::Value(answer) if self.answer.is_none() => {
                self.answer = Some((attempt, answer))
            }
            ChildEnd::Failed(failure) => self.failures.push(failure),
            ChildEnd::Value(_) | ChildEnd::Cancelled => {}
        }
        self.answer
            .as_ref()
            .map_or(ControlFlow::Continue(()), |_| ControlFlow::Break(()))
    }

    fn joined(self, closing: &mut Closing) -> Result<(usize, T), ErrorGroup> {
        self.answer.ok_or_else(|| closing.fail(self.failures))
    }
}

/// Asks the replicas, one `HEDGE` after the other.
async fn ask(replicas: &'static [Replica], key: u32) -> Result<(usize, u32), ErrorGroup> {
    let hedged = TaskGroup::builder().name("hedged").join(Hedge::default());
    let hedged = hedged.run(async |g| {
        for replica in replicas {
            g.spawn_named(replica.name, replica.get(key));
            sleep(HEDGE).await;
        }
        Ok(())
    });
    hedged.await
}

/// Stands for a server.
struct Replica {
    name: &'static str,
    takes: Duration,
    is_up: bool,
}

impl Replica {
    async fn get(&self, key: u32) -> Result<u32, Error> {
        sleep(self.takes).await;
        if self.is_up {
            Ok(key * key)
        } else {
            Err(format!("{} is down", self.name).into())
        }
    }
}

const fn replica(name: &'static str, millis: u64, is_up: bool) -> Replica {
    Replica {
        name,
        takes: Duration::from_millis(millis),
        is_up,
    }
}

static ALL_WELL: [Replica; 2] = [replica("near", 1, true), replica("far", 5, true)];
static ONE_SLOW: [Replica; 2] = [replica("near", 60_000, true), replica("far", 5, true)];
static ONE_DOWN: [Replica; 2] = [replica("near", 1, false), replica("far", 5, true)];
static ALL_DOWN: [Replica; 2] = [replica("near", 1, false), replica("far", 1, false)];

fn main() -> Result<(), ErrorGroup> {
    run(async {
        let start = now();
        assert_eq!(ask(&ALL_WELL, 3).await?, (0, 9));
        println!(
            "all well: the near one answers, after {:?}",
            start.elapsed()
        );

        let start = now();
        assert_eq!(ask(&ONE_SLOW, 4).await?, (1, 16));
        println!("one slow: the far one answers, after {:?}", start.elapsed());
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "nobody waits for the slow one"
        );

        assert_eq!(ask(&ONE_DOWN, 5).await?, (1, 25));
        println!("one down: the far one answers");

        let failed = ask(&ALL_DOWN, 6).await.expect_err("all are down");
        assert_eq!(failed.len(), 2);
        println!("all down: {failed}");
        Ok(())
    })
}
