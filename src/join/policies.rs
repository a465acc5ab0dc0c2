//! Join policies that come with the crate.
//!
//! Each is a function that makes a policy, for [`GroupBuilder::join`](crate::GroupBuilder::join),
//! and short enough to be read as a model for one's own.

use std::ops::ControlFlow;

use super::{ChildEnd, Closing, EndedBy, JoinPolicy};
use crate::{
    error::{Error, ErrorGroup, Failure},
    group::Policy,
};

/// Yields the values of all children, in the order in which they were spawned.
///
/// If children fail, the group yields their failures instead. With [`Policy::FailFast`] the first
/// failure ends the group, with [`Policy::Collect`] none does. Children that were cancelled through
/// their handles have no value and are left out. A group that runs into its deadline, or is
/// cancelled by hand, fails.
///
/// # Examples
///
/// ```
/// use headcount::{Policy, TaskGroup, policies, run};
///
/// let group = TaskGroup::builder().join(policies::values(Policy::FailFast)).run(async |g| {
///     g.spawn(async { Ok(1) });
///     g.spawn(async { Ok(2) });
///     Ok(())
/// });
/// assert_eq!(run(group).unwrap(), [1, 2]);
/// ```
pub fn values<T, E>(policy: Policy) -> Values<T, E> {
    Values {
        policy,
        values: Vec::new(),
        failures: Vec::new(),
    }
}

/// Yields the value of the first child that succeeds, and cancels the rest.
///
/// If none succeeds, the group yields all failures; without children, an empty error group.
///
/// # Examples
///
/// ```
/// use headcount::{TaskGroup, policies, run};
///
/// let group = TaskGroup::builder().join(policies::first_ok()).run(async |g| {
///     g.spawn(async { Err("down".into()) });
///     g.spawn(async { Ok(7) });
///     Ok(())
/// });
/// assert_eq!(run(group).unwrap(), 7);
/// ```
pub fn first_ok<T, E>() -> FirstOk<T, E> {
    FirstOk(quorum(1))
}

/// Yields the values of the first `n` children that succeed, in the order in which they did, and
/// cancels the rest.
///
/// Since more children may always come, failures end the group only when its body has returned and
/// all children have ended. Then it yields the failures.
///
/// # Panics
///
/// Panics if `n` is 0: that is reached by nobody.
///
/// # Examples
///
/// ```
/// use headcount::{TaskGroup, policies, run};
///
/// let group = TaskGroup::builder().join(policies::quorum(2)).run(async |g| {
///     for answer in ["7", "down", "7"] {
///         g.spawn(async { Ok(answer.parse::<u8>()?) });
///     }
///     Ok(())
/// });
/// assert_eq!(run(group).unwrap(), [7, 7]);
/// ```
#[track_caller]
pub fn quorum<T, E>(n: usize) -> Quorum<T, E> {
    assert!(
        n > 0,
        "a quorum of 0 is reached by nobody; ask for at least 1"
    );
    Quorum {
        wanted: n,
        values: Vec::new(),
        failures: Vec::new(),
    }
}

/// Yields whatever there is when the group ends: values, failures, and whether that is all.
///
/// For a deadline that is to be met with what is there by then; see
/// [`JoinBuilder::timeout`](crate::JoinBuilder::timeout).
///
/// # Examples
///
/// ```
/// use headcount::{TaskGroup, policies, run};
///
/// let group = TaskGroup::builder().join(policies::partial()).run(async |g| {
///     g.spawn(async { Ok(7) });
///     g.spawn(async { Err("down".into()) });
///     Ok(())
/// });
/// let partial = run(group).unwrap();
/// assert!(partial.is_complete);
/// assert_eq!(partial.values, [(0, 7)]);
/// assert_eq!(partial.failures.len(), 1);
/// ```
pub fn partial<T, E>() -> Partial<T, E> {
    Partial {
        values: Vec::new(),
        failures: Vec::new(),
        ended_by: EndedBy::Children,
        is_complete: true,
    }
}

