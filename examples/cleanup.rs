//! Cleaning up after a cancellation, innermost first: `bracket`, `finally`, `defer`.
//!
//! A task writes to a database connection when it is cancelled. Run it with
//! `cargo run --example cleanup`. It prints
//!
//! ```text
//! connected
//! began a transaction
//! stop!
//! rolled back                     bracket, round the transaction
//! gave up closing politely        a timeout inside of a cleanup works
//! closed the connection           finally, round the bracket
//! said goodbye                    defer, at the end of the group
//! went on                         the code after the scope
//! ```
//!
//! Each cleanup may wait: it is shielded from the cancellation that it cleans up after.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    future,
    sync::{Arc, Mutex},
    time::Duration,
};

use headcount::{CancelScope, Error, Ready, bracket, checkpoint, finally, group, run, timeout};

/// What happened, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<&'static str>>>);

impl Log {
    fn say(&self, line: &'static str) {
        println!("{line}");
        self.0.lock().expect("nobody panics").push(line);
    }
}

struct Transaction;

impl Transaction {
    async fn roll_back(self) {
        checkpoint().await; // Stands for a round trip to the server.
    }
}

/// Works with the connection until it is cancelled.
async fn work(log: Log, ready: Ready<()>) -> Result<(), Error> {
    log.say("connected");
    let work = async {
        log.say("began a transaction");
        let using = async |_transaction: &mut Transaction| {
            ready.send(());
            future::pending().await // Stands for a query that takes long.
        };
        let release = async |transaction: Transaction| {
            transaction.roll_back().await;
            log.say("rolled back");
        };
        bracket(Transaction, using, release).await
    };
    let close = async {
        // The server does not answer any more.
        let polite = timeout(Duration::from_millis(1), future::pending::<()>());
        if polite.await.is_err() {
            log.say("gave up closing politely");
        }
        log.say("closed the connection");
    };
    finally(work, close).await
}

fn main() {
    let log = Log::default();
    run(async {
        let scope = CancelScope::new().name("database");
        let stop = scope.handle();

        let database = group(async |g| {
            let goodbye = log.clone();
            g.defer(async move { goodbye.say("said goodbye") });

            let task = log.clone();
            let ((), work) = g.start_task(|ready| work(task, ready)).await?;
            log.say("stop!");
            stop.cancel_with("the user pressed stop");
            Ok(work.await?)
        });
        let cancelled = scope.run(database).await.expect_err("it was stopped");

        log.say("went on");
        assert_eq!(cancelled.reason(), Some("the user pressed stop"));
    });
    let happened = log.0.lock().expect("nobody panics");
    assert_eq!(
        *happened,
        [
            "connected",
            "began a transaction",
            "stop!",
            "rolled back",
            "gave up closing politely",
            "closed the connection",
            "said goodbye",
            "went on",
        ]
    );
}
