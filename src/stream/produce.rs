//! Streams made by code that produces their items.

use std::{
    collections::VecDeque,
    error::Error as StdError,
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use futures_lite::Stream;

use crate::{
    crew::{Attitude, Boxed, Crew, Ending},
    error::catch,
    frame,
    lock::Mutex,
};

/// Makes a stream of what a piece of code sends.
///
/// The safe form of an asynchronous generator: `producer` gets a [`Producer`] and sends items into
/// it, and the stream yields them in that order. It runs on the task of whoever polls the stream,
/// while it does, and may borrow. When `capacity` items are waiting, sending waits.
///
/// The stream ends when the producer does. If the producer returns an error, it comes after all
/// items that were sent before it, and then the stream ends. A consumer that has enough calls
/// [`Produce::cancel`], which cancels the producer and waits for its cleanup; one that drops the
/// stream drops the producer where it stands.
///
/// # Panics
///
/// Panics if `capacity` is 0: there would be no place for an item to be put. A panic of the producer
/// goes on from the poll that comes to it, after the items that were sent before.
///
/// # Cancel safety
///
/// Waiting for an item may be given up and taken up again, also when a [`timeout`](crate::timeout)
/// gives it up; but what such a timeout finds protected in the producer, it waits for, and groups
/// and finalizers in there it cancels.
///
/// # Examples
///
/// ```
/// use futures_lite::StreamExt;
/// use headcount::{Error, produce, run};
///
/// let pages = produce(2, async |pages| {
///     for page in 1..=3 {
///         pages.send(page).await?; // Fetch it here.
///     }
///     Err(Error::from("no page 4"))
/// });
///
/// run(async {
///     let pages: Vec<_> = pages.collect().await;
///     assert_eq!(pages.len(), 4);
///     assert_eq!(*pages[2].as_ref().unwrap(), 3);
///     assert_eq!(pages[3].as_ref().unwrap_err().to_string(), "no page 4");
/// });
/// ```
#[doc(alias = "stream_fn")]
#[doc(alias = "generator")]
#[track_caller]
pub fn produce<T, E, F, Fut>(capacity: usize, producer: F) -> Produce<T, Fut>
where
    F: FnOnce(Producer<T>) -> Fut,
    Fut: Future<Output = Result<(), E>>,
{
    assert!(
        capacity > 0,
        "a capacity of 0 leaves no place for an item to be put; use at least 1"
    );
    let belt = Arc::new(Belt {
        state: Mutex::new(State {
            items: VecDeque::new(),
            senders: VecDeque::new(),
            next_ticket: 0,
            consumer: None,
            is_closed: false,
        }),
        capacity,
    });
    let mut crew = Crew::new(Vec::new(), Attitude::Reserved);
    crew.push(producer(Producer {
        belt: Arc::clone(&belt),
    }));
    Produce {
        belt,
        crew,
        ending: None,
    }
}

/// What is between the producer and the consumer.
struct Belt<T> {
    state: Mutex<State<T>>,
    capacity: usize,
}

struct State<T> {
    items: VecDeque<T>,
    /// Who waits for a place, in order of arrival.
    senders: VecDeque<(u64, Option<Waker>)>,
    next_ticket: u64,
    consumer: Option<Waker>,
    /// Whether the stream is gone.
    is_closed: bool,
}

impl<T> Belt<T> {
    /// Takes the next item. Wakes the sender that gets its place.
    fn take(&self) -> Option<T> {
        let (item, waker) = {
            let mut state = self.state.lock();
            let item = state.items.pop_front();
            let free = self.capacity - state.items.len();
            let next = state.senders.iter_mut().take(free);
            let wakers: Vec<_> = next.filter_map(|(_, waker)| waker.take()).collect();
            (item, wakers)
        };
        frame::wake(waker);
        item
    }

    fn wait(&self, cx: &Context<'_>) {
        let mut waker = Some(cx.waker().clone());
        mem::swap(&mut self.state.lock().consumer, &mut waker);
        drop(waker);
    }

    fn close(&self) -> VecDeque<T> {
        let (items, senders) = {
            let mut state = self.state.lock();
            state.is_closed = true;
            (mem::take(&mut state.items), mem::take(&mut state.senders))
        };
        frame::wake(senders.into_iter().filter_map(|(_, waker)| waker));
        items
    }
}

/// The stream returned by [`produce`].
#[must_use = "streams do nothing unless polled"]
pub struct Produce<T, Fut: Future> {
    belt: Arc<Belt<T>>,
    /// The producer.
    crew: Crew<Boxed<Fut>>,
    /// How the producer ended, until that has been told.
    ending: Option<Ending<Fut::Output>>,
}

impl<T, Fut: Future> Unpin for Produce<T, Fut> {}

impl<T, Fut: Future> Produce<T, Fut> {
    /// Cancels the producer and waits until it is gone, shields and finalizers included.
    ///
    /// Items that were not taken are dropped, and so is an error that it still comes to.
    ///
    /// # Panics
    ///
    /// A panic of the producer goes on from here.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the producer where it stands.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_lite::StreamExt;
    /// use headcount::{Error, finally, produce, run};
    /// use std::cell::Cell;
    ///
    /// let closed = Cell::new(false);
    /// run(async {
    ///     let mut numbers = produce(1, async |numbers| {
    ///         let count = async {
    ///             for n in 0.. {
    ///                 numbers.send(n).await?;
    ///             }
    ///             Ok::<_, Error>(())
    ///         };
    ///         finally(count, async { closed.set(true) }).await
    ///     });
    ///     assert_eq!(numbers.next().await.unwrap().unwrap(), 0);
    ///     numbers.cancel().await;
    /// });
    /// assert!(closed.get());
    /// ```
    pub async fn cancel(mut self) {
        drop(self.belt.close());
        Pin::new(&mut self.crew).cancel();
        let crew = &mut self.crew;
        let ended = std::future::poll_fn(|cx| Pin::new(&mut *crew).poll_ended(cx)).await;
        let endings = ended
            .map(|(_, ending)| ending)
            .into_iter()
            .chain(self.ending.take());
        for ending in endings {
            if let Ending::Panicked(panic) = ending {
                panic.resume();
            }
        }
    }
}

impl<T, E, Fut> Stream for Produce<T, Fut>
where
    Fut: Future<Output = Result<(), E>>,
{
    type Item = Result<T, E>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        // First, so that a place that has come free is filled while the consumer is at work, and so
        // that what the producer leaves for another task to send is not waited for in vain.
        this.belt.wait(cx);
        if let Poll::Ready(Some((_, ending))) = Pin::new(&mut this.crew).poll_ended(cx) {
            this.ending = Some(ending);
        }
        if let Some(item) = this.belt.take() {
            return Poll::Ready(Some(Ok(item)));
        }
        if this.crew.live() > 0 {
            return Poll::Pending;
        }
        Poll::Ready(match this.ending.take() {
            Some(Ending::Value(Err(error))) => Some(Err(error)),
            Some(Ending::Panicked(panic)) => panic.resume(),
            Some(Ending::Value(Ok(())) | Ending::Cut) | None => None,
        })
    }
}

