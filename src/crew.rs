//! Crews: futures that run concurrently on one task, each under a frame of its own.
//!
//! Everything that waits for several futures at once is built on this: gathers, races, streams with
//! concurrent work. The futures of a crew are its *hands*. They may borrow, need not be `Send`, and
//! are not tasks: they belong to the task that polls the crew.
//!
//! - Each hand has its own waker, so a wake-up costs one poll, however large the crew is.
//! - Each hand is a frame, so it can be cancelled on its own: one with something protected inside is
//!   polled on until that has ended, any other is dropped at once.
//! - The crew is a frame round its hands. It is protected as long as any hand is busy, so that a
//!   cancellation from further out leaves it the time to see them out; a crew of hands that protect
//!   nothing costs the frames around it nothing, and is dropped as a whole.

mod hand;
mod roster;

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project::{pin_project, pinned_drop};

use self::roster::Roster;
pub(crate) use self::{
    hand::{Ending, Hand},
    roster::Bell,
};
use crate::{
    error::{Cause, Panic},
    frame::{self, Anchor, Role},
};

/// Where the hands of a crew are kept, by number.
///
/// A tuple keeps them in place, a [`Vec`] keeps each in a box of its own. Only this crate implements
/// it.
#[expect(
    unnameable_types,
    reason = "a hidden part of traits that are implemented here only"
)]
pub trait Hands {
    /// What a hand comes out with.
    type Output;

    /// How many numbers there are. A hand that is gone keeps its number.
    fn count(&self) -> usize;

    /// Polls a hand. One that is gone is pending for ever.
    fn poll_hand(
        self: Pin<&mut Self>,
        index: usize,
        bell: &Arc<Bell>,
    ) -> Poll<Ending<Self::Output>>;

    /// Cancels a hand. It has to be polled afterwards.
    fn cancel_hand(self: Pin<&mut Self>, index: usize);

    /// Gives a hand a new frame, unless something protected is alive in it.
    fn renew_hand(self: Pin<&mut Self>, index: usize);

    /// Whether nothing protected is alive in a hand.
    fn is_idle(self: Pin<&mut Self>, index: usize) -> bool;

    /// Drops a hand where it stands. Returns the panic of its destructor.
    fn clear_hand(self: Pin<&mut Self>, index: usize) -> Result<(), Panic>;
}

/// Hands that come and go.
pub(crate) type Boxed<F> = Vec<Option<Pin<Box<Hand<F>>>>>;

/// What a crew does when its surroundings are cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attitude {
    /// It cancels all hands at once. For futures, which have no other life than this.
    Wholehearted,
    /// It polls only the hands that protect something, and keeps the others as they are. For
    /// streams: what was cancelled may be no more than the wait for one item.
    Reserved,
}

/// Futures that run concurrently on the task that polls them.
#[pin_project(PinnedDrop)]
pub(crate) struct Crew<S: Hands> {
    #[pin]
    hands: S,
    anchor: Anchor,
    roster: Arc<Roster>,
    /// The wakers, by number.
    bells: Vec<Arc<Bell>>,
    /// The hands that are polled in this round and have not been yet.
    round: VecDeque<usize>,
    /// Numbers of hands that are gone, to be used again.
    free: Vec<usize>,
    /// How many hands are not gone.
    live: usize,
    attitude: Attitude,
    /// Whether hands that are ready are polled in the order of their numbers.
    keeps_order: bool,
    /// Whether all hands have been cancelled.
    is_cancelled: bool,
    /// Whether hands have been polled, or passed over, while the surroundings were cancelled: what
    /// they wait for may not know them.
    is_stale: bool,
}

impl<S: Hands> Crew<S> {
    /// A crew of hands that were there before it.
    pub(crate) fn new(hands: S, attitude: Attitude) -> Self {
        let roster = Arc::<Roster>::default();
        let count = hands.count();
        let bell = |index| Bell::new(&roster, index);
        Self {
            bells: (0..count).map(bell).collect(),
            round: (0..count).collect(),
            free: Vec::new(),
            live: count,
            hands,
            // Like a finalizer it is protected itself, and what is busy in it concerns nobody else.
            anchor: Anchor::new(Role::Finalizer),
            roster,
            attitude,
            keeps_order: false,
            is_cancelled: false,
            is_stale: false,
        }
    }

