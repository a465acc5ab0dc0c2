//! A limit that can be moved, for work of different weights.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use super::ledger::{Claim, Ledger};

/// A limit on how much is done at the same time, that can be moved while work is under way.
///
/// Like a [`Semaphore`](super::Semaphore), with three differences: the limit can be raised and
/// lowered, tasks may count for different amounts, and a limiter is a handle that is cloned. For a
/// budget of connections or of memory that follows the load.
///
/// Whoever waits is let in first come, first served, whatever the weight: a heavy request at the
/// head of the line is not overtaken by light ones.
///
/// # Examples
///
/// ```
/// use headcount::{run, sync::Limiter};
///
/// let megabytes = Limiter::new(100);
/// run(async {
///     let _picture = megabytes.acquire_weight(60).await;
///     assert!(megabytes.try_acquire_weight(60).is_none());
///     megabytes.set_limit(200);
///     assert!(megabytes.try_acquire_weight(60).is_some());
/// });
/// ```
#[derive(Clone, Debug)]
pub struct Limiter {
    ledger: Arc<Ledger>,
}

impl Limiter {
    /// Makes a limiter.
    ///
    /// # Panics
    ///
    /// Panics if the limit is 0: nobody would ever get in.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::Limiter;
    ///
    /// assert_eq!(Limiter::new(4).limit(), 4);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn new(limit: usize) -> Self {
        check_limit(limit);
        Self {
            ledger: Arc::new(Ledger::new(limit)),
        }
    }

    /// Waits until there is room for a weight of 1.
    ///
    /// The room is given back when the permit is dropped.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up its place in line. If it had been let in already, the next in
    /// line is.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{run, sync::Limiter};
    ///
    /// let limiter = Limiter::new(1);
    /// run(async {
    ///     let _permit = limiter.acquire().await;
    ///     assert_eq!(limiter.in_use(), 1);
    /// });
    /// assert_eq!(limiter.in_use(), 0);
    /// ```
    pub fn acquire(&self) -> LimiterAcquired {
        LimiterAcquired {
            limiter: self.clone(),
            claim: Claim::new(1),
        }
    }

    /// Waits until there is room for this weight.
    ///
    /// If the limit is lowered below the weight during the wait, the request is let in once nothing
    /// else is in use; it does not block the line for ever.
    ///
    /// # Panics
    ///
    /// Panics if the weight is 0, or larger than the limit is now.
    ///
    /// # Cancel safety
    ///
    /// As of [`acquire`](Self::acquire).
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::{run, sync::Limiter};
    ///
    /// let limiter = Limiter::new(5);
    /// run(async {
    ///     let permit = limiter.acquire_weight(3).await;
    ///     assert_eq!((permit.weight(), limiter.in_use()), (3, 3));
    /// });
    /// ```
    #[track_caller]
    pub fn acquire_weight(&self, weight: usize) -> LimiterAcquired {
        self.check_weight(weight);
        LimiterAcquired {
            limiter: self.clone(),
            claim: Claim::new(weight),
        }
    }

    /// Takes a weight of 1 if there is room and nobody waits for it.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::Limiter;
    ///
    /// let limiter = Limiter::new(1);
    /// let permit = limiter.try_acquire();
    /// assert!(permit.is_some() && limiter.try_acquire().is_none());
    /// ```
    #[must_use = "the room is given back when the permit is dropped"]
    pub fn try_acquire(&self) -> Option<LimiterPermit> {
        self.try_take(1)
    }

    /// Takes this weight if there is room and nobody waits for it.
    ///
    /// # Panics
    ///
    /// Panics if the weight is 0, or larger than the limit is now.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::Limiter;
    ///
    /// let limiter = Limiter::new(5);
    /// let three = limiter.try_acquire_weight(3);
    /// assert!(three.is_some() && limiter.try_acquire_weight(3).is_none());
    /// ```
    #[track_caller]
    #[must_use = "the room is given back when the permit is dropped"]
    pub fn try_acquire_weight(&self, weight: usize) -> Option<LimiterPermit> {
        self.check_weight(weight);
        self.try_take(weight)
    }

    /// Returns the limit.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::Limiter;
    ///
    /// assert_eq!(Limiter::new(4).limit(), 4);
    /// ```
    #[must_use]
    pub fn limit(&self) -> usize {
        self.ledger.limit()
    }

    /// Moves the limit.
    ///
    /// A higher one lets in those who wait, in order, at once. A lower one takes nothing away from
    /// anybody: if more is in use than the new limit allows, nobody is let in until enough of it
    /// has been given back.
    ///
    /// # Panics
    ///
    /// Panics if the limit is 0: nobody would ever get in.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::Limiter;
    ///
    /// let limiter = Limiter::new(2);
    /// let permits = [limiter.try_acquire(), limiter.try_acquire()];
    /// limiter.set_limit(1);
    /// assert_eq!((limiter.in_use(), limiter.limit()), (2, 1));
    ///
    /// let [_kept, given_back] = permits;
    /// drop(given_back);
    /// assert!(limiter.try_acquire().is_none());
    /// ```
    #[track_caller]
    pub fn set_limit(&self, limit: usize) {
        check_limit(limit);
        self.ledger.set_limit(limit);
    }

    /// Returns how much is in use: the weights of all permits.
    ///
    /// More than the [limit](Self::limit) after that was lowered.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::Limiter;
    ///
    /// let limiter = Limiter::new(5);
    /// let _permit = limiter.try_acquire_weight(3);
    /// assert_eq!(limiter.in_use(), 3);
    /// ```
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.ledger.used()
    }

    /// Returns how much a newcomer could take now: nothing while others wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::Limiter;
    ///
    /// assert_eq!(Limiter::new(5).available(), 5);
    /// ```
    #[must_use]
    pub fn available(&self) -> usize {
        self.ledger.available()
    }

    /// Returns how many tasks wait to be let in.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::Limiter;
    ///
    /// assert_eq!(Limiter::new(5).waiting(), 0);
    /// ```
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.ledger.waiting()
    }

    /// Refuses a weight that there cannot be room for.
    #[track_caller]
    fn check_weight(&self, weight: usize) {
        assert!(
            weight > 0,
            "a weight of 0 is not limited by anything; give it a weight, or do not acquire it"
        );
        let limit = self.limit();
        assert!(
            weight <= limit,
            "a weight of {weight} does not fit under a limit of {limit}; split the work, or raise \
             the limit first"
        );
    }

    fn try_take(&self, weight: usize) -> Option<LimiterPermit> {
        self.ledger.try_take(weight).then(|| LimiterPermit {
            limiter: self.clone(),
            weight,
        })
    }
}

