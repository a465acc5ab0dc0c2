//! What a failure does to the rest of a group.

/// What a [`TaskGroup`](crate::TaskGroup) does when one of its tasks fails or panics.
///
/// Either way every failure ends up in the group's error, and a failure of the *body* cancels the
/// tasks.
///
/// # Examples
///
/// ```
/// use headcount::{Policy, TaskGroup, run};
///
/// let group = TaskGroup::builder().policy(Policy::Collect).run(async |g| {
///     g.spawn(async { Err::<(), _>("no route".into()) });
///     g.spawn(async { Err::<(), _>("no host".into()) });
///     Ok(())
/// });
/// assert_eq!(run(group).unwrap_err().len(), 2);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Cancel its siblings and the body. For tasks that are parts of one job.
    #[default]
    FailFast,
    /// Cancel nobody, and report everything at the end. For jobs that have nothing to do with each
    /// other. Kotlin calls it a supervisor.
    Collect,
}
