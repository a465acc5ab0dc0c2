//! Results of several futures: all of them, the first of them, so many of them, each as it comes.

mod as_completed;
mod gather;
mod quorum;
mod race;
mod report;
mod staggered;
mod tuples;

pub(crate) use self::{as_completed::Waiting, report::Report};
pub use self::{
    as_completed::{AsCompleted, TasksCompleted, as_completed},
    gather::{Gather, GatherAll, GatherSettled, gather, gather_all, gather_settled},
    quorum::{FirstOk, Quorum, first_ok, quorum},
    race::{NoContenders, Race, RaceAll, RaceWith, race, race_all, race_with},
    staggered::{Staggered, staggered},
    tuples::{
        Contenders, Gatherable, OneOf1, OneOf2, OneOf3, OneOf4, OneOf5, OneOf6, OneOf7, OneOf8,
        OneOf9, OneOf10, OneOf11, OneOf12, Tied,
    },
};
