//! The questions, one file each.

use crate::question::Question;

mod blocking;
mod borrowing;
mod cancelling;
mod channels;
mod computing;
mod failing;
mod first;
mod limited;
mod nested;
mod promises;
mod ready;
mod results;
mod sleeping;
mod timing;
mod tree;
mod yielding;

/// All of them, in the order of the table.
pub fn all() -> Vec<Question> {
    vec![
        ready::question(),
        first::question(),
        yielding::question(),
        cancelling::question(),
        tree::question(),
        failing::question(),
        results::question(),
        channels::ping_pong(),
        channels::fan_in(),
        timing::ready(),
        timing::yielding(),
        sleeping::wall(),
        sleeping::processor(),
        nested::idle(),
        nested::busy(),
        limited::question(),
        computing::short(),
        computing::long(),
        borrowing::ready(),
        borrowing::yielding(),
        promises::two(),
        promises::behind(),
        promises::behind_at_worst(),
        promises::body(),
        promises::beside(),
        promises::idle(),
        // Last: it leaves a hundred threads behind, which end some time later.
        blocking::short(),
        blocking::long(),
    ]
}
