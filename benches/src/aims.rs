//! What is aimed at, and whether it is reached.

use std::fmt::Write;

use crate::{
    measure::Row,
    memory::Footprint,
    question::{OURS, RAW},
    report::{figures, thousands, time},
};

const JOIN_SET: &str = "tokio JoinSet";

/// Something that is aimed at: a figure of ours is to be at most so much.
struct Aim {
    /// The question, or one of the two halves of W9.
    workload: &'static str,
    sizes: &'static [usize],
    at_most: Measure,
}

/// What a figure is measured by.
enum Measure {
    /// So many times that of this peer.
    Times(f64, &'static str),
    /// So many times that of the best of these.
    TimesTheBest(f64, &'static [&'static str]),
    /// So many times our own for another size.
    TimesOwnAt(f64, usize),
    /// So many nanoseconds more than this peer.
    Above(f64, &'static str),
    /// So many nanoseconds, or whatever the figure counts.
    Just(f64),
    /// So many times n milliseconds.
    TimesMillis(f64),
}

use Measure::{Above, Just, Times, TimesMillis, TimesOwnAt, TimesTheBest};

const fn aim(workload: &'static str, sizes: &'static [usize], at_most: Measure) -> Aim {
    Aim {
        workload,
        sizes,
        at_most,
    }
}

/// All that share a processor with others.
const PARALLEL: &[&str] = &[RAW, "StaticExecutor", JOIN_SET, "tokio spawn"];

/// All that sleep.
const SLEEPING: &[&str] = &[
    RAW,
    "StaticExecutor",
    JOIN_SET,
    "tokio JoinSet, 1 thread",
    "FuturesUnordered",
];

const MICROSECOND: f64 = 1e3;
const MILLISECOND: f64 = 1e6;

const AIMS: &[Aim] = &[
    aim("W1", &[1], Times(0.7, RAW)),
    aim("W1", &[10, 1_000, 100_000], Times(0.6, RAW)),
    aim("W1", &[10, 1_000, 100_000], Times(0.35, JOIN_SET)),
    aim("W1", &[1_000_000], Times(0.4, RAW)),
    aim("W1", &[1_000_000], TimesOwnAt(1.6, 1_000)),
    aim("W1c", &[1, 10], Times(0.15, RAW)),
    aim("W2", &[1], Times(0.7, RAW)),
    aim("W2", &[10, 1_000, 100_000], Times(0.6, RAW)),
    aim("W2", &[10, 1_000, 100_000], Times(0.35, JOIN_SET)),
    aim("W2", &[1_000_000], Times(0.4, RAW)),
    aim("W2", &[1_000_000], TimesOwnAt(1.6, 1_000)),
    aim("W6", &[1], Times(0.7, RAW)),
    aim("W6", &[10, 1_000, 100_000], Times(0.6, RAW)),
    aim("W6", &[10, 1_000, 100_000], Times(0.35, JOIN_SET)),
    aim("W6", &[1_000_000], Times(0.4, RAW)),
    aim("W6", &[1_000_000], TimesOwnAt(1.6, 1_000)),
    aim("W3", WIDTHS, Times(0.8, RAW)),
    aim("W3", WIDTHS, Times(0.6, JOIN_SET)),
    aim("W3", &[10_000, 100_000, 1_000_000], TimesOwnAt(1.6, 1_000)),
    aim("W5", &[10, 1_000, 100_000], Times(0.8, RAW)),
    aim("W5", &[10, 1_000, 100_000], Times(0.6, JOIN_SET)),
    aim("W4", &[111_111], Times(0.2, RAW)),
    aim("W4", &[111_111], Times(0.3, JOIN_SET)),
    aim("W10", &[1_000, 100_000], Times(0.4, RAW)),
    aim("W10w", &[1_000, 100_000], TimesTheBest(1.03, PARALLEL)),
    aim("W12a", &[10, 1_000, 10_000], TimesTheBest(1.03, PARALLEL)),
    aim("W12b", &[10, 1_000, 10_000], TimesTheBest(1.03, PARALLEL)),
    aim("W8a", &[100_000, 1_000_000], Above(10.0, "no timeout")),
    aim("W8b", &[100_000, 1_000_000], Times(1.0, "tokio")),
    aim("W8c", &[100_000], TimesTheBest(1.1, SLEEPING)),
    aim("W8d", &[100_000], TimesTheBest(1.1, SLEEPING)),
    aim("W8d", &[1_000], Times(1.0, JOIN_SET)),
    aim("W11", &[100_000], Times(0.35, RAW)),
    aim("La", BORROWING, Times(1.5, "FuturesUnordered")),
    aim("Lb", BORROWING, Times(1.5, "FuturesUnordered")),
    aim("W9 allocations", &[1], Just(1.0)),
    // The future itself, and as much again.
    aim("W9 bytes", &[1], Just(256.0)),
    aim("Pa", &[10, 100], TimesMillis(1.2)),
    aim("Pb", &[10], Just(MILLISECOND)),
    aim("Pb99", &[10], Just(MILLISECOND)),
    aim("Pc", &[10], TimesMillis(1.2)),
    aim("Pd", &[1], Just(MILLISECOND)),
    // A second's wait; the clock itself and what else the process has to do take some of this.
    aim("Pe", &[1_000_000], Just(500.0 * MICROSECOND)),
];

const WIDTHS: &[usize] = &[10, 1_000, 10_000, 100_000, 1_000_000];
const BORROWING: &[usize] = &[10, 100, 1_000, 10_000, 100_000];

/// The aims as Markdown, each with what was measured; those that were not measured are left out.
pub fn markdown(rows: &[Row], footprints: &[Footprint]) -> String {
    let figures = Figures { rows, footprints };
    let lines = AIMS.iter().flat_map(|aim| {
        let sizes = aim.sizes.iter();
        sizes.filter_map(|n| aim.line(&figures, *n))
    });
    let lines: String = lines.collect();
    if lines.is_empty() {
        return lines;
    }
    format!("\n## Aims\n\n| workload | n | aim | measured | |\n|---|---:|---|---:|---|\n{lines}")
}

impl Aim {
    /// A line of the table, if all that is in it was measured.
    fn line(&self, figures: &Figures<'_>, n: usize) -> Option<String> {
        let workload = self.workload;
        let ours = figures.ours(workload, n)?;
        let (aim, bound, measured, show): (_, _, _, fn(f64) -> String) = match self.at_most {
            Times(bound, peer) => {
                let ratio = ours / figures.of(workload, peer, n)?;
                (format!("≤ {bound} of {peer}"), bound, ratio, self::figures)
            }
            TimesTheBest(bound, peers) => {
                let peers = peers.iter();
                let of_peers = peers.filter_map(|peer| {
                    let figure = figures.of(workload, peer, n)?;
                    Some((*peer, figure))
                });
                let (best, least) = of_peers.min_by(|a, b| a.1.total_cmp(&b.1))?;
                let aim = format!("≤ {bound} of the best, here {best}");
                (aim, bound, ours / least, self::figures)
            }
            TimesOwnAt(bound, size) => {
                let ratio = ours / figures.ours(workload, size)?;
                let aim = format!("≤ {bound} of its own at {}", thousands(size));
                (aim, bound, ratio, self::figures)
            }
            Above(bound, peer) => {
                let above = ours - figures.of(workload, peer, n)?;
                let aim = format!("≤ {bound} ns more than {peer}");
                (aim, bound, above, time)
            }
            Just(bound) if workload.starts_with("W9") => {
                (format!("≤ {bound}"), bound, ours, self::figures)
            }
            Just(bound) => (format!("≤ {}", time(bound)), bound, ours, time),
            TimesMillis(bound) => {
                let ratio = ours / (n as f64 * MILLISECOND);
                (format!("≤ {bound} of n ms"), bound, ratio, self::figures)
            }
        };
        let percent_over = ((measured / bound - 1.0) * 100.0).round();
        let verdict = if percent_over <= 0.0 {
            "met".to_owned()
        } else {
            format!("missed by {percent_over} %")
        };
        let mut line = String::new();
        let (n, measured) = (thousands(n), show(measured));
        writeln!(
            line,
            "| {workload} | {n} | {aim} | {measured} | {verdict} |"
        )
        .expect("strings do not fail");
        Some(line)
    }
}

/// All that was measured.
struct Figures<'a> {
    rows: &'a [Row],
    footprints: &'a [Footprint],
}

impl Figures<'_> {
    fn ours(&self, workload: &str, n: usize) -> Option<f64> {
        let mut prints = self.footprints.iter();
        let mut print = || prints.find(|print| print.peer == OURS);
        match workload {
            "W9 allocations" => print().map(|print| print.allocations),
            "W9 bytes" => print().map(|print| print.bytes),
            _ => self.of(workload, OURS, n),
        }
    }

    fn of(&self, workload: &str, peer: &str, n: usize) -> Option<f64> {
        let mut rows = self.rows.iter();
        let row = rows.find(|row| row.id == workload && row.peer == peer && row.n == n);
        row.map(|row| row.median)
    }
}
