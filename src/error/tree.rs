//! How error groups are printed: one line, or the tree.

use std::{
    any,
    error::Error as StdError,
    fmt::{self, Write},
};

use super::{
    Cause, ErrorGroup, Failure, FailureKind, Panic, TaskInfo,
    aggregate::Origin,
    panic::{catch, discard},
};

/// How many failed tasks the one-line form names.
const NAMED: usize = 3;

/// How many levels of the tree are indented. Deeper ones are numbered instead, so that a tree takes
/// space in proportion to its size however deep it is.
const INDENTED: usize = 16;

/// How long a chain of sources is printed; an error whose source is itself would have no end.
const CHAIN: usize = 64;

impl<E> fmt::Display for ErrorGroup<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return write_tree(self, f);
        }
        write_headline(self.origin(), self.is_empty(), f)?;
        for (index, failure) in self.iter().take(NAMED).enumerate() {
            let verb = match failure.kind() {
                FailureKind::Error(_) => "failed",
                FailureKind::Panic(_) => "panicked",
            };
            let joint = if index == 0 { ":" } else { "," };
            write!(f, "{joint} {} {verb}", failure.task())?;
        }
        match self.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, ", and {more} more"),
        }
    }
}

impl<E> fmt::Debug for ErrorGroup<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_tree(self, f)
    }
}

/// Writes which group it was and what became of it.
fn write_headline(origin: &Origin, empty: bool, f: &mut dyn Write) -> fmt::Result {
    f.write_str("task group ")?;
    if let Some(name) = origin.name() {
        write!(f, "{name:?} ")?;
    }
    write!(f, "({}:{})", origin.location.file(), origin.location.line())?;
    match (&origin.cancelled, empty) {
        (None, _) => f.write_str(" failed"),
        (Some(Cause::Requested(None)), true) => f.write_str(" was cancelled"),
        (Some(cause), true) => write!(f, " was cancelled: {}", text(cause)),
        (Some(Cause::Requested(None)), false) => f.write_str(" failed and was cancelled"),
        (Some(cause), false) => write!(f, " failed and was cancelled ({})", text(cause)),
    }
}

/// Writes a group and everything below it, without recursion.
fn write_tree<E>(group: &ErrorGroup<E>, f: &mut dyn Write) -> fmt::Result {
    write_headline(group.origin(), group.is_empty(), f)?;
    let mut open = vec![Branch::new(group)];
    while let Some(branch) = open.last_mut() {
        let Some(entry) = branch.entries.next() else {
            open.pop();
            continue;
        };
        branch.last = branch.entries.peek().is_none();
        let margin = Margin::new(&open);
        write!(f, "\n{}{}", margin, entry.task)?;
        if let Some(nested) = write_entry(&entry, &margin, f)? {
            open.push(Branch::new(nested));
        }
    }
    Ok(())
}

/// Writes how a task failed. Returns the group that it failed with, if it was one: its members go
/// below this line.
fn write_entry<'a>(
    entry: &Entry<'a>,
    margin: &Margin<'_, '_>,
    f: &mut dyn Write,
) -> Result<Option<&'a ErrorGroup>, fmt::Error> {
    match entry.what {
        What::Panic(panic) => {
            f.write_str(" ")?;
            write_text(&text(panic), margin, f)?;
            Ok(None)
        }
        What::Opaque(type_name) => {
            write!(f, " failed with a value of type {type_name}")?;
            Ok(None)
        }
        What::Error(error) => {
            f.write_str(": ")?;
            write_chain(error, margin, f)
        }
    }
}

