//! What was found.

use std::{
    error::Error as StdError,
    fmt,
    io::{self, Write},
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use headcount::{Error, ErrorGroup, FailureKind};

use crate::site::{Reference, lock};

/// A number that many tasks add to.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicUsize);

impl Count {
    pub(crate) fn add(&self) {
        self.add_many(1);
    }

    pub(crate) fn add_many(&self, more: usize) {
        // Relaxed: nothing is read on the strength of a count.
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the tasks have found so far; kept outside of them, so that it is there when they are cut.
pub(crate) struct Tally {
    started: Instant,
    pub(crate) pages: Count,
    pub(crate) pages_read: Count,
    pub(crate) links: Count,
    sound: Count,
    pub(crate) https: Count,
    pub(crate) offline: Count,
    pub(crate) elsewhere: Count,
    broken: Mutex<Vec<Broken>>,
    problems: Mutex<Vec<String>>,
    was_listed: AtomicBool,
    was_cut: AtomicBool,
}

/// A broken link.
pub(crate) struct Broken {
    link: Reference,
    why: String,
}

impl Tally {
    pub(crate) fn new(started: Instant) -> Self {
        Self {
            started,
            pages: Count::default(),
            pages_read: Count::default(),
            links: Count::default(),
            sound: Count::default(),
            https: Count::default(),
            offline: Count::default(),
            elsewhere: Count::default(),
            broken: Mutex::default(),
            problems: Mutex::default(),
            was_listed: AtomicBool::new(false),
            was_cut: AtomicBool::new(false),
        }
    }

    pub(crate) fn sound(&self) {
        self.sound.add();
    }

    pub(crate) fn broken(&self, link: Reference, why: impl Into<String>) {
        let why = why.into();
        lock(&self.broken).push(Broken { link, why });
    }

    pub(crate) fn broken_so_far(&self) -> usize {
        lock(&self.broken).len()
    }

    /// Notes that all pages are known, and how many there are.
    pub(crate) fn listed(&self, pages: usize) {
        self.pages.add_many(pages);
        self.was_listed.store(true, Ordering::Relaxed);
    }

    /// Notes that the deadline has cut the check short.
    pub(crate) fn cut(&self) {
        self.was_cut.store(true, Ordering::Relaxed);
    }

    /// Notes everything that failed in a group, in the groups inside it too.
    pub(crate) fn fail(&self, failed: &ErrorGroup) {
        for failure in failed.leaves() {
            match failure.kind() {
                FailureKind::Error(error) => self.problem(error),
                FailureKind::Panic(panic) => lock(&self.problems).push(panic.to_string()),
            }
        }
    }

    /// Notes something that could not be done.
    pub(crate) fn problem(&self, error: &Error) {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message += &format!(": {error}");
            cause = error.source();
        }
        lock(&self.problems).push(message);
    }

    /// Sums up.
    pub(crate) fn report(&self) -> Report {
        let mut broken = std::mem::take(&mut *lock(&self.broken));
        broken.sort_by(|a, b| a.place().cmp(&b.place()));
        let mut problems = std::mem::take(&mut *lock(&self.problems));
        problems.sort();
        let accounted = self.sound.get()
            + broken.len()
            + self.https.get()
            + self.offline.get()
            + self.elsewhere.get();
        Report {
            pages: self.pages_read.get(),
            pages_left: self.pages.get().saturating_sub(self.pages_read.get()),
            links: self.links.get(),
            links_left: self.links.get().saturating_sub(accounted),
            https: self.https.get(),
            offline: self.offline.get(),
            elsewhere: self.elsewhere.get(),
            broken,
            problems,
            was_listed: self.was_listed.load(Ordering::Relaxed),
            was_cut: self.was_cut.load(Ordering::Relaxed),
            took: self.started.elapsed(),
        }
    }
}

impl Broken {
    fn place(&self) -> impl Ord + '_ {
        let Reference { from, line, target } = &self.link;
        (&from.path, *line, target)
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reference { from, line, target } = &self.link;
        write!(f, "{}:{line}: {target}: {}", from.path.display(), self.why)
    }
}

/// The outcome of a check, complete or not.
pub(crate) struct Report {
    pages: usize,
    pages_left: usize,
    links: usize,
    links_left: usize,
    https: usize,
    offline: usize,
    elsewhere: usize,
    pub(crate) broken: Vec<Broken>,
    problems: Vec<String>,
    was_listed: bool,
    was_cut: bool,
    took: Duration,
}

impl Report {
    /// Whether everything was checked that was to be.
    pub(crate) fn is_complete(&self) -> bool {
        !self.was_cut && self.problems.is_empty() && self.links_left == 0
    }

    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        for broken in &self.broken {
            writeln!(out, "{broken}")?;
        }
        let (pages, links, broken) = (self.pages, self.links, self.broken.len());
        writeln!(
            out,
            "{}, {}: {broken} broken",
            counted(pages, "page"),
            counted(links, "link")
        )?;
        for (links, where_to) in [
            (self.https, "https://, which would need TLS"),
            (self.offline, "http://, as --offline was given"),
            (self.elsewhere, "no document, such as mailto:"),
        ] {
            if links > 0 {
                writeln!(out, "not checked: {} to {where_to}", counted(links, "link"))?;
            }
        }
        if self.was_cut {
            let pages = if self.was_listed {
                counted(self.pages_left, "page")
            } else {
                "nobody knows how many pages".into()
            };
            let links = counted(self.links_left, "link");
            writeln!(
                out,
                "the deadline ran out: {pages} not read, {links} not followed"
            )?;
        }
        writeln!(out, "took {:.2} s", self.took.as_secs_f64())
    }

    pub(crate) fn write_problems(&self, out: &mut impl Write) -> io::Result<()> {
        for problem in &self.problems {
            writeln!(out, "linkcheck: {problem}")?;
        }
        Ok(())
    }
}

fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// A file or folder that could not be read.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read {}", self.path.display())
    }
}

impl StdError for Unreadable {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.source)
    }
}
