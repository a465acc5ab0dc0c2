//! The peers in Python, through a script.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use crate::{measure::Row, question::Question};

const SCRIPT: &str = include_str!("../python/peers.py");

/// How long one size may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// Asks a question of the peers in Python. Nothing if there is no Python, or no such peer.
pub fn measure(question: &Question, quick: bool) -> Vec<Row> {
    let Some(name) = question.python else {
        return Vec::new();
    };
    let sizes = if quick {
        question.quick
    } else {
        question.sizes
    };
    let largest = if quick { 1_000 } else { 100_000 };
    let mut rows = Vec::new();
    let mut before: Option<(usize, Duration)> = None;
    for &n in sizes.iter().filter(|n| **n <= largest) {
        // Some take quadratic time. What would take long even if it were linear is left out.
        let expected =
            before.map(|(size, took)| took * u32::try_from(n / size).unwrap_or(u32::MAX));
        if expected.is_some_and(|expected| expected > PATIENCE) {
            break;
        }
        let start = Instant::now();
        rows.append(&mut measure_size(question, name, n, quick));
        before = Some((n, start.elapsed()));
    }
    rows
}

fn measure_size(question: &Question, name: &str, n: usize, quick: bool) -> Vec<Row> {
    let rounds = if quick || n >= 10_000 { "3" } else { "7" };
    let arguments = ["-c", SCRIPT, name, &n.to_string(), rounds];
    let Ok(output) = Command::new("python3").args(arguments).output() else {
        return Vec::new();
    };
    let units = (question.units)(n) as f64;
    let lines = String::from_utf8_lossy(&output.stdout);
    let rows = lines.lines().filter_map(|line| {
        let (peer, figures) = line.split_once('\t')?;
        let (median, min) = figures.split_once('\t')?;
        Some(Row {
            id: question.id,
            title: question.title,
            peer: peer.to_owned(),
            n,
            median: median.parse::<f64>().ok()? / units,
            min: min.parse::<f64>().ok()? / units,
        })
    });
    rows.collect()
}
