//! What happened in a test run, and who is alive.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    fmt::Write,
    panic::Location,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use super::{About, Cleanup, Event, Mark, Staged};
use crate::error::TaskInfo;

/// So many steps are kept at most; when there are more, the older half is forgotten.
const MOST_STEPS: usize = 1 << 18;

/// What a test run keeps of itself.
#[derive(Default)]
pub(super) struct Story {
    /// Whether steps are kept. They are needed only where somebody reads them.
    recording: bool,
    /// The last of them, each with its number; a loop without end makes more than memory can hold.
    steps: Vec<Step>,
    made: usize,
    /// The body of the outermost group.
    main: Option<u64>,
    /// The numbers of tasks in this run. Their ids are those of the process.
    numbers: HashMap<u64, usize>,
    groups: Vec<Opened>,
    /// The tasks that are alive, by id.
    members: BTreeMap<u64, Living>,
    /// What was noted since the last step: member and mark, the innermost first.
    marks: Vec<(u64, Mark)>,
    /// What each body waits under; those of tasks are in `members`.
    bodies: HashMap<u64, Vec<Mark>>,
    cleanups: isize,
    tracked: isize,
    panics: usize,
    /// Those who have panicked, by id.
    panicked: HashSet<u64>,
}

/// A group that was opened.
#[derive(Clone)]
struct Opened {
    group: Weak<dyn Staged>,
    body: u64,
}

/// A task that is alive.
#[derive(Clone)]
struct Living {
    task: TaskInfo,
    number: usize,
    /// The address of its group.
    group: usize,
    was_polled: bool,
    marks: Vec<Mark>,
}

/// One step of a test run.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    number: usize,
    at: Duration,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Task(Who, Event),
    Clock,
    Remark(&'static str),
}

/// A task, as a test run names it.
#[derive(Clone, Debug)]
struct Who {
    role: Role,
    task: TaskInfo,
}

/// What a task is to a test run.
#[derive(Clone, Copy, Debug)]
enum Role {
    /// The body of the outermost group.
    Main,
    Body,
    /// A child, by its number in the order of spawns.
    Task(usize),
}

/// Something that a run has left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    Tasks(usize),
    Timers(usize),
    Jobs(usize),
    Holds(usize),
    /// Finalizers that were owed and not run to their end.
    Cleanups(isize),
    /// Values that count and were not dropped.
    Tracked(isize),
}

fn address(group: &Arc<dyn Staged>) -> usize {
    Arc::as_ptr(group).cast::<()>() as usize
}

impl Story {
    pub(super) fn new(recording: bool) -> Self {
        Self {
            recording,
            ..Self::default()
        }
    }

    fn number(&mut self, id: u64) -> usize {
        let next = self.numbers.len() + 1;
        *self.numbers.entry(id).or_insert(next)
    }

    pub(super) fn opened(&mut self, group: &Arc<dyn Staged>, body: &TaskInfo) {
        self.main.get_or_insert(body.id());
        // Groups come and go; those that are gone are forgotten when there are many.
        if self.groups.len() == self.groups.capacity() {
            self.groups.retain(|opened| opened.group.strong_count() > 0);
        }
        self.groups.push(Opened {
            group: Arc::downgrade(group),
            body: body.id(),
        });
    }

    pub(super) fn entered(&mut self, group: &Arc<dyn Staged>, task: &TaskInfo) {
        let living = Living {
            task: task.clone(),
            number: self.number(task.id()),
            group: address(group),
            was_polled: false,
            marks: Vec::new(),
        };
        self.members.insert(task.id(), living);
    }

    pub(super) fn step(&mut self, task: &TaskInfo, event: Event, at: Duration) {
        // What has panicked is dropped afterwards, which is not a second end.
        if event == Event::Cancelled && self.panicked.contains(&task.id()) {
            return;
        }
        if event == Event::Panicked {
            self.panicked.insert(task.id());
        }
        self.panics += usize::from(event == Event::Panicked);
        let marks = self.take_marks(task.id());
        match self.members.get_mut(&task.id()) {
            Some(living) => {
                living.was_polled = event != Event::Spawned;
                living.marks = marks;
            }
            None => drop(self.bodies.insert(task.id(), marks)),
        }
        if self.recording {
            let role = if self.main == Some(task.id()) {
                Role::Main
            } else if task.is_body() {
                Role::Body
            } else {
                Role::Task(self.number(task.id()))
            };
            let task = task.clone();
            let who = Who { role, task };
            self.keep(at, What::Task(who, event));
        }
    }