/// Writes an error and its sources, up to the first that is an error group.
fn write_chain<'a>(
    error: &'a (dyn StdError + 'static),
    margin: &Margin<'_, '_>,
    f: &mut dyn Write,
) -> Result<Option<&'a ErrorGroup>, fmt::Error> {
    let mut next = Some(error);
    for length in 0..CHAIN {
        let Some(error) = next else { break };
        if length > 0 {
            write!(f, "\n{}caused by: ", margin.below())?;
        }
        if let Some(nested) = error.downcast_ref::<ErrorGroup>() {
            write_headline(nested.origin(), nested.is_empty(), f)?;
            return Ok(Some(nested));
        }
        // An error whose long form has lines of its own (a group with an error type of its own, for
        // one) shows its sources there.
        let (short, long) = (text(error), text(format_args!("{error:#}")));
        if long.contains('\n') && !short.contains('\n') {
            write_text(&long, margin, f)?;
            break;
        }
        write_text(&short, margin, f)?;
        next = match catch(|| error.source()) {
            Ok(source) => source,
            Err(panic) => {
                discard(panic);
                None
            }
        };
    }
    Ok(None)
}

/// Writes a text that may have several lines.
fn write_text(text: &str, margin: &Margin<'_, '_>, f: &mut dyn Write) -> fmt::Result {
    for (index, line) in text.lines().enumerate() {
        if index > 0 {
            write!(f, "\n{}", margin.below())?;
        }
        f.write_str(line)?;
    }
    Ok(())
}

/// Returns what a value prints. One that panics at it must not take the report down.
fn text(value: impl fmt::Display) -> String {
    catch(|| value.to_string()).unwrap_or_else(|panic| {
        let message = panic.message().unwrap_or("no message");
        format!("<an error whose Display panicked: {message}>")
    })
}

/// A failed task as the tree shows it, whatever the error type of its group.
struct Entry<'a> {
    task: &'a TaskInfo,
    what: What<'a>,
}

/// How a task failed, as the tree shows it.
enum What<'a> {
    Error(&'a (dyn StdError + 'static)),
    /// An error of a type that is not known to be printable.
    Opaque(&'static str),
    Panic(&'a Panic),
}

/// A group whose members are being printed.
struct Branch<'a> {
    entries: std::iter::Peekable<Box<dyn Iterator<Item = Entry<'a>> + 'a>>,
    /// Whether the member being printed is the last one.
    last: bool,
}

impl<'a> Branch<'a> {
    fn new<E>(group: &'a ErrorGroup<E>) -> Self {
        let entry = move |failure: &'a Failure<E>| Entry {
            task: failure.task(),
            what: match failure.kind() {
                FailureKind::Panic(panic) => What::Panic(panic),
                FailureKind::Error(error) => match group.view(error) {
                    Some(error) => What::Error(error),
                    None => What::Opaque(any::type_name::<E>()),
                },
            },
        };
        let entries: Box<dyn Iterator<Item = _>> = Box::new(group.iter().map(entry));
        Self {
            entries: entries.peekable(),
            last: false,
        }
    }
}

/// What stands before a line: the branches of the tree that go on below it.
struct Margin<'a, 'b> {
    open: &'a [Branch<'b>],
    /// Whether this is the first line about a task.
    first: bool,
}

impl<'a, 'b> Margin<'a, 'b> {
    /// The margin of the first line about the task that the innermost group is at.
    fn new(open: &'a [Branch<'b>]) -> Self {
        Self { open, first: true }
    }

    /// The margin of further lines about the same task.
    fn below(&self) -> Self {
        Self {
            open: self.open,
            first: false,
        }
    }
}

impl fmt::Display for Margin<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((branch, outer)) = self.open.split_last() else {
            return Ok(());
        };
        for branch in outer.iter().take(INDENTED) {
            f.write_str(if branch.last { "   " } else { "│  " })?;
        }
        f.write_str(match (self.first, branch.last) {
            (true, true) => "└─ ",
            (true, false) => "├─ ",
            (false, true) => "   ",
            (false, false) => "│  ",
        })?;
        if self.first && outer.len() > INDENTED {
            write!(f, "[level {}] ", outer.len())?;
        }
        Ok(())
    }
}
