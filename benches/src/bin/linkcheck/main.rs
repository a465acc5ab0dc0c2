//! The link checker among the examples, against others that differ only in how they schedule: two on
//! bare `smol::spawn`, two on tokio. One of each is built as ours, one spawns only what there is room for.
//!
//! ```text
//! cargo run --release --bin linkcheck -- ../target/doc            # all, in turn
//! cargo run --release --bin linkcheck -- --rounds 5 ../target/doc
//! cargo run --release --bin linkcheck -- --peer tokio ../target/doc
//! ```
//!
//! Each peer reads, parses and looks links up with the code of the example; `on_smol.rs` and
//! `on_tokio.rs` have what stands for its tasks. No link is asked over the network. Each is run as a
//! process of its own, round by round in turn; all have to report the same but for the time.

mod blocking;
mod on_smol;
mod on_tokio;
mod peer;
mod race;

#[path = "../../../../examples/linkcheck"]
#[expect(
    dead_code,
    reason = "the peers do without the command line and what is asked over the network"
)]
mod example {
    pub(crate) mod check;
    pub(crate) mod link;
    pub(crate) mod options;
    pub(crate) mod page;
    pub(crate) mod progress;
    pub(crate) mod report;
    pub(crate) mod site;
    pub(crate) mod tasks;
    pub(crate) mod walk;
    pub(crate) mod web;
}
// The modules of the example know each other by these names.
use example::{check, link, options, page, progress, report, site, tasks, walk, web};

use std::{env, error::Error};

use self::peer::Peer;

fn main() -> Result<(), Box<dyn Error>> {
    let (mut peer, mut rounds, mut folder) = (None, 9, None);
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match &*argument {
            "--peer" => peer = Some(arguments.next().ok_or("--peer needs a name")?.parse()?),
            "--rounds" => rounds = arguments.next().ok_or("--rounds needs a number")?.parse()?,
            _ => folder = Some(argument),
        }
    }
    let folder = folder.ok_or("usage: linkcheck [--peer NAME] [--rounds N] FOLDER")?;
    match peer {
        Some(peer) => Peer::run(peer, &folder),
        None => race::run(rounds, &folder),
    }
}