    fn keep(&mut self, at: Duration, what: What) {
        if self.steps.len() == MOST_STEPS {
            drop(self.steps.drain(..MOST_STEPS / 2));
        }
        self.made += 1;
        let number = self.made;
        self.steps.push(Step { number, at, what });
    }

    fn take_marks(&mut self, id: u64) -> Vec<Mark> {
        let (mine, others) = std::mem::take(&mut self.marks)
            .into_iter()
            .partition::<Vec<_>, _>(|(member, _)| *member == id);
        self.marks = others;
        // The innermost was noted first, and is read last.
        mine.into_iter().rev().map(|(_, mark)| mark).collect()
    }

    pub(super) fn clock(&mut self, at: Duration) {
        if self.recording {
            self.keep(at, What::Clock);
        }
    }

    pub(super) fn remark(&mut self, remark: &'static str, at: Duration) {
        if self.recording {
            self.keep(at, What::Remark(remark));
        }
    }

    pub(super) fn gone(&mut self, task: &TaskInfo) -> impl Sized + use<> {
        self.members.remove(&task.id())
    }

    pub(super) fn mark(&mut self, member: u64, mark: Mark) {
        // A cleanup is a shield to the frames, and says so first.
        if mark == Mark::Cleanup && self.marks.last() == Some(&(member, Mark::Shield)) {
            self.marks.pop();
        }
        self.marks.push((member, mark));
    }

    pub(super) fn cleanup(&mut self, cleanup: Cleanup) {
        self.cleanups += match cleanup {
            Cleanup::Owed => 1,
            Cleanup::Done => -1,
        };
    }

    pub(super) fn tracked(&mut self, change: isize) {
        self.tracked += change;
    }

    pub(super) fn panics(&self) -> usize {
        self.panics
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if !self.members.is_empty() {
            findings.push(Finding::Tasks(self.members.len()));
        }
        if self.cleanups != 0 {
            findings.push(Finding::Cleanups(self.cleanups));
        }
        if self.tracked != 0 {
            findings.push(Finding::Tracked(self.tracked));
        }
        findings
    }

    /// Who is alive. To be written down without any lock held.
    pub(super) fn living(&self) -> Census {
        Census {
            groups: self.groups.clone(),
            members: self.members.values().cloned().collect(),
            bodies: self.bodies.clone(),
        }
    }
}

/// Who is alive, at one time.
pub(super) struct Census {
    groups: Vec<Opened>,
    members: Vec<Living>,
    bodies: HashMap<u64, Vec<Mark>>,
}

