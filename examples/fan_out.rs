//! Three ways to ask many at once: all or nothing, every outcome, each as it comes.
//!
//! ```text
//! cargo run --example fan_out
//! ```
//!
//! asks four shops for a price, one of which is closed, and shows what `gather_all`,
//! `gather_settled` and `as_completed` make of the same four questions.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{cell::Cell, time::Duration};

use futures_lite::StreamExt;
use headcount::{Error, as_completed, finally, gather_all, gather_settled, run, sleep};

/// How long each shop thinks, and what it says then.
const SHOPS: [(u64, Result<u32, &str>); 4] = [
    (30, Ok(12)),
    (10, Err("closed today")),
    (20, Ok(9)),
    (5, Ok(11)),
];

/// How many conversations are open.
#[derive(Default)]
struct Open(Cell<usize>);

impl Open {
    async fn ask(&self, shop: usize) -> Result<u32, &'static str> {
        let (millis, answer) = SHOPS[shop];
        self.0.set(self.0.get() + 1);
        let conversation = async {
            sleep(Duration::from_millis(millis)).await;
            answer
        };
        // Says goodbye in any case, and may take its time over it.
        finally(conversation, async {
            sleep(Duration::from_millis(1)).await;
            self.0.set(self.0.get() - 1);
        })
        .await
    }
}

fn main() {
    run(async {
        // They all run on this task, and borrow what is on its stack.
        let open = Open::default();
        let ask_all = || (0..SHOPS.len()).map(|shop| open.ask(shop));

        // All or nothing: one failure cancels the rest, and they are gone before it comes out.
        let failed = gather_all(ask_all()).await.expect_err("one is closed");
        assert_eq!(
            failed.first().and_then(|failure| failure.task().index()),
            Some(1)
        );
        println!("gather_all: {:#}", failed.map_errors(Error::from));
        assert_eq!(open.0.get(), 0);

        // Every outcome, in the order of the questions.
        let outcomes = gather_settled(ask_all()).await;
        println!("gather_settled: {outcomes:?}");
        assert_eq!(outcomes, SHOPS.map(|(_, answer)| answer));

        // Each as it comes. The first that is cheap enough will do; the rest is cancelled.
        let mut prices = as_completed(ask_all());
        while let Some((shop, answer)) = prices.next().await {
            println!("as_completed: shop {shop} says {answer:?}");
            if answer.is_ok_and(|price| price < 10) {
                break;
            }
        }
        println!("as_completed: {} left to cancel", prices.len());
        assert_eq!(prices.len(), 1);
        prices.cancel().await;
        assert_eq!(open.0.get(), 0);
    });
}