impl<T, Fut: Future> Drop for Produce<T, Fut> {
    fn drop(&mut self) {
        // The destructor of an item may panic; the producer is dropped all the same.
        let items = self.belt.close();
        if let Err(panic) = catch(|| drop(items)) {
            frame::rethrow(panic);
        }
    }
}

impl<T, Fut: Future> fmt::Debug for Produce<T, Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Produce")
            .field("capacity", &self.belt.capacity)
            .finish_non_exhaustive()
    }
}

/// Where the producer of a [`produce`] stream sends its items.
///
/// It can be cloned, and given to tasks. Those who wait for a place get it in the order in which they
/// came.
///
/// # Examples
///
/// See [`produce`].
pub struct Producer<T> {
    belt: Arc<Belt<T>>,
}

impl<T> Producer<T> {
    /// Sends an item, as soon as there is a place for it.
    ///
    /// # Errors
    ///
    /// Fails with [`ConsumerGone`], which gives the item back, if the stream is gone. The producer
    /// itself does not see that, being dropped or cancelled with the stream; what it gave its
    /// `Producer` to does.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is done, the item was not sent. In a scope that has been
    /// cancelled nothing is sent any more.
    ///
    /// # Examples
    ///
    /// See [`produce`].
    pub fn send(&self, item: T) -> Sending<'_, T> {
        Sending {
            belt: &self.belt,
            item: Some(item),
            ticket: None,
        }
    }
}

