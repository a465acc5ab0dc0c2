//! A pipeline: pages are produced, fetched several at a time, and written in batches. The slow
//! writer sets the pace of everything before it.
//!
//! ```text
//! cargo run --example pipeline
//! ```
//!
//! prints for each batch how far the stages before the writer have got: never more than their
//! capacities ahead, however fast they could be.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{cell::Cell, pin::pin, time::Duration};

use futures_lite::{Stream, StreamExt};
use headcount::{ConcurrentStreamExt, Error, ErrorGroup, produce, run, sleep};

const PAGES: u32 = 60;
/// How many page numbers wait to be fetched.
const QUEUE: usize = 4;
/// How many pages are fetched at a time.
const FETCHES: usize = 8;
/// How many pages are written together.
const BATCH: usize = 10;

/// How many pages have passed each stage.
#[derive(Default)]
struct Passed {
    produced: Cell<u32>,
    fetched: Cell<u32>,
    written: Cell<u32>,
}

fn count(stage: &Cell<u32>) {
    stage.set(stage.get() + 1);
}

/// The numbers of the pages. Each is sent when there is a place for it.
fn numbers(passed: &Passed) -> impl Stream<Item = Result<u32, Error>> {
    produce(QUEUE, async |numbers| {
        for page in 1..=PAGES {
            numbers.send(page).await?;
            count(&passed.produced);
        }
        Ok(())
    })
}

async fn fetch(page: Result<u32, Error>, passed: &Passed) -> Result<String, Error> {
    let page = page?;
    sleep(Duration::from_millis(u64::from(page % 3))).await;
    count(&passed.fetched);
    Ok(format!("page {page}"))
}

fn main() -> Result<(), ErrorGroup> {
    let passed = Passed::default();
    run(async {
        let pages = numbers(&passed).map_concurrent(FETCHES, |page| fetch(page, &passed));
        let mut batches = pin!(pages.chunks_within(BATCH, Duration::from_secs(1)));
        let mut furthest = 0;
        while let Some(batch) = batches.next().await {
            let batch = batch.into_iter().collect::<Result<Vec<_>, _>>()?;
            sleep(Duration::from_millis(5)).await; // The writer is slow.
            assert_eq!(
                batch[0],
                format!("page {}", passed.written.get() + 1),
                "in order"
            );
            passed
                .written
                .set(passed.written.get() + u32::try_from(batch.len()).unwrap_or(0));
            let ahead = passed.produced.get() - passed.written.get();
            furthest = furthest.max(ahead);
            println!(
                "written {:2}, fetched {:2}, produced {:2}: {ahead} ahead",
                passed.written.get(),
                passed.fetched.get(),
                passed.produced.get(),
            );
        }
        assert_eq!(passed.written.get(), PAGES);
        assert!(
            furthest as usize <= QUEUE + FETCHES,
            "nobody runs away from the writer"
        );
        println!("at most {furthest} pages were ahead of the writer");
        Ok(())
    })
}
