//! One peer, in a process of its own.

use std::{
    error::Error, fmt, fs, io, num::ParseIntError, str::FromStr, sync::OnceLock, thread,
    time::Duration,
};

use cpu_time::ProcessTime;

use crate::{
    on_smol, on_tokio,
    options::{self, Command, Options},
    report::Report,
    tasks,
};

/// Whose tasks check the links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Headcount,
    /// Built as ours: all pages are spawned at once, by a main future on the thread that called.
    Smol,
    /// Pages are spawned when there is room for them, by a main future that is a task itself: on one of the
    /// threads that run the others, where it need not be woken for each that ends.
    SmolLazy,
    Tokio,
    TokioLazy,
}

/// What a run took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// Of all threads together.
    pub(crate) processor: Duration,
    /// The most memory that was in use at a time, in KiB.
    pub(crate) peak: u64,
}

static CURRENT: OnceLock<Peer> = OnceLock::new();

impl Peer {
    pub(crate) const ALL: [Self; 5] = [
        Self::Headcount,
        Self::Smol,
        Self::SmolLazy,
        Self::Tokio,
        Self::TokioLazy,
    ];

    /// The one that this process is.
    pub(crate) fn current() -> Self {
        *CURRENT.get().expect("it was set at the start")
    }

    /// Checks a folder. Reports to the standard output, and the cost to the standard error.
    pub(crate) fn run(self, folder: &str) -> Result<(), Box<dyn Error>> {
        CURRENT.set(self).expect("this is the start");
        let report = self.check(offline(folder)?);
        report.write(&mut io::stdout().lock())?;
        report.write_problems(&mut io::stdout().lock())?;
        eprintln!("{}", Cost::so_far());
        Ok(())
    }

    fn check(self, options: Options) -> Report {
        match self {
            Self::Headcount => headcount::run(tasks::run(options)),
            Self::Smol => smol::block_on(on_smol::run(options, false)),
            Self::SmolLazy => smol::block_on(smol::spawn(on_smol::run(options, true))),
            Self::Tokio => on_tokio::runtime().block_on(on_tokio::run(options, false)),
            Self::TokioLazy => {
                let runtime = on_tokio::runtime();
                let checked = runtime.spawn(on_tokio::run(options, true));
                on_tokio::whole(runtime.block_on(checked))
            }
        }
    }

    /// What the process of a peer needs to know before it starts.
    pub(crate) fn environment(self) -> Option<(&'static str, String)> {
        // smol has one thread unless it is told, the others have one for each core.
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let is_smol = matches!(self, Self::Smol | Self::SmolLazy);
        is_smol.then(|| ("SMOL_THREADS", cores.to_string()))
    }
}

impl Cost {
    fn so_far() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        // "VmHWM:     12345 kB"; where there is no such file, nobody knows.
        let mut lines = status.lines();
        let peak = lines.find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next());
        Self {
            processor: ProcessTime::now().as_duration(),
            peak: peak.and_then(|peak| peak.parse().ok()).unwrap_or(0),
        }
    }
}

/// On a line of its own, as [`FromStr`] wants it.
impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.processor.as_nanos(), self.peak)
    }
}

impl FromStr for Cost {
    type Err = ParseIntError;

    fn from_str(line: &str) -> Result<Self, ParseIntError> {
        let (processor, peak) = line.trim().split_once(' ').unwrap_or_default();
        Ok(Self {
            processor: Duration::from_nanos(processor.parse()?),
            peak: peak.parse()?,
        })
    }
}

/// What the example makes of its command line.
fn offline(folder: &str) -> Result<Options, Box<dyn Error>> {
    let arguments = ["--offline", folder].map(Into::into);
    match options::parse(arguments.into_iter())? {
        Command::Check(options) => Ok(options),
        Command::Help => unreachable!("nobody asked for it"),
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Headcount => "headcount",
            Self::Smol => "smol",
            Self::SmolLazy => "smol-lazy",
            Self::Tokio => "tokio",
            Self::TokioLazy => "tokio-lazy",
        })
    }
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let mut peers = Self::ALL.into_iter();
        let named = peers.find(|peer| peer.to_string() == name);
        named.ok_or_else(|| format!("there is no peer {name}"))
    }
}
