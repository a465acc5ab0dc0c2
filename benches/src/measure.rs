//! Measuring: the peers in turn, round by round.

use std::time::{Duration, Instant};

use crate::question::{Peer, Question};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// How many rounds there are.
    pub rounds: usize,
    /// How long the rounds of one size may take together; there are fewer if they would take longer,
    /// but three at least.
    pub time: Duration,
    /// How long a sample takes at least: small sizes are repeated.
    pub sample: Duration,
    /// Whether only the sizes for the quick form are measured.
    pub quick: bool,
}

impl Effort {
    /// For a table that is to be published.
    pub fn full() -> Self {
        Self {
            rounds: 41,
            time: Duration::from_secs(12),
            sample: Duration::from_micros(1500),
            quick: false,
        }
    }

    /// For every day.
    pub fn quick() -> Self {
        Self {
            rounds: 15,
            time: Duration::from_millis(1700),
            sample: Duration::from_micros(500),
            quick: true,
        }
    }
}

/// A row of the table. Figures are in nanoseconds per unit, unless the question says otherwise.
#[derive(Clone, Debug)]
pub struct Row {
    /// The question.
    pub id: &'static str,
    /// What was asked.
    pub title: &'static str,
    /// Who was asked.
    pub peer: String,
    /// For what size.
    pub n: usize,
    /// The median of the rounds.
    pub median: f64,
    /// The least of the rounds.
    pub min: f64,
}

/// Asks a question of all its peers.
pub fn measure(question: &Question, effort: Effort) -> Vec<Row> {
    let sizes = if effort.quick {
        question.quick
    } else {
        question.sizes
    };
    sizes
        .iter()
        .flat_map(|&n| measure_size(question, n, effort))
        .collect()
}

fn measure_size(question: &Question, n: usize, effort: Effort) -> Vec<Row> {
    let peers = question.peers.iter().filter(|peer| n <= peer.at_most);
    let mut peers: Vec<_> = peers.map(|peer| (peer, 1, Vec::new())).collect();
    // What the samples of a round take.
    let mut round = Duration::from_micros(1);
    for (peer, reps, _) in &mut peers {
        // The first call starts the host. If that may matter, more tell how long a repetition takes.
        let mut once = time(|| (peer.run)(n, 1));
        if once < 20 * effort.sample {
            // The least of a few: whoever was held up just now would be asked too seldom in a sample,
            // and what is measured then is the first time after a pause.
            let tries = (0..5).map(|_| time(|| (peer.run)(n, 4)) / 4);
            once = tries.min().unwrap_or(once);
        }
        let needed = effort.sample.as_nanos() / once.as_nanos().max(1);
        let needed = u32::try_from(needed).unwrap_or(u32::MAX);
        *reps = needed.clamp(1, 100_000);
        round += once * *reps;
    }
    let affordable = effort.time.as_nanos() / round.as_nanos();
    let rounds = usize::try_from(affordable).unwrap_or(usize::MAX);
    for round in 0..rounds.clamp(3, effort.rounds) {
        // Nobody always comes right after the same one.
        let peer_count = peers.len();
        for turn in 0..peer_count {
            let (peer, reps, samples) = &mut peers[(turn + round) % peer_count];
            samples.push((peer.run)(n, *reps as usize) / *reps);
        }
    }
    let units = (question.units)(n) as f64;
    let row = |(peer, _, mut samples): (&Peer, u32, Vec<Duration>)| {
        samples.sort_unstable();
        let figure = |sample: Duration| sample.as_secs_f64() * 1e9 / units;
        Row {
            id: question.id,
            title: question.title,
            peer: peer.name.to_owned(),
            n,
            median: figure(samples[samples.len() / 2]),
            min: figure(samples[0]),
        }
    };
    peers.into_iter().map(row).collect()
}

fn time(f: impl FnOnce() -> Duration) -> Duration {
    let start = Instant::now();
    f();
    start.elapsed()
}