impl<T> Clone for Producer<T> {
    fn clone(&self) -> Self {
        Self {
            belt: Arc::clone(&self.belt),
        }
    }
}

impl<T> fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("capacity", &self.belt.capacity)
            .finish_non_exhaustive()
    }
}

/// The future returned by [`Producer::send`].
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Sending<'a, T> {
    belt: &'a Belt<T>,
    /// `None` once it has been sent.
    item: Option<T>,
    /// The place among those who wait.
    ticket: Option<u64>,
}

impl<T> Unpin for Sending<'_, T> {}

impl<T> Sending<'_, T> {
    /// Stops waiting. The place goes to the next who waits.
    fn withdraw(&mut self) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        let wakers: (Option<Waker>, Vec<Waker>) = {
            let mut state = self.belt.state.lock();
            let place = state.senders.iter().position(|(known, _)| *known == ticket);
            let mine = place.and_then(|place| state.senders.remove(place)?.1);
            let free = self.belt.capacity - state.items.len().min(self.belt.capacity);
            let next = state.senders.iter_mut().take(free);
            (mine, next.filter_map(|(_, waker)| waker.take()).collect())
        };
        let (mine, next) = wakers;
        drop(mine);
        frame::wake(next);
    }
}

impl<T> Future for Sending<'_, T> {
    type Output = Result<(), ConsumerGone<T>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if frame::cancelled() {
            self.withdraw();
            return Poll::Pending;
        }
        let this = &mut *self;
        let Some(item) = this.item.take() else {
            return Poll::Pending;
        };
        let mut waker = Some(cx.waker().clone());
        let (polled, consumer) = {
            let mut state = this.belt.state.lock();
            if state.is_closed {
                (Poll::Ready(Err(ConsumerGone(item))), None)
            } else {
                let free = this.belt.capacity - state.items.len().min(this.belt.capacity);
                let place = match this.ticket {
                    Some(ticket) => state.senders.iter().position(|(known, _)| *known == ticket),
                    None => None,
                };
                if place.unwrap_or(state.senders.len()) < free {
                    if let Some(place) = place {
                        state.senders.remove(place);
                        this.ticket = None;
                    }
                    state.items.push_back(item);
                    (Poll::Ready(Ok(())), state.consumer.take())
                } else {
                    this.item = Some(item);
                    match place {
                        Some(place) => mem::swap(&mut state.senders[place].1, &mut waker),
                        None => {
                            let ticket = state.next_ticket;
                            state.next_ticket += 1;
                            state.senders.push_back((ticket, waker.take()));
                            this.ticket = Some(ticket);
                        }
                    }
                    (Poll::Pending, None)
                }
            }
        };
        drop(waker);
        frame::wake(consumer);
        polled
    }
}

impl<T> Drop for Sending<'_, T> {
    fn drop(&mut self) {
        self.withdraw();
    }
}

impl<T> fmt::Debug for Sending<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending")
            .field("is_waiting", &self.ticket.is_some())
            .finish_non_exhaustive()
    }
}

/// What [`Producer::send`] yields when the stream is gone. It gives the item back.
pub struct ConsumerGone<T>(pub T);

impl<T> fmt::Debug for ConsumerGone<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerGone").finish_non_exhaustive()
    }
}

impl<T> fmt::Display for ConsumerGone<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the stream that the item was sent to is gone")
    }
}

impl<T> StdError for ConsumerGone<T> {}
