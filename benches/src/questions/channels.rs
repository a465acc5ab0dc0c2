//! W7: what does a channel cost? W7a: a round trip between two children, each of which waits for the
//! other, over two channels of one item. W7b: an item on its way from one of eight children to a
//! ninth, over a channel of a hundred.
//!
//! The children are those of a headcount group whatever the channel, so that only the channel
//! differs.

use std::future::Future;

use headcount::{channel, group};

use crate::{
    hosts::{HEADCOUNT, HEADCOUNT_ONE},
    question::{OURS, Question},
};

const PRODUCERS: usize = 8;
const CAPACITY: usize = 100;

/// Asks about round trips.
pub fn ping_pong() -> Question {
    let title = "ping-pong of two children over bounded(1); per round trip";
    Question::new("W7a", title, &[10_000])
        .local(OURS, &HEADCOUNT, async |n| trips(n, channel::bounded).await)
        .local("async-channel", &HEADCOUNT, async |n| {
            trips(n, async_channel::bounded).await;
        })
        .local("tokio mpsc", &HEADCOUNT, async |n| {
            trips(n, tokio::sync::mpsc::channel).await;
        })
        .local("flume", &HEADCOUNT, async |n| {
            trips(n, flume::bounded).await;
        })
        .local("kanal", &HEADCOUNT, async |n| {
            trips(n, kanal::bounded_async).await;
        })
        .local("headcount, 1 worker", &HEADCOUNT_ONE, async |n| {
            trips(n, channel::bounded).await;
        })
        .local("async-channel, 1 worker", &HEADCOUNT_ONE, async |n| {
            trips(n, async_channel::bounded).await;
        })
        .local("tokio mpsc, 1 worker", &HEADCOUNT_ONE, async |n| {
            trips(n, tokio::sync::mpsc::channel).await;
        })
        .local("flume, 1 worker", &HEADCOUNT_ONE, async |n| {
            trips(n, flume::bounded).await;
        })
        .local("kanal, 1 worker", &HEADCOUNT_ONE, async |n| {
            trips(n, kanal::bounded_async).await;
        })
}

/// Asks about items from many to one.
pub fn fan_in() -> Question {
    let title = "fan-in from 8 children over bounded(100); per item";
    Question::new("W7b", title, &[100_000])
        .local(OURS, &HEADCOUNT, async |n| {
            gather(n, channel::bounded).await;
        })
        .local("async-channel", &HEADCOUNT, async |n| {
            gather(n, async_channel::bounded).await;
        })
        .local("tokio mpsc", &HEADCOUNT, async |n| {
            gather(n, tokio::sync::mpsc::channel).await;
        })
        .local("flume", &HEADCOUNT, async |n| {
            gather(n, flume::bounded).await;
        })
        .local("kanal", &HEADCOUNT, async |n| {
            gather(n, kanal::bounded_async).await;
        })
        .local("headcount, 1 worker", &HEADCOUNT_ONE, async |n| {
            gather(n, channel::bounded).await;
        })
        .local("async-channel, 1 worker", &HEADCOUNT_ONE, async |n| {
            gather(n, async_channel::bounded).await;
        })
        .local("tokio mpsc, 1 worker", &HEADCOUNT_ONE, async |n| {
            gather(n, tokio::sync::mpsc::channel).await;
        })
        .local("flume, 1 worker", &HEADCOUNT_ONE, async |n| {
            gather(n, flume::bounded).await;
        })
        .local("kanal, 1 worker", &HEADCOUNT_ONE, async |n| {
            gather(n, kanal::bounded_async).await;
        })
}

async fn trips<S: Sends, R: Receives>(n: usize, bounded: fn(usize) -> (S, R)) {
    let joined = group(async |g| {
        let (to_pong, mut at_pong) = bounded(1);
        let (to_ping, mut at_ping) = bounded(1);
        g.spawn(async move {
            for i in 0..n {
                to_pong.send(i).await;
                assert_eq!(at_ping.receive().await, Some(i));
            }
            Ok(())
        });
        g.spawn(async move {
            while let Some(i) = at_pong.receive().await {
                to_ping.send(i).await;
            }
            Ok(())
        });
        Ok(())
    });
    joined.await.expect("nothing fails");
}

async fn gather<S: Sends, R: Receives>(n: usize, bounded: fn(usize) -> (S, R)) {
    let share = n / PRODUCERS;
    let joined = group(async |g| {
        let (sender, mut receiver) = bounded(CAPACITY);
        for _ in 0..PRODUCERS {
            let sender = sender.clone();
            g.spawn(async move {
                for i in 0..share {
                    sender.send(i).await;
                }
                Ok(())
            });
        }
        drop(sender);
        g.spawn(async move {
            let mut received = 0;
            while receiver.receive().await.is_some() {
                received += 1;
            }
            assert_eq!(received, share * PRODUCERS);
            Ok(())
        });
        Ok(())
    });
    joined.await.expect("nothing fails");
}

/// The end of a channel that items are put into.
trait Sends: Clone + Send + 'static {
    /// Puts one in, when there is room.
    fn send(&self, item: usize) -> impl Future<Output = ()> + Send;
}

/// The end of a channel that items come out of.
trait Receives: Send + 'static {
    /// The next one; none, when all senders are gone.
    fn receive(&mut self) -> impl Future<Output = Option<usize>> + Send;
}

const OPEN: &str = "the receiver stays to the end";

impl Sends for channel::Sender<usize> {
    async fn send(&self, item: usize) {
        self.send(item).await.expect(OPEN);
    }
}

impl Receives for channel::Receiver<usize> {
    async fn receive(&mut self) -> Option<usize> {
        self.recv().await.ok()
    }
}

impl Sends for async_channel::Sender<usize> {
    async fn send(&self, item: usize) {
        self.send(item).await.expect(OPEN);
    }
}

impl Receives for async_channel::Receiver<usize> {
    async fn receive(&mut self) -> Option<usize> {
        self.recv().await.ok()
    }
}

impl Sends for tokio::sync::mpsc::Sender<usize> {
    async fn send(&self, item: usize) {
        self.send(item).await.expect(OPEN);
    }
}

impl Receives for tokio::sync::mpsc::Receiver<usize> {
    async fn receive(&mut self) -> Option<usize> {
        self.recv().await
    }
}

impl Sends for flume::Sender<usize> {
    async fn send(&self, item: usize) {
        self.send_async(item).await.expect(OPEN);
    }
}

impl Receives for flume::Receiver<usize> {
    async fn receive(&mut self) -> Option<usize> {
        self.recv_async().await.ok()
    }
}

impl Sends for kanal::AsyncSender<usize> {
    async fn send(&self, item: usize) {
        self.send(item).await.expect(OPEN);
    }
}

impl Receives for kanal::AsyncReceiver<usize> {
    async fn receive(&mut self) -> Option<usize> {
        self.recv().await.ok()
    }
}
