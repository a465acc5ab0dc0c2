//! Lines: who comes later does not get ahead, whoever leaves the line meanwhile.
//!
//! Checked in two ways that know nothing of each other: in small steps, against a line that is kept
//! by hand; and from outside, by the times at which tasks came and were seen to wait.

mod common;
mod waiting;

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    thread,
};

use common::{everywhere_at_length, let_others_run, watched};
use futures_lite::future::block_on;
use headcount::{
    channel::{
        self, Receiver, Sender,
        futures::{Received, Sent},
    },
    group,
};
use waiting::{Dice, Waiting};

/// Those who wait, by number.
#[derive(Default)]
struct Line {
    waiting: VecDeque<u32>,
    /// Those whose turn it is, and who did not take it yet.
    granted: Vec<u32>,
}

impl Line {
    fn grant_first(&mut self) {
        self.granted.extend(self.waiting.pop_front());
    }

    /// True if it was this one's turn.
    fn take_turn(&mut self, number: u32) -> bool {
        let before = self.granted.len();
        self.granted.retain(|other| *other != number);
        self.granted.len() < before
    }

    fn leave(&mut self, number: u32) {
        self.take_turn(number);
        self.waiting.retain(|other| *other != number);
    }
}

/// What a channel is to do, in the plainest words.
struct Rules {
    capacity: usize,
    items: VecDeque<u32>,
    senders: Line,
    receivers: Line,
}

impl Rules {
    fn has_room(&self) -> bool {
        self.items.len() + self.senders.granted.len() < self.capacity
    }

    fn has_item(&self) -> bool {
        self.items.len() > self.receivers.granted.len()
    }

    /// Gives what is free to those who came first.
    fn settle(&mut self) {
        while self.has_item() && !self.receivers.waiting.is_empty() {
            self.receivers.grant_first();
        }
        while self.has_room() && !self.senders.waiting.is_empty() {
            self.senders.grant_first();
        }
    }
}

/// A channel, the futures that wait for it, and the rules that it is held to.
struct Trial<'a> {
    tx: &'a Sender<u32>,
    rx: &'a Receiver<u32>,
    rules: Rules,
    /// By the numbers of their items.
    sends: Vec<(u32, Waiting<Sent<'a, u32>>)>,
    receives: Vec<(u32, Waiting<Received<'a, u32>>)>,
}

impl Trial<'_> {
    /// A send that has just come, or is polled again.
    fn poll_send(&mut self, which: usize, may: bool) {
        let (number, send) = &mut self.sends[which];
        let polled = send.poll();
        if may {
            assert_eq!(polled, Poll::Ready(Ok(())), "it is the turn of {number}");
            self.rules.items.push_back(*number);
            self.sends.swap_remove(which);
        } else {
            assert_eq!(polled, Poll::Pending, "it is not the turn of {number}");
        }
    }

    fn poll_receive(&mut self, which: usize, may: bool) {
        let (number, receive) = &mut self.receives[which];
        let polled = receive.poll();
        if may {
            let first = self.rules.items.pop_front().expect("there is one");
            assert_eq!(polled, Poll::Ready(Ok(first)), "it is the turn of {number}");
            self.receives.swap_remove(which);
        } else {
            assert_eq!(polled, Poll::Pending, "it is not the turn of {number}");
        }
    }

    /// Does something to the channel, and to the rules.
    fn step(&mut self, number: u32, dice: &mut Dice) {
        let (sends, receives) = (self.sends.len(), self.receives.len());
        match dice.roll(8) {
            0 | 1 => {
                let may = self.rules.has_room();
                if !may {
                    self.rules.senders.waiting.push_back(number);
                }
                self.sends
                    .push((number, Waiting::new(self.tx.send(number))));
                self.poll_send(sends, may);
            }
            2 | 3 => {
                let may = self.rules.has_item();
                if !may {
                    self.rules.receivers.waiting.push_back(number);
                }
                self.receives.push((number, Waiting::new(self.rx.recv())));
                self.poll_receive(receives, may);
            }
            4 if sends > 0 => {
                let which = dice.roll(sends);
                let may = self.rules.senders.take_turn(self.sends[which].0);
                self.poll_send(which, may);
            }
            5 if receives > 0 => {
                let which = dice.roll(receives);
                let may = self.rules.receivers.take_turn(self.receives[which].0);
                self.poll_receive(which, may);
            }
            6 if sends + receives > 0 => {
                let which = dice.roll(sends + receives);
                if which < sends {
                    self.rules.senders.leave(self.sends.remove(which).0);
                } else {
                    let (number, _) = self.receives.remove(which - sends);
                    self.rules.receivers.leave(number);
                }
            }
            7 => {
                let may = self.rules.has_room();
                assert_eq!(self.tx.try_send(number).is_ok(), may);
                if may {
                    self.rules.items.push_back(number);
                }
                self.rules.settle();
                let item = self.rules.has_item().then(|| self.rules.items.pop_front());
                assert_eq!(self.rx.try_recv().ok(), item.flatten());
            }
            _ => {}
        }
        self.rules.settle();
    }

    /// Only those are woken whose turn it is.
    fn check(&self) {
        for (number, send) in &self.sends {
            let has_turn = self.rules.senders.granted.contains(number);
            assert_eq!(send.wakes(), usize::from(has_turn), "of {number}");
        }
        for (number, receive) in &self.receives {
            let has_turn = self.rules.receivers.granted.contains(number);
            assert_eq!(receive.wakes(), usize::from(has_turn), "of {number}");
        }
        assert_eq!(self.rx.len(), self.rules.items.len());
    }
}

