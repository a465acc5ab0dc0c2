//! The command line.

use std::{
    ffi::OsString,
    num::NonZeroUsize,
    path::PathBuf,
    time::{Duration, Instant},
};

pub(crate) const HELP: &str = "\
Checks the links of the Markdown and HTML pages in a folder.

Usage: linkcheck [OPTIONS] [FOLDER]

FOLDER is the current one by default. Folders in it that are called `target` or `.git`, and those
that hold a file `.linkcheckignore`, are left out; give one of them as FOLDER to check it.

Options:
      --offline           Do not ask http:// links whether they answer
      --sequential        Do one thing after the other, for comparison
      --timeout TIME      Give each http:// link so long, retries included [default: 10s]
      --tries N           Ask an http:// link at most so often [default: 3]
      --deadline TIME     Stop after so long, and report what was checked by then
      --open-files N      Hold at most so many pages in memory [default: 64]
      --connections N     Keep at most so many connections open [default: 16]
  -h, --help              Print this

TIME is a number with a unit: 500ms, 2s, 1m.

Exit status: 0 if every link is sound, 1 if one is broken, 2 if something could not be checked.
";

/// What the program is asked to do.
pub(crate) enum Command {
    Help,
    Check(Options),
}

/// How to check.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) folder: PathBuf,
    pub(crate) offline: bool,
    pub(crate) sequential: bool,
    /// For each link, retries included.
    pub(crate) timeout: Duration,
    pub(crate) tries: NonZeroUsize,
    /// When the program was started.
    pub(crate) started: Instant,
    /// For the whole run.
    pub(crate) deadline: Option<Instant>,
    pub(crate) open_files: NonZeroUsize,
    pub(crate) connections: NonZeroUsize,
}

/// Reads the arguments, without the program's name.
///
/// Fails with a message for whoever typed them.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let number = |number| NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN);
    let mut options = Options {
        folder: PathBuf::from("."),
        offline: false,
        sequential: false,
        timeout: Duration::from_secs(10),
        tries: number(3),
        started: Instant::now(),
        deadline: None,
        open_files: number(64),
        connections: number(16),
    };
    let mut folders = Vec::new();
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let name = argument.to_string_lossy();
        let mut value = || {
            let value = arguments.next().ok_or(format!("{name} needs a value"))?;
            let value = value.into_string();
            value.map_err(|odd| format!("{name}: {} is not text", odd.to_string_lossy()))
        };
        match &*name {
            "-h" | "--help" => return Ok(Command::Help),
            "--offline" => options.offline = true,
            "--sequential" => options.sequential = true,
            "--timeout" => options.timeout = duration(&name, &value()?)?,
            "--tries" => options.tries = count(&name, &value()?)?,
            "--deadline" => {
                // A deadline that is too far off to be written down is none.
                options.deadline = options.started.checked_add(duration(&name, &value()?)?);
            }
            "--open-files" => options.open_files = count(&name, &value()?)?,
            "--connections" => options.connections = count(&name, &value()?)?,
            unknown if unknown.starts_with('-') => {
                return Err(format!("there is no option {unknown}"));
            }
            _ => folders.push(PathBuf::from(argument)),
        }
    }
    match folders.len() {
        0 => Ok(Command::Check(options)),
        1 => {
            options.folder = folders.remove(0);
            Ok(Command::Check(options))
        }
        _ => Err(format!(
            "one folder at a time, not {} and {}",
            folders[0].display(),
            folders[1].display()
        )),
    }
}

fn count(name: &str, value: &str) -> Result<NonZeroUsize, String> {
    value
        .parse()
        .map_err(|_| format!("{name} needs a whole number above 0, not `{value}`"))
}

fn duration(name: &str, value: &str) -> Result<Duration, String> {
    let digits = value.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = value.split_at(digits.unwrap_or(value.len()));
    let wrong = || format!("{name} needs a time such as 500ms, 2s or 1m, not `{value}`");
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "" if !number.is_empty() => {
            return Err(format!(
                "{name} {value}: of what? Write {value}s or {value}ms"
            ));
        }
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())
}
