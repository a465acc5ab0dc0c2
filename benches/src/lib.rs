//! What headcount costs, and what its peers cost, side by side.
//!
//! There is one file per question in [`questions`]. Each asks the same of several libraries, in the
//! same run: round by round in turn, so that the moods of the machine hit all alike. The figures to
//! trust are the ratios.
//!
//! ```text
//! cargo run --release --bin compare            # everything, a quarter of an hour
//! cargo run --release --bin compare -- --quick # under three minutes
//! cargo run --release --bin compare -- W1 W4   # two questions
//! ```
//!
//! Where noise hides the answer, instructions are counted instead: see `bin/steady.rs`. A whole program
//! is compared by `bin/linkcheck`.

#![deny(missing_docs)]

pub mod aims;
pub mod chart;
pub mod gone;
pub mod hosts;
pub mod machine;
pub mod measure;
pub mod memory;
pub mod python;
pub mod question;
pub mod questions;
pub mod report;
pub mod work;