#[track_caller]
fn check_limit(limit: usize) {
    assert!(
        limit > 0,
        "a limit of 0 lets nobody in; to hold work back for a while, acquire all of the limit"
    );
}

/// Room under the limit of a [`Limiter`]. Given back when dropped.
#[derive(Debug)]
#[must_use = "the room is given back when the permit is dropped; keep it in a variable"]
pub struct LimiterPermit {
    limiter: Limiter,
    weight: usize,
}

impl LimiterPermit {
    /// Returns how much of the limit this takes up.
    ///
    /// # Examples
    ///
    /// ```
    /// use headcount::sync::Limiter;
    ///
    /// assert_eq!(Limiter::new(5).try_acquire_weight(3).unwrap().weight(), 3);
    /// ```
    #[must_use]
    pub fn weight(&self) -> usize {
        self.weight
    }
}

impl Drop for LimiterPermit {
    fn drop(&mut self) {
        self.limiter.ledger.give_back(self.weight);
    }
}

/// The future returned by [`Limiter::acquire`] and [`Limiter::acquire_weight`].
#[derive(Debug)]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct LimiterAcquired {
    limiter: Limiter,
    claim: Claim,
}

impl Future for LimiterAcquired {
    type Output = LimiterPermit;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<LimiterPermit> {
        let Self { limiter, claim } = &mut *self;
        ready!(claim.poll(&limiter.ledger, cx));
        Poll::Ready(LimiterPermit {
            limiter: limiter.clone(),
            weight: claim.units(),
        })
    }
}

impl Drop for LimiterAcquired {
    fn drop(&mut self) {
        self.claim.withdraw(&self.limiter.ledger);
    }
}
