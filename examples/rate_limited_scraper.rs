//! The textbook scraper: many pages of several hosts, so many requests per host at a time, another
//! try where that may help, a deadline for all of it, and in the end whatever there is.
//!
//! ```text
//! cargo run --example rate_limited_scraper
//! ```
//!
//! scrapes two servers that it starts itself. One is busy every other time, has a page that is not
//! there and one that never comes. What is printed is the report of a partial success.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use headcount::{
    Error, ErrorGroup, TaskGroup, finally, group, policies, run, sleep, sync::Semaphore, time_left,
};
use smol::net::{TcpListener, TcpStream};

/// How many requests one host gets at a time.
const PER_HOST: usize = 3;
const PAGES: usize = 12;
const DEADLINE: Duration = Duration::from_millis(500);

/// A host, and the right to ask it.
#[derive(Clone)]
struct Host {
    address: SocketAddr,
    turns: Arc<Semaphore>,
}

/// Asks once. The status, and the page.
async fn ask(address: SocketAddr, page: usize) -> Result<(u16, String), Error> {
    let mut connection = TcpStream::connect(address).await?;
    let request = format!("GET /{page} HTTP/1.0\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("half an answer")?;
    let status = head.split(' ').nth(1).ok_or("no status")?.parse()?;
    Ok((status, body.to_owned()))
}

/// Asks until there is an answer that another try would not change.
async fn fetch(host: Host, page: usize) -> Result<String, Error> {
    let mut pause = Duration::from_millis(5);
    loop {
        let turn = host.turns.acquire().await;
        let (status, body) = ask(host.address, page).await?;
        drop(turn); // The others may ask while this one waits for its next try.
        match status {
            200 => return Ok(body),
            // A try that would come too late is not worth waiting for.
            503 if time_left().is_none_or(|left| left > pause) => sleep(pause).await,
            status => return Err(format!("status {status}").into()),
        }
        pause *= 2;
    }
}

/// A server, and what it has seen.
#[derive(Default)]
struct Server {
    seen: Mutex<BTreeSet<usize>>,
    open: AtomicUsize,
    most_open: AtomicUsize,
}

impl Server {
    async fn serve(self: Arc<Self>, listener: TcpListener) -> Result<(), Error> {
        let serving = group(async |g| {
            loop {
                let (connection, _) = listener.accept().await?;
                g.spawn(Arc::clone(&self).answer(connection));
            }
        });
        Ok(serving.await?)
    }

    async fn answer(self: Arc<Self>, mut connection: TcpStream) -> Result<(), Error> {
        let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_open.fetch_max(open, Ordering::SeqCst);
        let answering = async {
            let mut request = [0; 64];
            let length = connection.read(&mut request).await?;
            let request = std::str::from_utf8(&request[..length])?;
            let page = request.split([' ', '/']).nth(2).ok_or("no page")?.parse()?;
            sleep(Duration::from_millis(1)).await;
            let is_new = self.seen.lock().is_ok_and(|mut seen| seen.insert(page));
            let status = match page {
                7 => "404 not found",
                9 => {
                    sleep(Duration::MAX).await;
                    "never"
                }
                page if page % 2 == 0 && is_new => "503 busy",
                _ => "200 ok",
            };
            let answer = format!("HTTP/1.0 {status}\r\n\r\npage {page}");
            Ok(connection.write_all(answer.as_bytes()).await?)
        };
        // Before the connection is closed, so that nobody is counted who is not there any more.
        let leave = async {
            self.open.fetch_sub(1, Ordering::SeqCst);
        };
        finally(answering, leave).await
    }
}

fn main() -> Result<(), ErrorGroup> {
    run(group(async |g| {
        let (mut servers, mut hosts, mut tasks) = (Vec::new(), Vec::new(), Vec::new());
        for name in ["left", "right"] {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let turns = Arc::new(Semaphore::new(PER_HOST));
            hosts.push((
                name,
                Host {
                    address: listener.local_addr()?,
                    turns,
                },
            ));
            let server = Arc::new(Server::default());
            tasks.push(g.spawn_named(name, Arc::clone(&server).serve(listener)));
            servers.push(server);
        }

        // The names are for the report; the deadline is for everything, further tries included.
        let scraping = TaskGroup::builder()
            .name("scrape")
            .join(policies::partial());
        let scraped = scraping.timeout(DEADLINE).run(async |pages| {
            for (name, host) in &hosts {
                for page in 0..PAGES {
                    pages.spawn_named(format!("{name}/{page}"), fetch(host.clone(), page));
                }
            }
            Ok(())
        });
        let scraped = scraped.await?;

        println!(
            "{} pages, ended by {:?}",
            scraped.values.len(),
            scraped.ended_by
        );
        for failure in &scraped.failures {
            println!("failed: {:?}: {:?}", failure.task().name(), failure.error());
        }
        assert_eq!(scraped.values.len(), 2 * (PAGES - 2)); // All but a 404 and one that hangs.
        assert_eq!(scraped.failures.len(), 2);
        assert!(!scraped.is_complete);
        for server in servers {
            assert!(
                server.most_open.load(Ordering::SeqCst) <= PER_HOST,
                "it was not flooded"
            );
        }
        tasks.iter().for_each(|server| server.cancel());
        Ok(())
    }))
}