    /// How many hands are not gone.
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    /// Waits for the next hand to be gone. `None` once all are.
    ///
    /// Polls every hand that is ready, once each, in the order in which they became ready, and stops
    /// at the first that ends: the others keep their turn for the next call. With
    /// [`end_of_round`](Self::end_of_round) they can be had in the same poll.
    pub(crate) fn poll_ended(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<(usize, Ending<S::Output>)>> {
        let mut this = self.project();
        if *this.live == 0 {
            this.anchor.unprotect();
            return Poll::Ready(None);
        }
        this.anchor.settle();
        if this.round.is_empty() {
            this.roster.take_ready(this.round);
            if *this.keeps_order {
                this.round.make_contiguous().sort_unstable();
            }
        }
        let mut cancelled = frame::cancelled();
        if *this.is_stale && !cancelled {
            *this.is_stale = false;
            // The mark of a cancellation stays on a node for ever. This one is over for the crew.
            *this.anchor = Anchor::new(Role::Finalizer);
            for index in 0..this.hands.count() {
                this.hands.as_mut().renew_hand(index);
            }
            give_all_a_turn(&*this.hands, this.round);
        }
        loop {
            if cancelled && !*this.is_cancelled && *this.attitude == Attitude::Wholehearted {
                *this.is_cancelled = true;
                cancel_hands(this.hands.as_mut(), this.round);
            }
            let only_busy = cancelled && !*this.is_cancelled;
            let (hands, round, bells) = (&mut this.hands, &mut *this.round, &*this.bells);
            let run = || run_round(hands.as_mut(), round, bells, only_busy);
            let ended = this.anchor.within(None, run);
            if let Some(ended) = ended {
                *this.live -= 1;
                this.free.push(ended.0);
                this.anchor.unprotect();
                return Poll::Ready(Some(ended));
            }
            if this.anchor.is_idle() {
                this.anchor.unprotect();
            } else {
                this.anchor.watch(cx.waker());
                this.anchor.protect();
            }
            // A hand may have cancelled the surroundings, or another thread has meanwhile.
            cancelled = frame::cancelled();
            let is_decided = *this.is_cancelled || *this.attitude == Attitude::Reserved;
            if is_decided || !cancelled {
                break;
            }
        }
        // What is cancelled does not act, and does not leave its waker anywhere either.
        *this.is_stale |= *this.attitude == Attitude::Reserved && frame::due();
        this.roster.wait(cx.waker());
        Poll::Pending
    }

    /// Goes on with the round in which a hand has ended. `None` once all that were ready have had
    /// their turn.
    pub(crate) fn end_of_round(self: Pin<&mut Self>) -> Option<(usize, Ending<S::Output>)> {
        let this = self.project();
        let only_busy = *this.attitude == Attitude::Reserved && frame::cancelled();
        *this.is_stale |= only_busy;
        let (mut hands, round, bells) = (this.hands, this.round, &*this.bells);
        let run = || run_round(hands.as_mut(), round, bells, only_busy);
        let ended = this.anchor.within(None, run);
        if let Some((index, _)) = &ended {
            *this.live -= 1;
            this.free.push(*index);
        }
        ended
    }

    /// Has another hand polled first than the first one: `choose` one of so many. Before the first
    /// poll.
    pub(crate) fn begin_with(self: Pin<&mut Self>, choose: impl FnOnce(usize) -> usize) {
        let round = self.project().round;
        if round.len() > 1 {
            round.rotate_left(choose(round.len()));
        }
    }

    /// Has the hands polled in the order of their numbers, not in that in which they become ready.
    pub(crate) fn keep_order(self: Pin<&mut Self>) {
        *self.project().keeps_order = true;
    }

    /// Cancels all hands. Those that protect nothing are dropped, without being polled, by the next
    /// calls of [`poll_ended`](Self::poll_ended).
    pub(crate) fn cancel(self: Pin<&mut Self>) {
        let this = self.project();
        if !std::mem::replace(this.is_cancelled, true) {
            cancel_hands(this.hands, this.round);
        }
    }

    /// Waits for a frame further out to drop the crew: its hands were cut from out there, and it has
    /// nothing to say.
    ///
    /// # Panics
    ///
    /// Panics if there is no such frame any more.
    pub(crate) fn leave_it<T>(self: Pin<&mut Self>) -> Poll<T> {
        self.project().anchor.unprotect();
        assert!(frame::due(), "{STRAY}");
        Poll::Pending
    }
}

/// What went wrong if the scope that cut the hands does not drop the crew.
const STRAY: &str = "futures that run concurrently were waited for again after they were done, or \
    after a scope around them had been cut. Do not go on with a future after a timeout or another \
    scope around an earlier poll of it was cut";

/// Polls the hands of a round until one ends. With `only_busy`, those that protect nothing are passed
/// over.
fn run_round<S: Hands>(
    mut hands: Pin<&mut S>,
    round: &mut VecDeque<usize>,
    bells: &[Arc<Bell>],
    only_busy: bool,
) -> Option<(usize, Ending<S::Output>)> {
    while let Some(index) = round.pop_front() {
        if only_busy && hands.as_mut().is_idle(index) {
            continue;
        }
        if let Poll::Ready(ending) = hands.as_mut().poll_hand(index, &bells[index]) {
            return Some((index, ending));
        }
    }
    None
}

/// Cancels all hands and gives each a turn in this round.
fn cancel_hands<S: Hands>(mut hands: Pin<&mut S>, round: &mut VecDeque<usize>) {
    let count = hands.count();
    for index in 0..count {
        hands.as_mut().cancel_hand(index);
    }
    give_all_a_turn(&*hands, round);
}

fn give_all_a_turn<S: Hands>(hands: &S, round: &mut VecDeque<usize>) {
    round.clear();
    round.extend(0..hands.count());
}

impl<F: Future> Crew<Boxed<F>> {
    /// Takes a new hand on. Returns its number.
    pub(crate) fn push(&mut self, future: F) -> usize {
        let index = self.free.pop().unwrap_or_else(|| {
            self.hands.push(None);
            self.hands.len() - 1
        });
        if index == self.bells.len() {
            self.bells.push(Bell::new(&self.roster, index));
            self.roster.add(index);
        } else {
            self.bells[index].ring();
        }
        self.hands[index] = Some(Box::pin(Hand::new(future)));
        self.live += 1;
        index
    }