/// What is printed at one place of the tree.
enum Line<'a> {
    Group(&'a OpenGroup),
    Task(&'a Living),
}

struct OpenGroup {
    address: usize,
    body: u64,
    about: About,
}

impl Census {
    /// Draws the tree of the living: groups below the tasks that opened them, tasks below their
    /// groups.
    pub(super) fn to_text(&self, now: Instant) -> String {
        let open = |opened: &Opened| {
            let group = opened.group.upgrade()?;
            let about = group.about();
            let address = address(&group);
            let body = opened.body;
            (!about.is_closed).then_some(OpenGroup {
                address,
                body,
                about,
            })
        };
        let groups: Vec<_> = self.groups.iter().filter_map(open).collect();
        let is_known = |id: u64| {
            let is_task = self.members.iter().any(|member| member.task.id() == id);
            is_task || groups.iter().any(|group| group.body == id)
        };
        let is_root = |group: &&OpenGroup| !group.about.opened_by.is_some_and(is_known);
        let mut text = String::new();
        // An explicit stack: groups may be nested thousands deep.
        let roots = groups.iter().rev().filter(is_root);
        let mut lines: Vec<_> = roots.map(|group| (0, Line::Group(group))).collect();
        while let Some((depth, line)) = lines.pop() {
            let indent = 2 * usize::min(depth, DEEPEST);
            // Writing to a string does not fail.
            let _ = write!(text, "\n  {:indent$}", "");
            let opened_by = |id: u64| {
                let opened = groups.iter().rev();
                opened.filter(move |group| group.about.opened_by == Some(id) && group.body != id)
            };
            let below = |group: &'_ OpenGroup| (depth + 1, group.address);
            match line {
                Line::Group(group) => {
                    let marks = self.bodies.get(&group.body).map_or(&[][..], Vec::as_slice);
                    describe_group(&mut text, group, marks, now);
                    let (depth, address) = below(group);
                    let tasks = self.members.iter().rev();
                    let tasks = tasks.filter(|member| member.group == address);
                    let inner = opened_by(group.body);
                    lines.extend(inner.map(|group| (depth, Line::Group(group))));
                    lines.extend(tasks.map(|task| (depth, Line::Task(task))));
                }
                Line::Task(living) => {
                    describe_task(&mut text, living, now);
                    let inner = opened_by(living.task.id());
                    lines.extend(inner.map(|group| (depth + 1, Line::Group(group))));
                }
            }
        }
        text
    }
}

/// Deeper than this nothing is moved to the right any more.
const DEEPEST: usize = 16;

fn place(location: &Location<'_>) -> String {
    format!("({}:{})", location.file(), location.line())
}

fn describe_group(text: &mut String, group: &OpenGroup, marks: &[Mark], now: Instant) {
    let place = place(group.about.location);
    let _ = match (group.about.name(), group.about.opened_by) {
        (Some(name), _) => write!(text, "group {name:?} {place}"),
        (None, Some(_)) => write!(text, "a group {place}"),
        (None, None) => write!(text, "main {place}"),
    };
    if group.about.is_cancelled {
        text.push_str(", cancelled");
    }
    describe_marks(text, marks, now);
}

fn describe_task(text: &mut String, living: &Living, now: Instant) {
    let place = place(living.task.location());
    let _ = match living.task.name() {
        Some(name) => write!(text, "task {} {name:?} {place}", living.number),
        None => write!(text, "task {} {place}", living.number),
    };
    text.push_str(if living.was_polled {
        " waits"
    } else {
        " has not begun"
    });
    describe_marks(text, &living.marks, now);
}

fn describe_marks(text: &mut String, marks: &[Mark], now: Instant) {
    for mark in marks {
        let _ = match mark {
            Mark::Shield => write!(text, ", in a shield"),
            Mark::Cleanup => write!(text, ", in cleanup"),
            Mark::Scope {
                name,
                deadline,
                is_cancelled,
            } => {
                let name = name.as_ref().map(|name| format!(" {name:?}"));
                let _ = write!(text, ", in a scope{}", name.unwrap_or_default());
                if let Some(deadline) = deadline {
                    let left = deadline.saturating_duration_since(now);
                    let _ = write!(text, " with {left:?} left");
                }
                match is_cancelled {
                    true => write!(text, " that is cancelled"),
                    false => Ok(()),
                }
            }
        };
    }
}

impl Step {
    /// Its number in the run, from 1.
    pub(crate) fn number(&self) -> usize {
        self.number
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Clock => write!(f, "{:?}: the clock moves", self.at),
            What::Remark(remark) => write!(f, "{:?}: {remark}", self.at),
            What::Task(who, event) => {
                let what = match event {
                    Event::Spawned => "is spawned",
                    Event::Waits => "waits",
                    Event::Returned => "returns",
                    Event::Failed => "fails",
                    Event::Panicked => "panics",
                    Event::Cancelled => "is cancelled",
                };
                write!(f, "{:?}: {who} {what}", self.at)
            }
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = place(self.task.location());
        match (self.role, self.task.name()) {
            (Role::Main, _) => write!(f, "main {place}"),
            (Role::Task(number), Some(name)) => write!(f, "task {number} {name:?} {place}"),
            (Role::Task(number), None) => write!(f, "task {number} {place}"),
            (Role::Body, Some(name)) => write!(f, "the body of {name:?} {place}"),
            (Role::Body, None) => write!(f, "the body of the group {place}"),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tasks(n) => write!(f, "{n} tasks are alive"),
            Self::Timers(n) => write!(f, "{n} timers are set: a future that waits was forgotten"),
            Self::Jobs(n) => write!(f, "{n} deferred finalizers have not ended"),
            Self::Holds(n) => write!(f, "{n} real operations have not ended"),
            Self::Cleanups(n) if *n < 0 => {
                write!(f, "{} finalizers were run once too often", n.unsigned_abs())
            }
            Self::Cleanups(n) => write!(f, "{n} finalizers were not run to their end"),
            Self::Tracked(n) => write!(f, "{n} tracked values were not dropped"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_very_long_run_the_last_steps_are_kept() {
        let mut story = Story::new(true);
        for second in 0..=MOST_STEPS as u64 {
            story.clock(Duration::from_secs(second));
        }
        let steps = story.steps();
        assert_eq!(steps.len(), MOST_STEPS / 2 + 1);
        assert_eq!(steps.first().map(Step::number), Some(MOST_STEPS / 2 + 1));
        assert_eq!(steps.last().map(Step::number), Some(MOST_STEPS + 1));
    }
}
