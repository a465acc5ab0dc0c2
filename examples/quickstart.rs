//! The first program: a group with two parallel tasks and one that borrows.
//!
//! Run it with `cargo run --example quickstart`. It prints
//!
//! ```text
//! user 7 has 3 orders, and the page has 4 words
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use headcount::{Error, ErrorGroup, group, run};

fn main() -> Result<(), ErrorGroup> {
    run(async {
        let page = Page::load();
        let line = group(async |g| {
            // Parallel tasks run on the threads of `run`, at the same time.
            let user = g.spawn(fetch_user(7));
            let orders = g.spawn(fetch_orders(7));
            // A local task runs concurrently with this one, and may borrow.
            let words = g.spawn_local(async { Ok(page.words()) });

            Ok(format!(
                "{} has {} orders, and the page has {} words",
                user.await?,
                orders.await?,
                words.await?
            ))
        })
        .await?; // All three are gone, however it ended.

        println!("{line}");
        assert_eq!(line, "user 7 has 3 orders, and the page has 4 words");
        Ok(())
    })
}

struct Page {
    text: String,
}

impl Page {
    fn load() -> Self {
        Self {
            text: "Welcome to the shop".into(),
        }
    }

    fn words(&self) -> usize {
        self.text.split_whitespace().count()
    }
}

async fn fetch_user(id: u32) -> Result<String, Error> {
    // Any error type would do for `?` here.
    let id: u32 = id.to_string().parse()?;
    Ok(format!("user {id}"))
}

async fn fetch_orders(_user: u32) -> Result<usize, Error> {
    Ok(["tea", "milk", "biscuits"].len())
}
