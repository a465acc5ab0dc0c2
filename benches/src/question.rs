//! A question, and the peers that it is asked of.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use crate::hosts::{Host, LocalJob, SendJob};

/// The peer whose figures are the measure of the others.
pub const RAW: &str = "async-executor";

/// What the subject is called in tables.
pub const OURS: &str = "headcount";

/// Measures a peer: so many children, so many repetitions; returns the time of all repetitions.
type Run = Box<dyn Fn(usize, usize) -> Duration>;

/// A question that is asked of several peers.
pub struct Question {
    /// Its short name.
    pub id: &'static str,
    /// What is asked.
    pub title: &'static str,
    /// The sizes that it is asked for.
    pub sizes: &'static [usize],
    /// Those that it is asked for when time is short.
    pub quick: &'static [usize],
    /// What a figure is a share of: how many units there are in a repetition of this size.
    pub units: fn(usize) -> usize,
    /// Who is asked.
    pub peers: Vec<Peer>,
    /// The name that the script for Python knows the question by.
    pub python: Option<&'static str>,
}

/// One of those that are compared.
pub struct Peer {
    /// What it is called in tables.
    pub name: &'static str,
    /// The largest size that it is asked for.
    pub at_most: usize,
    /// Measures it.
    pub run: Run,
}

/// What a repetition returns: nothing, if all of it counts, or the time that does.
pub trait Share: Send + 'static {
    /// The time that counts, if it is not the whole.
    fn time(self) -> Option<Duration>;
}

impl Share for () {
    fn time(self) -> Option<Duration> {
        None
    }
}

impl Share for Duration {
    fn time(self) -> Option<Duration> {
        Some(self)
    }
}

impl Question {
    /// A question without peers, about the cost per child.
    pub fn new(id: &'static str, title: &'static str, sizes: &'static [usize]) -> Self {
        Self {
            id,
            title,
            sizes,
            quick: sizes,
            units: |n| n,
            peers: Vec::new(),
            python: None,
        }
    }

    /// The sizes for the quick form.
    pub fn quick(mut self, sizes: &'static [usize]) -> Self {
        self.quick = sizes;
        self
    }

    /// What a figure is a share of.
    pub fn per(mut self, units: fn(usize) -> usize) -> Self {
        self.units = units;
        self
    }

    /// Asks the peers in Python as well.
    pub fn python(mut self, name: &'static str) -> Self {
        self.python = Some(name);
        self
    }

    /// Asks one that runs where its host is.
    pub fn local<F, Fut>(mut self, name: &'static str, host: &'static Host<LocalJob>, f: F) -> Self
    where
        F: Fn(usize) -> Fut + Copy + Send + 'static,
        Fut: Future<Output: Share> + 'static,
    {
        self.peers.push(Peer {
            name,
            at_most: usize::MAX,
            run: Box::new(move |n, reps| host.ask(Box::new(move || Box::pin(repeat(n, reps, f))))),
        });
        self
    }

    /// Asks one that may be moved between threads.
    pub fn send<F, Fut>(mut self, name: &'static str, host: &'static Host<SendJob>, f: F) -> Self
    where
        F: Fn(usize) -> Fut + Copy + Send + 'static,
        Fut: Future<Output: Share> + Send + 'static,
    {
        self.peers.push(Peer {
            name,
            at_most: usize::MAX,
            run: Box::new(move |n, reps| host.ask(Box::pin(repeat(n, reps, f)))),
        });
        self
    }

    /// The one that was added last is not asked for more than this.
    pub fn at_most(mut self, n: usize) -> Self {
        if let Some(peer) = self.peers.last_mut() {
            peer.at_most = n;
        }
        self
    }
}

/// Does something several times over, and says how long that took.
async fn repeat<F, Fut>(n: usize, reps: usize, f: F) -> Duration
where
    F: Fn(usize) -> Fut,
    Fut: Future<Output: Share>,
{
    let mut shares = None;
    let start = Instant::now();
    for _ in 0..reps {
        if let Some(time) = f(n).await.time() {
            *shares.get_or_insert(Duration::ZERO) += time;
        }
    }
    shares.unwrap_or_else(|| start.elapsed())
}
