//! A web server on loopback that answers well, badly, or not at all.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Barrier, Mutex},
    thread,
};

/// The server. Its threads end with the tests.
pub(crate) struct Server {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    /// How often each `METHOD /path` was asked for.
    asked: Mutex<HashMap<String, usize>>,
    /// How many requests to `/together` wait for an answer, and how many did at most.
    together: Mutex<(usize, usize)>,
    /// Where two of them wait for each other.
    pair: Barrier,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(State {
            asked: Mutex::default(),
            together: Mutex::default(),
            pair: Barrier::new(2),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                thread::spawn(move || state.serve(stream));
            }
        });
        Self { address, state }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// How often a document was asked for.
    pub(crate) fn asked(&self, request: &str) -> usize {
        let asked = self.state.asked.lock().expect("no panics under it");
        asked.get(request).copied().unwrap_or_default()
    }

    /// How many requests to `/together` waited for an answer at most.
    pub(crate) fn most_together(&self) -> usize {
        self.state.together.lock().expect("no panics under it").1
    }
}

impl State {
    fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
        let first = lines.next()?.ok()?;
        let mut words = first.split(' ');
        let (method, path) = (words.next()?, words.next()?);
        for line in lines {
            if line.ok()?.is_empty() {
                break;
            }
        }
        let earlier = self.count(format!("{method} {path}"));
        let answer = self.answer(method, path, earlier, &stream)?;
        (&stream).write_all(answer.as_bytes()).ok()
    }

    /// Counts a request, and returns how many there were before.
    fn count(&self, request: String) -> usize {
        let mut asked = self.asked.lock().expect("no panics under it");
        let times = asked.entry(request).or_default();
        *times += 1;
        *times - 1
    }

    /// What to answer; `None` is to hang up.
    fn answer(
        &self,
        method: &str,
        path: &str,
        earlier: usize,
        stream: &TcpStream,
    ) -> Option<String> {
        let host = stream.local_addr().ok()?;
        let answer = match path {
            "/ok" | "/query?a=1" | "/folder/leaf" => "200 OK\r\n",
            "/redirect" => "302 Found\r\nLocation: /ok\r\n",
            "/redirect/again" => {
                return Some(format!(
                    "HTTP/1.1 301 Moved\r\nlocation: http://{host}/redirect#any\r\n\r\n"
                ));
            }
            "/folder/redirect" => "307 Moved\r\nLocation: ../ok\r\n",
            "/redirect/tls" => "308 Moved\r\nLocation: https://example.org/\r\n",
            "/redirect/missing" => "303 See\r\nLocation: /missing\r\n",
            "/redirect/circle" => "302 Found\r\nLocation: circle\r\n",
            "/redirect/nothing" => "302 Found\r\n",
            "/get-only" if method == "HEAD" => "405 Use GET\r\n",
            "/get-only" => "200 OK\r\nContent-Length: 1000000\r\n",
            "/continue" => "100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n",
            "/flaky" if earlier < 2 => "503 Not yet\r\n",
            "/flaky" => "200 OK\r\n",
            "/down" => "503 Down\r\n",
            "/forbidden" => "403 Forbidden\r\n",
            "/hang-up" => return None,
            "/noise" => return Some("220 mail.example.org ready\r\n".into()),
            "/silent" => {
                // Until the other side has enough of it.
                let mut stream = stream;
                stream.read_to_end(&mut Vec::new()).ok();
                return None;
            }
            path if path.starts_with("/together/") => {
                self.wait_for_another();
                "200 OK\r\n"
            }
            _ => "404 Not found\r\n",
        };
        Some(format!("HTTP/1.1 {answer}\r\n"))
    }

    /// Waits until there are two, and notes how many there are.
    fn wait_for_another(&self) {
        {
            let mut together = self.together.lock().expect("no panics under it");
            together.0 += 1;
            together.1 = together.1.max(together.0);
        }
        self.pair.wait();
        self.together.lock().expect("no panics under it").0 -= 1;
    }
}
