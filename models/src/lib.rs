//! The parts of headcount that rest on the orderings of atomics, in small.
//!
//! Each module is a copy of the few lines that matter, with loom's types for those of std, and the names
//! that they have there; the first line of each says where that is. Whoever changes one of the two
//! changes the other. The tests run them through all interleavings of two or three threads, with three
//! preemptions at most, and through what C11 lets a load return.
//!
//! Next to each property stands a test in which the code is wrong, in the way that the comment in the
//! source warns of: it shows that the model would notice.
//!
//! ```text
//! cargo test --release --manifest-path models/Cargo.toml
//! ```

pub mod monitor;
pub mod tree;
pub mod wakes;

/// Goes through a model, with a bounded number of preemptions.
pub fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}
