//! Runs one question for one peer over and over, to have its instructions counted.
//!
//! ```text
//! cargo build --release
//! valgrind --tool=callgrind target/release/steady W1 headcount 1000 100
//! ```
//!
//! Two runs with different numbers of repetitions, and the difference divided, leave out what it
//! costs to begin.

use std::env;

use headcount_benches::questions;

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [id, peer, n, repetitions] = &arguments[..] else {
        panic!("usage: steady QUESTION PEER N REPETITIONS");
    };
    let questions = questions::all();
    let question = questions.iter().find(|question| question.id == id);
    let question = question.unwrap_or_else(|| panic!("no question {id}"));
    let peer = question.peers.iter().find(|one| one.name == peer);
    let peer = peer.unwrap_or_else(|| panic!("no such peer"));
    let number = |text: &String| {
        text.parse()
            .unwrap_or_else(|_| panic!("{text} is no number"))
    };
    (peer.run)(number(n), number(repetitions));
}
