//! The table, as Markdown and as CSV.

use std::fmt::Write;

use crate::{
    measure::Row,
    memory::Footprint,
    question::{OURS, RAW},
};

/// The rows as CSV: one line each.
pub fn csv(rows: &[Row], footprints: &[Footprint]) -> String {
    let mut csv = String::from("workload,peer,n,median,min,ratio to raw\n");
    for row in rows {
        let ratio = ratio(rows, row).map_or(String::new(), |ratio| format!("{ratio:.3}"));
        let (id, peer, n) = (row.id, &row.peer, row.n);
        let line = writeln!(
            csv,
            "{id},{peer:?},{n},{:.1},{:.1},{ratio}",
            row.median, row.min
        );
        line.expect("strings do not fail");
    }
    for Footprint {
        peer,
        allocations,
        bytes,
    } in footprints
    {
        let raw = footprints.iter().find(|print| print.peer == RAW);
        let ratio = |own: f64, of: fn(&Footprint) -> f64| raw.map_or(0.0, |raw| own / of(raw));
        for (id, figure, ratio) in [
            (
                "W9 allocations",
                allocations,
                ratio(*allocations, |raw| raw.allocations),
            ),
            ("W9 bytes", bytes, ratio(*bytes, |raw| raw.bytes)),
        ] {
            let line = writeln!(csv, "{id},{peer:?},1,{figure:.2},{figure:.2},{ratio:.3}");
            line.expect("strings do not fail");
        }
    }
    csv
}

/// The rows as Markdown: a table per question, a column per size; each cell a median with its ratio
/// to raw.
pub fn markdown(rows: &[Row], footprints: &[Footprint]) -> String {
    let mut text = String::new();
    let mut ids: Vec<_> = rows.iter().map(|row| (row.id, row.title)).collect();
    ids.dedup();
    for (id, title) in ids {
        let of_question: Vec<_> = rows.iter().filter(|row| row.id == id).cloned().collect();
        write_question(&mut text, id, title, &of_question);
    }
    if !footprints.is_empty() {
        text.push_str("\n### W9: a child at rest, its future of 128 bytes included\n\n");
        text.push_str("| peer | allocations | bytes |\n|---|---:|---:|\n");
        for Footprint {
            peer,
            allocations,
            bytes,
        } in footprints
        {
            writeln!(
                text,
                "| {} | {allocations:.2} | {bytes:.0} |",
                emphasize(peer)
            )
            .expect("strings do not fail");
        }
    }
    text
}

fn write_question(text: &mut String, id: &str, title: &str, rows: &[Row]) {
    let mut sizes: Vec<_> = rows.iter().map(|row| row.n).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let mut peers: Vec<_> = rows.iter().map(|row| &row.peer).collect();
    let mut seen = Vec::new();
    peers.retain(|peer| {
        let new = !seen.contains(peer);
        seen.push(*peer);
        new
    });
    let head = sizes.iter().map(|n| format!(" n = {} |", thousands(*n)));
    let head: String = head.collect();
    let rule = "---:|".repeat(sizes.len());
    write!(text, "\n### {id}: {title}\n\n| peer |{head}\n|---|{rule}\n")
        .expect("strings do not fail");
    for peer in peers {
        let cells = sizes.iter().map(|n| {
            let row = rows.iter().find(|row| row.n == *n && row.peer == *peer);
            row.map_or(" – |".into(), |row| cell(rows, row))
        });
        let cells: String = cells.collect();
        writeln!(text, "| {} |{cells}", emphasize(peer)).expect("strings do not fail");
    }
}

fn cell(rows: &[Row], row: &Row) -> String {
    let time = time(row.median);
    match ratio(rows, row) {
        Some(ratio) if row.peer != RAW => format!(" {time} ({}) |", figures(ratio)),
        _ => format!(" {time} |"),
    }
}

fn emphasize(peer: &str) -> String {
    if peer.starts_with(OURS) {
        format!("**{peer}**")
    } else {
        peer.to_owned()
    }
}

/// How a row compares with that of the raw executor.
pub fn ratio(rows: &[Row], row: &Row) -> Option<f64> {
    let is_raw = |raw: &&Row| raw.peer == RAW && raw.id == row.id && raw.n == row.n;
    rows.iter().find(is_raw).map(|raw| row.median / raw.median)
}

/// A time in a unit that fits.
pub(crate) fn time(nanos: f64) -> String {
    match nanos {
        0.0..1e4 => figures(nanos),
        1e4..1e6 => format!("{} µs", figures(nanos / 1e3)),
        _ => format!("{} ms", figures(nanos / 1e6)),
    }
}

/// A number with three figures.
pub(crate) fn figures(number: f64) -> String {
    match number {
        0.0..10.0 => format!("{number:.2}"),
        10.0..100.0 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

pub(crate) fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let groups: Vec<_> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(String::from_utf8_lossy)
        .collect();
    groups.join(",")
}
