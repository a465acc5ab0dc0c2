//! The progress bar.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use headcount::{Error, finally, interval};

use crate::report::Tally;

const WIDTH: usize = 30;

/// Draws the bar, ten times a second, until it is cancelled. Draws nothing if nobody is looking.
pub(crate) async fn show(tally: &Tally) -> Result<(), Error> {
    if !io::stderr().is_terminal() {
        return Ok(());
    }
    let draw = async {
        let mut beat = interval(Duration::from_millis(100));
        loop {
            beat.tick().await;
            write!(io::stderr(), "\r{}", bar(tally))?;
        }
    };
    let clear = async {
        // If the terminal is gone there is nothing to be cleared.
        write!(io::stderr(), "\r\x1b[K").ok();
    };
    finally(draw, clear).await
}

fn bar(tally: &Tally) -> String {
    let (read, pages) = (tally.pages_read.get(), tally.pages.get());
    let filled = (WIDTH * read).checked_div(pages).unwrap_or(0);
    format!(
        "[{}{}] {read} of {pages} pages, {} links, {} broken",
        "=".repeat(filled),
        " ".repeat(WIDTH.saturating_sub(filled)),
        tally.links.get(),
        tally.broken_so_far()
    )
}
