//! A tree of groups in which several things fail, and what is reported.
//!
//! Run it with `cargo run --example errors`. It prints the error in one line, then as the tree that
//! it is: which group, which task, where it was spawned, what failed, and why. Then it sorts the
//! failures by their type.
//!
//! The panic is also announced on standard error, by Rust's own panic hook, when it happens.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{error::Error as StdError, fmt, io};

use headcount::{ErrorGroup, Policy, TaskGroup, run};

/// A stock price that could not be had.
#[derive(Debug)]
struct NoPrice {
    share: &'static str,
    source: io::Error,
}

impl fmt::Display for NoPrice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no price for {}", self.share)
    }
}

impl StdError for NoPrice {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.source)
    }
}

async fn price(share: &'static str) -> Result<u32, NoPrice> {
    let source = io::Error::from(io::ErrorKind::ConnectionRefused);
    Err(NoPrice { share, source })
}

/// Fetches all prices, whatever becomes of each of them.
async fn prices() -> Result<(), ErrorGroup> {
    TaskGroup::builder()
        .name("prices")
        .policy(Policy::Collect)
        .run(async |g| {
            for share in ["acme", "initech"] {
                g.spawn_named(share, async move { Ok(price(share).await?) });
            }
            Ok(())
        })
        .await
}

async fn report() -> Result<(), ErrorGroup> {
    TaskGroup::builder()
        .name("report")
        .policy(Policy::Collect)
        .run(async |g| {
            g.spawn_named("figures", async { Ok(prices().await?) });
            g.spawn_named("chart", async {
                let points: Vec<u32> = Vec::new();
                Ok(points[0])
            });
            g.spawn(async { Err::<(), _>("the printer is out of paper".into()) });
            Ok(())
        })
        .await
}

fn main() {
    let failed = run(report()).expect_err("everything fails here");

    println!("In one line:\n{failed}\n");
    println!("In full:\n{failed:#}\n");

    // Three tasks of the outer group failed, one of them with a group of two.
    assert_eq!(failed.len(), 3);
    assert_eq!(failed.leaves().count(), 4);
    assert!(failed.find::<NoPrice>().is_some());

    let (prices, others) = failed.partition::<NoPrice>();
    let prices = prices.expect("two prices are missing");
    println!("Without a price:");
    for failure in prices.leaves() {
        let share = failure.task().name().unwrap_or("a share");
        println!("- {share}, asked for at {}", failure.task().location());
    }
    assert_eq!(prices.leaves().count(), 2);
    assert_eq!(others.map(|others| others.len()), Some(2));
}
