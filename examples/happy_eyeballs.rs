//! Happy Eyeballs (RFC 8305): connecting to whichever address of a server answers first.
//!
//! A name often has several addresses, and the first may be one that never answers. So the next is
//! tried after a short delay, or at once when the one before it fails, without giving up on those
//! that are under way. The first connection wins; the other attempts are cancelled, and are gone
//! when the function returns.
//!
//! Run it with `cargo run --example happy_eyeballs`, on Linux: it takes a listener there that is so
//! busy that it does not answer. It prints
//!
//! ```text
//! the first never answers: 127.0.0.1:… after 250 ms
//! the first refuses: 127.0.0.1:…, at once
//! all refuse: task group "connect" (…) failed
//! ├─ task #9 (…): 127.0.0.1:… cannot be reached
//! │  caused by: Connection refused (os error 111)
//! └─ task #10 (…): 127.0.0.1:… cannot be reached
//!    caused by: Connection refused (os error 111)
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    error::Error as StdError,
    fmt, io,
    net::{self, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    sync::Mutex,
    time::Duration,
};

use headcount::{ErrorGroup, Policy, TaskGroup, now, run, timeout};
use smol::net::TcpStream;

/// How long to wait before the next attempt, as the RFC recommends.
const DELAY: Duration = Duration::from_millis(250);

/// An attempt that failed.
#[derive(Debug)]
struct Unreachable {
    address: SocketAddr,
    source: io::Error,
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be reached", self.address)
    }
}

impl StdError for Unreachable {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.source)
    }
}

/// Connects to one of the addresses. If none can be reached, every failure is in the error.
async fn connect(addresses: &[SocketAddr], delay: Duration) -> Result<TcpStream, ErrorGroup> {
    let winner = &Mutex::new(None);
    let attempts = TaskGroup::builder()
        .name("connect")
        // One that fails leaves the others alone.
        .policy(Policy::Collect)
        .run(async |g| {
            for address in interleave(addresses) {
                let group = g.clone();
                let attempt = g.spawn_local(async move {
                    let stream = TcpStream::connect(address).await;
                    let stream = stream.map_err(|source| Unreachable { address, source })?;
                    winner.lock().expect("nobody panics").get_or_insert(stream);
                    group.cancel();
                    Ok(())
                });
                // Ends early if the attempt fails. If the time is up the attempt goes on.
                timeout(delay, attempt).await.ok();
            }
            Ok(())
        });
    let ended = attempts.await;
    let stream = winner.lock().expect("nobody panics").take();
    match stream {
        Some(stream) => Ok(stream),
        None => Err(ended.expect_err("an attempt that does not win fails")),
    }
}

/// Sorts addresses so that the two families take turns, the first one's first.
fn interleave(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (preferred, others): (Vec<_>, Vec<_>) = addresses
        .iter()
        .copied()
        .partition(|address| address.is_ipv6() == first);
    let (mut preferred, mut others) = (preferred.into_iter(), others.into_iter());
    let mut sorted = Vec::new();
    while sorted.len() < addresses.len() {
        sorted.extend(preferred.next());
        sorted.extend(others.next());
    }
    sorted
}

fn main() -> io::Result<()> {
    let good = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let good = good.local_addr()?;
    let busy = Busy::start()?;
    let closed = closed_port()?;
    run(async {
        let begin = now();
        let stream = connect(&[busy.address, good], DELAY).await;
        let stream = stream.expect("the second answers");
        let took = now() - begin;
        println!(
            "the first never answers: {good} after {} ms",
            took.as_millis()
        );
        assert_eq!(stream.peer_addr()?, good);
        assert!(took >= DELAY);

        // With a delay that nobody would wait for.
        let hour = Duration::from_secs(3600);
        let stream = connect(&[closed, good], hour).await;
        println!("the first refuses: {good}, at once");
        assert_eq!(stream.expect("the second answers").peer_addr()?, good);

        let failed = connect(&[closed, closed], DELAY).await;
        let failed = failed.expect_err("nobody answers");
        println!("all refuse: {failed:#}");
        assert_eq!(failed.len(), 2);

        let v6 = |port| SocketAddr::from((Ipv6Addr::LOCALHOST, port));
        assert_eq!(
            interleave(&[v6(1), v6(2), good, closed]),
            [v6(1), good, v6(2), closed]
        );
        Ok(())
    })
}

/// A listener whose queue is full, so that the system lets newcomers wait.
struct Busy {
    address: SocketAddr,
    _listener: TcpListener,
    _queue: Vec<net::TcpStream>,
}

impl Busy {
    fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let mut queue = Vec::new();
        // Nobody accepts them. The one that does not get in any more shows that the queue is full.
        loop {
            match net::TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
                Ok(stream) => queue.push(stream),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => break,
                Err(error) => return Err(error),
            }
        }
        Ok(Self {
            address,
            _listener: listener,
            _queue: queue,
        })
    }
}

/// An address where nobody listens.
fn closed_port() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