/// Case 167. Case 172. Whoever sends, receives, gives up, or tries without waiting, in any order.
#[test]
fn turns_go_to_those_who_came_first_after_any_steps() {
    for seed in 0..2_000 {
        let capacity = 1 + seed % 4;
        let (tx, rx) = channel::bounded(capacity);
        let mut trial = Trial {
            tx: &tx,
            rx: &rx,
            rules: Rules {
                capacity,
                items: VecDeque::new(),
                senders: Line::default(),
                receivers: Line::default(),
            },
            sends: Vec::new(),
            receives: Vec::new(),
        };
        let mut dice = Dice::new(seed);
        for number in 0..60 {
            trial.step(number, &mut dice);
            trial.check();
        }
    }
}

/// When something came, and since when it is known to have been in line.
#[derive(Default)]
struct Stamps {
    came: AtomicUsize,
    /// 0 if it never waited.
    in_line: AtomicUsize,
}

/// The times of things that are served one after the other.
struct Log {
    clock: AtomicUsize,
    stamps: Vec<Stamps>,
}

impl Log {
    fn new(things: usize) -> Arc<Self> {
        let stamps = (0..things).map(|_| Stamps::default()).collect();
        Arc::new(Self {
            clock: AtomicUsize::new(1),
            stamps,
        })
    }

    fn now(&self) -> usize {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// Notes when a future is first polled, and when it has begun to wait.
    async fn watch<F: Future>(&self, number: usize, future: F) -> F::Output {
        let stamps = &self.stamps[number];
        let mut future = pin!(future);
        stamps.came.store(self.now(), Ordering::SeqCst);
        poll_fn(|cx| {
            let polled = future.as_mut().poll(cx);
            if polled.is_pending() && stamps.in_line.load(Ordering::SeqCst) == 0 {
                stamps.in_line.store(self.now(), Ordering::SeqCst);
            }
            polled
        })
        .await
    }

    /// Fails if one was served before another that had been in line when it came.
    fn check(&self, served: &[usize]) {
        let (mut last_came, mut who) = (0, 0);
        for &number in served {
            let stamps = &self.stamps[number];
            let in_line = stamps.in_line.load(Ordering::SeqCst);
            assert!(
                in_line == 0 || in_line > last_came,
                "{who} has overtaken {number}"
            );
            let came = stamps.came.load(Ordering::SeqCst);
            if came > last_came {
                (last_came, who) = (came, number);
            }
        }
    }
}

const SENDERS: usize = 4;

/// Case 182. The items carry the numbers of their sends; with room for one, they come in the order
/// in which the sends got their turns.
#[test]
fn senders_that_wait_are_not_overtaken_by_tasks() {
    const EACH: usize = 8;
    everywhere_at_length(|| async {
        let (tx, rx) = channel::bounded(1);
        let log = Log::new(SENDERS * EACH);
        let mut served = Vec::new();
        group(async |g| {
            for sender in 0..SENDERS {
                let (tx, log) = (tx.clone(), Arc::clone(&log));
                g.spawn(async move {
                    for number in sender * EACH..(sender + 1) * EACH {
                        log.watch(number, tx.send(number)).await?;
                        if number % 3 == sender % 3 {
                            let_others_run().await;
                        }
                    }
                    Ok(())
                });
            }
            drop(tx);
            while let Ok(number) = rx.recv().await {
                served.push(number);
                if number % 5 == 0 {
                    let_others_run().await;
                }
            }
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(served.len(), SENDERS * EACH);
        log.check(&served);
    });
}

/// Case 182. As above, with a thread for each.
#[test]
fn senders_that_wait_are_not_overtaken_by_threads() {
    const EACH: usize = 2_000;
    watched("with threads", || {
        let (tx, rx) = channel::bounded(1);
        let log = Log::new(SENDERS * EACH);
        let served: Vec<_> = thread::scope(|scope| {
            for sender in 0..SENDERS {
                let (tx, log) = (tx.clone(), Arc::clone(&log));
                scope.spawn(move || {
                    for number in sender * EACH..(sender + 1) * EACH {
                        block_on(log.watch(number, tx.send(number))).expect("it is received");
                    }
                });
            }
            drop(tx);
            std::iter::from_fn(|| block_on(rx.recv()).ok()).collect()
        });
        assert_eq!(served.len(), SENDERS * EACH);
        log.check(&served);
    });
}

/// Case 182. The items are numbered as they are sent; with one at a time, they go to the receives in
/// the order in which these got their turns.
#[test]
fn receivers_that_wait_are_not_overtaken_by_threads() {
    const EACH: usize = 2_000;
    watched("with threads", || {
        let (tx, rx) = channel::bounded(1);
        let log = Log::new(SENDERS * EACH);
        let mut got: Vec<(usize, usize)> = thread::scope(|scope| {
            let receivers: Vec<_> = (0..SENDERS)
                .map(|receiver| {
                    let (rx, log) = (rx.clone(), Arc::clone(&log));
                    scope.spawn(move || {
                        let numbers = receiver * EACH..(receiver + 1) * EACH;
                        let receive = |number| block_on(log.watch(number, rx.recv()));
                        numbers
                            .map(|number| (receive(number).expect("there is more"), number))
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            for item in 0..SENDERS * EACH {
                block_on(tx.send(item)).expect("it is received");
            }
            let joined = receivers.into_iter().map(|thread| thread.join());
            joined.flat_map(|got| got.expect("no panic")).collect()
        });
        got.sort_unstable();
        let served: Vec<_> = got.into_iter().map(|(_, number)| number).collect();
        log.check(&served);
    });
}
