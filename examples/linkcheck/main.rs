//! A link checker for a folder of documentation: a whole program on task groups.
//!
//! ```text
//! cargo run --release --example linkcheck                 # this folder
//! cargo run --release --example linkcheck -- target/doc   # what `cargo doc` wrote
//! cargo run --release --example linkcheck -- --help
//! ```
//!
//! It reads every Markdown and HTML page of the folder on all cores and checks where each link
//! leads: that the file is there, that the page has the anchor, and that an `http://` address
//! answers. It prints one line for each broken link, `file:line: link: what is wrong`, then what it
//! checked. On a terminal it draws a progress bar meanwhile. It exits with 0 if all is sound, 1 if a
//! link is broken, 2 if something could not be checked: wrong usage, an unreadable file, no time
//! left.
//!
//! The structure of the program is the structure of its tasks:
//!
//! ```text
//! run ─ linkcheck ─┬─ progress bar
//!                  └─ folders ─┬─ docs           a task per folder, which spawns its siblings
//!                  │           └─ …
//!                  └─ pages ───┬─ docs/a.md ─┬─ http://one      a task per page, `--open-files`
//!                              │             └─ http://two      at a time, each with a group for
//!                              └─ docs/b.md ─── …               the requests it makes
//! ```
//!
//! | what | how | where |
//! | --- | --- | --- |
//! | bounded number of open files, and of pages in memory | a group with a limit | `tasks.rs` |
//! | bounded number of connections | a semaphore | `web.rs` |
//! | a time limit for each link | `timeout` round a loop of retries | `web.rs` |
//! | a time limit for everything, with a partial report | a deadline on the group's scope | `tasks.rs` |
//! | one unreadable file does not stop the rest | `Policy::Collect` | `tasks.rs` |
//! | the bar goes away however the check ends | `finally` | `progress.rs` |

mod blocking;
mod check;
mod link;
mod options;
mod page;
mod progress;
mod report;
mod site;
mod tasks;
mod walk;
mod web;

use std::{
    env,
    io::{self, Write},
    process::ExitCode,
};

use crate::options::{Command, Options};

/// Everything was checked, and is sound.
const SOUND: u8 = 0;
/// At least one link is broken.
const BROKEN: u8 = 1;
/// Nothing is known to be broken, but not everything could be checked.
const UNCHECKED: u8 = 2;

fn main() -> ExitCode {
    let status = match options::parse(env::args_os().skip(1)) {
        Ok(Command::Check(options)) => check(options),
        Ok(Command::Help) => io::stdout()
            .write_all(options::HELP.as_bytes())
            .map(|()| SOUND),
        Err(wrong) => complain(&format!("{wrong}\nTry `linkcheck --help`.")),
    };
    // What remains to fail is writing, to a pipe that was closed for instance.
    ExitCode::from(status.unwrap_or(UNCHECKED))
}

/// Checks a folder and reports. Fails if the report cannot be written.
fn check(options: Options) -> io::Result<u8> {
    if !options.folder.is_dir() {
        return complain(&format!("{} is not a folder", options.folder.display()));
    }
    let report = headcount::run(tasks::run(options));
    report.write(&mut io::stdout().lock())?;
    report.write_problems(&mut io::stderr().lock())?;
    Ok(if !report.broken.is_empty() {
        BROKEN
    } else if report.is_complete() {
        SOUND
    } else {
        UNCHECKED
    })
}

/// Says on standard error what kept the program from its work.
fn complain(message: &str) -> io::Result<u8> {
    writeln!(io::stderr(), "linkcheck: {message}")?;
    Ok(UNCHECKED)
}