/// The policy made by [`values`].
#[derive(Debug)]
pub struct Values<T, E = Error> {
    policy: Policy,
    values: Vec<(usize, T)>,
    failures: Vec<Failure<E>>,
}

impl<T, E: 'static> JoinPolicy<T, E> for Values<T, E> {
    type Output = Vec<T>;

    fn child_ended(&mut self, index: usize, end: ChildEnd<T, E>) -> ControlFlow<()> {
        match end {
            ChildEnd::Value(value) => self.values.push((index, value)),
            ChildEnd::Failed(failure) => {
                self.failures.push(failure);
                if self.policy == Policy::FailFast {
                    return ControlFlow::Break(());
                }
            }
            ChildEnd::Cancelled => {}
        }
        ControlFlow::Continue(())
    }

    fn joined(mut self, closing: &mut Closing<E>) -> Result<Vec<T>, ErrorGroup<E>> {
        if closing.ended_by() != EndedBy::Children || !self.failures.is_empty() {
            return Err(closing.fail(self.failures));
        }
        self.values.sort_unstable_by_key(|(index, _)| *index);
        Ok(self.values.into_iter().map(|(_, value)| value).collect())
    }
}

/// The policy made by [`first_ok`].
#[derive(Debug)]
pub struct FirstOk<T, E = Error>(Quorum<T, E>);

impl<T, E: 'static> JoinPolicy<T, E> for FirstOk<T, E> {
    type Output = T;

    fn child_ended(&mut self, index: usize, end: ChildEnd<T, E>) -> ControlFlow<()> {
        self.0.child_ended(index, end)
    }

    fn joined(self, closing: &mut Closing<E>) -> Result<T, ErrorGroup<E>> {
        let mut values = self.0.joined(closing)?;
        Ok(values.swap_remove(0))
    }
}

/// The policy made by [`quorum`].
#[derive(Debug)]
pub struct Quorum<T, E = Error> {
    wanted: usize,
    values: Vec<T>,
    failures: Vec<Failure<E>>,
}

impl<T, E: 'static> JoinPolicy<T, E> for Quorum<T, E> {
    type Output = Vec<T>;

    fn child_ended(&mut self, _index: usize, end: ChildEnd<T, E>) -> ControlFlow<()> {
        match end {
            ChildEnd::Value(value) if self.values.len() < self.wanted => self.values.push(value),
            ChildEnd::Failed(failure) => self.failures.push(failure),
            ChildEnd::Value(_) | ChildEnd::Cancelled => {}
        }
        if self.values.len() < self.wanted {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }

    fn joined(self, closing: &mut Closing<E>) -> Result<Vec<T>, ErrorGroup<E>> {
        if self.values.len() < self.wanted {
            return Err(closing.fail(self.failures));
        }
        Ok(self.values)
    }
}

/// The policy made by [`partial`], and what it yields.
#[derive(Debug)]
#[non_exhaustive]
pub struct Partial<T, E = Error> {
    /// The values that are there, each with the position of its child in the order of the spawns,
    /// in the order in which they came.
    pub values: Vec<(usize, T)>,
    /// What failed.
    pub failures: Vec<Failure<E>>,
    /// What brought the group to its end.
    pub ended_by: EndedBy,
    /// Whether no child was cancelled.
    pub is_complete: bool,
}

impl<T, E> JoinPolicy<T, E> for Partial<T, E> {
    type Output = Self;

    fn child_ended(&mut self, index: usize, end: ChildEnd<T, E>) -> ControlFlow<()> {
        match end {
            ChildEnd::Value(value) => self.values.push((index, value)),
            ChildEnd::Failed(failure) => self.failures.push(failure),
            ChildEnd::Cancelled => self.is_complete = false,
        }
        ControlFlow::Continue(())
    }

    fn joined(mut self, closing: &mut Closing<E>) -> Result<Self, ErrorGroup<E>> {
        self.ended_by = closing.ended_by();
        Ok(self)
    }
}