    /// The futures of the hands that are not gone.
    pub(crate) fn hands(&self) -> impl Iterator<Item = &F> {
        self.hands.iter().flatten().filter_map(|hand| hand.future())
    }
}

#[pinned_drop]
impl<S: Hands> PinnedDrop for Crew<S> {
    /// Drops the hands that are left there and then, each under its own catch.
    fn drop(self: Pin<&mut Self>) {
        let mut this = self.project();
        if *this.live == 0 {
            return;
        }
        let mut first = None;
        let hands = &mut this.hands;
        this.anchor.within(None, || {
            for index in 0..hands.count() {
                match hands.as_mut().clear_hand(index) {
                    Err(panic) if first.is_none() => first = Some(panic),
                    Err(panic) => frame::report_panic(panic),
                    Ok(()) => {}
                }
            }
        });
        if let Some(panic) = first {
            frame::rethrow(panic);
        }
    }
}

impl<F: Future> Hands for Boxed<F> {
    type Output = F::Output;

    fn count(&self) -> usize {
        self.len()
    }

    fn poll_hand(
        self: Pin<&mut Self>,
        index: usize,
        bell: &Arc<Bell>,
    ) -> Poll<Ending<Self::Output>> {
        let slot = &mut self.get_mut()[index];
        let Some(hand) = slot else {
            return Poll::Pending;
        };
        let polled = hand.as_mut().poll(bell);
        if polled.is_ready() {
            *slot = None;
        }
        polled
    }

    fn cancel_hand(self: Pin<&mut Self>, index: usize) {
        if let Some(hand) = &mut self.get_mut()[index] {
            hand.as_mut().cancel();
        }
    }

    fn renew_hand(self: Pin<&mut Self>, index: usize) {
        if let Some(hand) = &mut self.get_mut()[index] {
            hand.as_mut().renew();
        }
    }

    fn is_idle(self: Pin<&mut Self>, index: usize) -> bool {
        let hand = self.get_mut()[index].as_mut();
        hand.is_none_or(|hand| hand.as_mut().is_idle())
    }

    fn clear_hand(self: Pin<&mut Self>, index: usize) -> Result<(), Panic> {
        match self.get_mut()[index].take() {
            Some(mut hand) => hand.as_mut().clear(),
            None => Ok(()),
        }
    }
}

/// Why the hands of a crew are cancelled by the crew itself.
pub(super) const WHY: Cause = Cause::Requested(None);
