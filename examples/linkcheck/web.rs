//! Asking servers whether they have what a link leads to.

mod address;
mod request;

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::Duration,
};

use headcount::{sleep, timeout};
use smol::lock::{OnceCell, Semaphore};

pub(crate) use self::address::Address;
use self::request::{Answer, Method, request};
use crate::{options::Options, site::lock};

/// How many redirects are followed.
const REDIRECTS: usize = 5;

/// How long to wait before the second try. Each further wait is twice as long.
const BACKOFF: Duration = Duration::from_millis(100);

/// What is known about the servers that links lead to.
pub(crate) struct Web {
    timeout: Duration,
    tries: NonZeroUsize,
    connections: Semaphore,
    /// What has been asked for already, since many pages lead to the same address.
    asked: Mutex<HashMap<Address, Arc<OnceCell<Verdict>>>>,
}

/// What an address is worth.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    Sound,
    /// It leads on to a server that cannot be asked.
    Https,
    Broken(String),
}

impl Web {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            timeout: options.timeout,
            tries: options.tries,
            connections: Semaphore::new(options.connections.get()),
            asked: Mutex::default(),
        }
    }

    /// Asks for an address, unless that has been done, or is being done, by another task.
    pub(crate) async fn ask(&self, address: Address) -> Verdict {
        let cell = Arc::clone(lock(&self.asked).entry(address.clone()).or_default());
        // If the task that asks is cancelled, the next one that waits asks in its place.
        cell.get_or_init(|| self.judge(&address)).await.clone()
    }

    /// Asks for an address, in the time that there is for a link.
    async fn judge(&self, address: &Address) -> Verdict {
        // The wait for a free connection is not the server's fault, so it is not in its time.
        let _connection = self.connections.acquire().await;
        let mut last = None;
        let judged = timeout(self.timeout, self.persist(address, &mut last)).await;
        judged.unwrap_or_else(|timed_out| {
            let tried = last.map_or(String::new(), |error| format!(", after {error}"));
            Verdict::Broken(format!("{timed_out}{tried}"))
        })
    }

    /// Asks again if the answer says that this might help.
    async fn persist(&self, address: &Address, last: &mut Option<String>) -> Verdict {
        let mut backoff = BACKOFF;
        for again in (0..self.tries.get()).rev() {
            let error = match follow(address).await {
                Ok(verdict) => return verdict,
                Err(error) => error,
            };
            if again == 0 {
                return Verdict::Broken(error);
            }
            *last = Some(error);
            sleep(backoff).await;
            backoff = backoff.saturating_mul(2);
        }
        unreachable!("the last try returns")
    }
}

/// Asks for an address, and for where it leads to from there.
///
/// Fails with a message if another try may have more luck.
async fn follow(address: &Address) -> Result<Verdict, String> {
    let mut address = address.clone();
    for _ in 0..=REDIRECTS {
        let mut answer = request(Method::Head, &address).await?;
        // Some servers know nothing but GET.
        if matches!(answer.status, 405 | 501) {
            answer = request(Method::Get, &address).await?;
        }
        match answer {
            Answer {
                status: 200..=299, ..
            } => return Ok(Verdict::Sound),
            Answer {
                status: 301 | 302 | 303 | 307 | 308,
                location: Some(location),
            } if Address::is_https(&location) => return Ok(Verdict::Https),
            Answer {
                status: 301 | 302 | 303 | 307 | 308,
                location: Some(location),
            } => match address.resolve(&location) {
                Ok(next) => address = next,
                Err(why) => {
                    return Ok(Verdict::Broken(format!("redirected to {location}: {why}")));
                }
            },
            Answer { status, .. } if matches!(status, 408 | 429 | 500..=599) => {
                return Err(format!("the server answers {status}"));
            }
            Answer { status, .. } => {
                return Ok(Verdict::Broken(format!("the server answers {status}")));
            }
        }
    }
    Ok(Verdict::Broken(format!(
        "redirected more than {REDIRECTS} times"
    )))
}
