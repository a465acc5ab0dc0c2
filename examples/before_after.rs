//! One program twice: with bare `smol::spawn`, then with a group.
//!
//! An order is taken: a receipt is sent, which fails, and the stock is updated, which takes its
//! time. Run it with `cargo run --example before_after`. It prints
//!
//! ```text
//! bare spawn: the order returned Ok(()), with 1 task still at work
//! in a group: the order failed, with 0 tasks still at work
//! task group (examples/before_after.rs:…) failed
//! └─ task "receipt" (examples/before_after.rs:…): the mail server is down
//! ```
//!
//! In the first version the caller hears that all is well. The receipt's error is lost, and nobody
//! will ever know when, or whether, the stock is up to date. No reader of `order` can see that; they
//! would have to read all that it calls.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    future,
    sync::atomic::{AtomicUsize, Ordering},
};

use headcount::{Error, ErrorGroup, group, run};

/// Before: each task is on its own as soon as it is spawned.
mod before {
    use super::{Error, send_receipt, update_stock};

    pub(super) async fn order() -> Result<(), Error> {
        smol::spawn(send_receipt()).detach(); // Its error goes nowhere.
        smol::spawn(update_stock()).detach(); // Nobody waits for it.
        Ok(())
    }
}

/// After: the same, and whoever calls it need not know how it works inside.
mod after {
    use super::{ErrorGroup, group, send_receipt, update_stock};

    pub(super) async fn order() -> Result<(), ErrorGroup> {
        group(async |g| {
            g.spawn_named("receipt", send_receipt()); // Its error is in the group's.
            g.spawn_named("stock", update_stock()); // The group waits for it, or cancels it.
            Ok(())
        })
        .await
    }
}

fn main() {
    run(async {
        let returned = before::order().await;
        let at_work = AT_WORK.load(Ordering::SeqCst);
        println!("bare spawn: the order returned {returned:?}, with {at_work} task still at work");
        assert!(returned.is_ok());
        assert_eq!(at_work, 1);

        let failed = after::order().await.expect_err("the receipt was not sent");
        let at_work = AT_WORK.load(Ordering::SeqCst) - at_work;
        println!("in a group: the order failed, with {at_work} tasks still at work");
        println!("{failed:#}");
        assert_eq!(failed.len(), 1);
        assert_eq!(at_work, 0);
    });
    // The leaked task ends here at the latest, wherever it stands.
}

/// How many tasks are updating the stock.
static AT_WORK: AtomicUsize = AtomicUsize::new(0);

struct AtWork;

impl AtWork {
    fn begin() -> Self {
        AT_WORK.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        AT_WORK.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn send_receipt() -> Result<(), Error> {
    Err("the mail server is down".into())
}

fn update_stock() -> impl Future<Output = Result<(), Error>> {
    let at_work = AtWork::begin();
    async move {
        let _at_work = at_work;
        // Stands for something that takes long.
        future::pending().await
    }
}
