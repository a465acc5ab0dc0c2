//! Time limits: for one wait, for many together, nested, moved.
//!
//! Run it with `cargo run --example timeouts`. It prints a line for each way:
//!
//! ```text
//! quick: 7
//! slow: timed out after 5ms
//! ready at once: 7, though there was no time at all
//! three tries: timed out after 5ms, timed out after 5ms, 7
//! one deadline for both: 7, then timed out: the deadline passed
//! nested: the outer one of 5ms cut it, and the inner one never spoke
//! a whole group: timed out after 5ms, and its 10 tasks are gone
//! moved: 7, for it was given more time as it went
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    future,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use headcount::{CancelScope, group, now, run, sleep, time_left, timeout, timeout_at};

/// Long enough for what is ready soon, and short enough to be waited for.
const SHORT: Duration = Duration::from_millis(5);
const LONG: Duration = Duration::from_secs(3600);

/// Stands for a server that answers.
async fn quick() -> u32 {
    7
}

/// Stands for one that does not.
async fn slow() -> u32 {
    future::pending().await
}

fn main() {
    run(async {
        one_wait().await;
        retries().await;
        shared().await;
        nested().await;
        whole_group().await;
        moved().await;
    });
}

async fn one_wait() {
    let value = timeout(LONG, quick()).await.expect("it is quick");
    println!("quick: {value}");

    let late = timeout(SHORT, slow()).await.expect_err("it is slow");
    println!("slow: {late}");

    // A value that is there is not thrown away for a clock.
    let value = timeout(Duration::ZERO, quick()).await.expect("it is there");
    println!("ready at once: {value}, though there was no time at all");
}

/// A limit for each try goes inside the loop, one for all of them round it.
async fn retries() {
    let mut log = Vec::new();
    let all = timeout(LONG, async {
        for attempt in 1.. {
            let answer = async {
                if attempt < 3 {
                    slow().await
                } else {
                    quick().await
                }
            };
            match timeout(SHORT, answer).await {
                Ok(value) => {
                    log.push(value.to_string());
                    break;
                }
                Err(late) => log.push(late.to_string()),
            }
        }
    });
    all.await.expect("the third try is quick");
    println!("three tries: {}", log.join(", "));
    assert_eq!(log, ["timed out after 5ms", "timed out after 5ms", "7"]);
}

/// A point in time can be shared by many calls.
async fn shared() {
    let deadline = now() + SHORT;
    let first = timeout_at(deadline, quick()).await.expect("it is quick");
    let second = timeout_at(deadline, slow()).await.expect_err("it is slow");
    println!("one deadline for both: {first}, then {second}");
}

/// What was cut from further out does not look like a timeout further in.
async fn nested() {
    let mut inner_spoke = false;
    let outer = timeout(SHORT, async {
        assert!(time_left().expect("there is a deadline") <= SHORT);
        let inner = timeout(LONG, slow()).await;
        inner_spoke = true;
        inner
    });
    assert!(outer.await.is_err());
    assert!(!inner_spoke);
    println!("nested: the outer one of 5ms cut it, and the inner one never spoke");
}

/// A timeout round a group is reported when all its tasks are gone.
async fn whole_group() {
    static ALIVE: AtomicUsize = AtomicUsize::new(0);

    struct Alive;

    impl Drop for Alive {
        fn drop(&mut self) {
            ALIVE.fetch_sub(1, Ordering::SeqCst);
        }
    }

    let ten = group(async |g| {
        let spawn = |_| {
            ALIVE.fetch_add(1, Ordering::SeqCst);
            let alive = Alive;
            g.spawn(async move {
                let _alive = alive;
                Ok(slow().await)
            })
        };
        let mut sum = 0;
        for task in (0..10).map(spawn).collect::<Vec<_>>() {
            sum += task.await?;
        }
        Ok(sum)
    });
    let late = timeout(SHORT, ten).await.expect_err("all of them are slow");
    assert_eq!(ALIVE.load(Ordering::SeqCst), 0);
    println!("a whole group: {late}, and its 10 tasks are gone");
}

/// A scope's deadline can be moved while it runs, here for every sign of life.
async fn moved() {
    let scope = CancelScope::new().timeout(LONG);
    let handle = scope.handle();
    let download = scope.run(async {
        for _chunk in 0..3 {
            sleep(Duration::from_millis(1)).await; // Stands for the wait for a chunk.
            handle.set_deadline(now().checked_add(LONG));
        }
        quick().await
    });
    let value = download.await.expect("it showed signs of life");
    println!("moved: {value}, for it was given more time as it went");
}
