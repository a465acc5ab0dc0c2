//! All peers in turn, and the table.

use std::{
    env,
    error::Error,
    process::Command,
    time::{Duration, Instant},
};

use headcount_benches::machine;

use crate::peer::{Cost, Peer};

/// One run of a peer.
struct Sample {
    wall: Duration,
    cost: Cost,
    report: Vec<String>,
}

/// Runs the peers so many times each, and prints the table.
///
/// Fails if their reports differ.
pub(crate) fn run(rounds: usize, folder: &str) -> Result<(), Box<dyn Error>> {
    println!("{}\n", machine::describe());
    let mut samples = Peer::ALL.map(|peer| (peer, Vec::new()));
    // One that does not count, so that the files are in the cache of the system for all.
    let expected = sample(Peer::Headcount, folder)?.report;
    for round in 0..rounds.max(1) {
        for turn in 0..samples.len() {
            // Nobody always comes right after the same one.
            let turn = (turn + round) % samples.len();
            let (peer, samples) = &mut samples[turn];
            let sample = sample(*peer, folder)?;
            if sample.report != expected {
                return Err(format!("{peer} reports something else than headcount").into());
            }
            samples.push(sample);
        }
    }
    for line in expected.iter().rev().take(3).rev() {
        println!("{line}");
    }
    println!("\n| peer | wall time | least | processor time | peak memory |");
    println!("|---|---:|---:|---:|---:|");
    let ours = wall(&samples[0].1);
    for (peer, samples) in &samples {
        let least = samples.iter().map(|sample| sample.wall).min();
        println!(
            "| {peer} | {} ({:.2}) | {} | {} | {:.1} MiB |",
            seconds(wall(samples)),
            wall(samples).as_secs_f64() / ours.as_secs_f64(),
            seconds(least.unwrap_or_default()),
            seconds(median(samples, |sample| sample.cost.processor)),
            median(samples, |sample| sample.cost.peak) as f64 / 1024.0,
        );
    }
    Ok(())
}

/// Runs a peer in a process of its own.
fn sample(peer: Peer, folder: &str) -> Result<Sample, Box<dyn Error>> {
    let mut command = Command::new(env::current_exe()?);
    command.args(["--peer", &peer.to_string(), folder]);
    command.envs(peer.environment());
    let start = Instant::now();
    let output = command.output()?;
    let wall = start.elapsed();
    let errors = String::from_utf8(output.stderr)?;
    if !output.status.success() {
        return Err(format!("{peer} did not get through: {errors}").into());
    }
    let cost = errors.lines().last().unwrap_or_default().parse();
    let report = String::from_utf8(output.stdout)?;
    let is_result = |line: &&str| !line.starts_with("took ");
    let report = report.lines().filter(is_result).map(str::to_owned);
    Ok(Sample {
        wall,
        cost: cost.map_err(|_| format!("{peer} says nothing of its cost: {errors}"))?,
        report: report.collect(),
    })
}

fn wall(samples: &[Sample]) -> Duration {
    median(samples, |sample| sample.wall)
}

fn median<T: Ord>(samples: &[Sample], figure: impl Fn(&Sample) -> T) -> T {
    let mut figures: Vec<_> = samples.iter().map(figure).collect();
    figures.sort_unstable();
    figures.swap_remove(figures.len() / 2)
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
