//! Who a task is.

use std::{
    cell::Cell,
    fmt,
    panic::Location,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Says which task something is about: its id, its name and where it was spawned.
///
/// Every [`Failure`](crate::Failure) carries one. For a failure of the group's own body it describes
/// the group: its name and the place where it was opened.
///
/// # Examples
///
/// ```
/// use headcount::{group, run};
///
/// let failed = run(group(async |g| {
///     g.spawn_named("fetch", async { Err::<(), _>("no route".into()) });
///     Ok(())
/// }))
/// .unwrap_err();
///
/// let task = failed.first().unwrap().task();
/// assert_eq!(task.name(), Some("fetch"));
/// assert!(task.location().file().ends_with(".rs"));
/// ```
pub struct TaskInfo {
    /// The id, unique in this process, and in the lowest bits the role: every task carries one of these,
    /// and eight bytes decide whether the allocator is quick with a small one.
    id_and_role: u64,
    /// What it is called, if it is called anything. A thin pointer, for the same reason.
    label: Option<Arc<Label>>,
    /// The line of the spawn.
    location: &'static Location<'static>,
}

/// What a task or a group is called.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Label {
    Name(String),
    /// The position among several that have no names.
    Index(usize),
}

impl Label {
    pub(crate) fn named(name: impl Into<String>) -> Arc<Self> {
        Arc::new(Self::Name(name.into()))
    }

    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            Self::Index(_) => None,
        }
    }
}

/// What a member is to its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskRole {
    /// A child task.
    Child,
    /// The body of the group.
    Body,
    /// A finalizer that was deferred.
    Finalizer,
    /// One of several futures that run concurrently. Not a task at all.
    Part,
}

impl TaskRole {
    /// All roles, each at the place of its number.
    const ALL: [Self; 4] = [Self::Child, Self::Body, Self::Finalizer, Self::Part];

    /// How many bits tell a role.
    const BITS: u32 = 2;
}

impl TaskInfo {
    /// Describes a member of a group.
    pub(crate) fn new(
        role: TaskRole,
        label: Option<Arc<Label>>,
        location: &'static Location<'static>,
    ) -> Self {
        Self {
            id_and_role: next_id() << TaskRole::BITS | role as u64,
            label,
            location,
        }
    }

    /// Describes one of several futures that run concurrently, by its position among them.
    pub(crate) fn part(index: usize, location: &'static Location<'static>) -> Self {
        let label = Arc::new(Label::Index(index));
        Self::new(TaskRole::Part, Some(label), location)
    }

    fn role(&self) -> TaskRole {
        let bits = self.id_and_role & ((1 << TaskRole::BITS) - 1);
        TaskRole::ALL[bits as usize]
    }

    /// Whether this is the body of a group.
    #[cfg(feature = "testing")]
    pub(crate) fn is_body(&self) -> bool {
        self.role() == TaskRole::Body
    }

    /// Returns the id of the task: never 0, and never given twice in one process.
    ///
    /// Ids say nothing about the order of spawns.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{group, run};
    ///
    /// let failed = run(group(async |g| {
    ///     g.spawn(async { Err::<(), _>("no route".into()) });
    ///     Ok(())
    /// }))
    /// .unwrap_err();
    /// assert_ne!(failed.first().unwrap().task().id(), 0);
    /// ```
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id_and_role >> TaskRole::BITS
    }

    /// Returns the position of a future that is no task but one of several given to
    /// [`gather`](crate::gather) or one of its relatives. It counts from 0.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{gather, run};
    ///
    /// let failed = run(gather((async { Ok(7) }, async { Err::<(), _>("no route") })));
    /// assert_eq!(failed.unwrap_err().first().unwrap().task().index(), Some(1));
    /// ```
    #[must_use]
    pub fn index(&self) -> Option<usize> {
        match self.label.as_deref()? {
            Label::Index(index) => Some(*index),
            Label::Name(_) => None,
        }
    }

    /// Returns the name given at the spawn, if one was given.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{group, run};
    ///
    /// let failed = run(group(async |g| {
    ///     g.spawn(async { Err::<(), _>("no route".into()) });
    ///     Ok(())
    /// }))
    /// .unwrap_err();
    /// assert_eq!(failed.first().unwrap().task().name(), None);
    /// ```
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.label.as_deref()?.name()
    }

    /// Returns the place in the source where the task was spawned.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{group, run};
    ///
    /// let failed = run(group(async |g| {
    ///     g.spawn(async { Err::<(), _>("no route".into()) });
    ///     Ok(())
    /// }))
    /// .unwrap_err();
    /// assert!(failed.first().unwrap().task().location().line() > 0);
    /// ```
    #[must_use]
    pub fn location(&self) -> &'static Location<'static> {
        self.location
    }
}

impl Clone for TaskInfo {
    fn clone(&self) -> Self {
        Self {
            label: self.label.clone(),
            ..*self
        }
    }

    fn clone_from(&mut self, other: &Self) {
        // Mostly there is no name.
        if self.label.is_some() || other.label.is_some() {
            self.label.clone_from(&other.label);
        }
        (self.id_and_role, self.location) = (other.id_and_role, other.location);
    }
}

impl fmt::Debug for TaskInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskInfo")
            .field("id", &self.id())
            .field("name", &self.name())
            .field("location", &format_args!("{}", self.location))
            .finish()
    }
}

/// The one line that names a task in messages: `task "fetch" (src/main.rs:7)`.
impl fmt::Display for TaskInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.role(), self.name()) {
            (TaskRole::Child, Some(name)) => write!(f, "task {name:?}")?,
            (TaskRole::Child, None) => write!(f, "task #{}", self.id())?,
            (TaskRole::Body, Some(name)) => write!(f, "the body of group {name:?}")?,
            (TaskRole::Body, None) => write!(f, "the group's body")?,
            (TaskRole::Finalizer, _) => write!(f, "a deferred finalizer")?,
            (TaskRole::Part, _) => write!(f, "future {}", self.index().unwrap_or_default())?,
        }
        write!(f, " ({}:{})", self.location.file(), self.location.line())
    }
}

/// How many ids a thread takes at once, so that spawning threads do not contend for the counter.
const BLOCK: u64 = 1024;

/// The first id that no thread has taken.
static UNTAKEN: AtomicU64 = AtomicU64::new(1);

thread_local! {
    /// The next id of this thread, and the end of the block it took.
    static TAKEN: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// Returns an id that was never returned before.
fn next_id() -> u64 {
    // Relaxed: ids have to differ, they order nothing.
    let take_block = || UNTAKEN.fetch_add(BLOCK, Ordering::Relaxed);
    TAKEN
        .try_with(|taken| {
            let (next, end) = taken.get();
            let (next, end) = if next == end {
                let start = take_block();
                (start, start + BLOCK)
            } else {
                (next, end)
            };
            taken.set((next + 1, end));
            next
        })
        // The thread is ending and its block is gone.
        .unwrap_or_else(|_| take_block())
}
