//! One request over one connection.

use std::io;

use smol::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::Address;

/// How much a server may say before the body of its answer.
const LONGEST_HEAD: usize = 64 * 1024;
const MOST_HEADERS: usize = 128;

#[derive(Clone, Copy, Debug)]
pub(super) enum Method {
    Head,
    Get,
}

/// What a server has to say about an address.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Where else to look.
    pub(super) location: Option<String>,
}

/// Asks a server for a document, and reads the head of its answer.
///
/// Fails with a message.
pub(super) async fn request(method: Method, address: &Address) -> Result<Answer, String> {
    let Address { host, port, .. } = address;
    let stream = TcpStream::connect((host.as_str(), *port)).await;
    let mut stream = stream.map_err(|error| format!("cannot connect: {error}"))?;
    let method = match method {
        Method::Head => "HEAD",
        Method::Get => "GET",
    };
    let head = format!(
        "{method} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: headcount-linkcheck\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n",
        address.path,
        address.authority()
    );
    let broken_off = |error: io::Error| format!("the connection broke: {error}");
    stream
        .write_all(head.as_bytes())
        .await
        .map_err(broken_off)?;
    let mut received = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let length = stream.read(&mut chunk).await.map_err(broken_off)?;
        if length == 0 {
            return Err("the server hung up without an answer".into());
        }
        received.extend_from_slice(&chunk[..length]);
        if let Some(answer) = parse(&mut received)? {
            return Ok(answer);
        }
        if received.len() > LONGEST_HEAD {
            return Err("the head of the answer does not end".into());
        }
    }
}

/// Reads the head of an answer, if all of it is there.
fn parse(received: &mut Vec<u8>) -> Result<Option<Answer>, String> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response
            .parse(received)
            .map_err(|error| format!("the answer is not HTTP: {error}"))?;
        let (httparse::Status::Complete(length), Some(status)) = (parsed, response.code) else {
            return Ok(None);
        };
        if (100..200).contains(&status) {
            // Only a word in advance; the answer comes after it.
            received.drain(..length);
            continue;
        }
        let is_location =
            |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case("location");
        let location = response.headers.iter().find(is_location);
        let location =
            location.map(|header| String::from_utf8_lossy(header.value).trim().to_owned());
        return Ok(Some(Answer { status, location }));
    }
}
