//! Addresses of the web, as far as `http://` needs them.

use std::fmt;

/// The address of a document on a server, without a fragment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    /// With the query, and with a slash at its beginning.
    pub(super) path: String,
}

impl Address {
    /// Reads an address that begins with `http:`. Fails with what is wrong with it.
    pub(crate) fn parse(url: &str) -> Result<Self, &'static str> {
        if !has_scheme(url, "http://") {
            return Err("there should be two slashes after http:");
        }
        let rest = &url["http://".len()..];
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        // The name and password that may stand before the host.
        let authority = authority.rsplit('@').next().unwrap_or_default();
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port),
            _ => (authority, ""),
        };
        let port = match port {
            "" => 80,
            port => port.parse().map_err(|_| "the port is not a number")?,
        };
        if host.is_empty() {
            return Err("there is no host in it");
        }
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Ok(Self {
            host: host.to_ascii_lowercase(),
            port,
            path: rooted(&without_dots(&rooted(without_fragment(path)))),
        })
    }

    /// Whether a redirect leads to where only TLS gets.
    pub(super) fn is_https(location: &str) -> bool {
        has_scheme(location, "https:")
    }

    /// Reads where a link or a redirect in this document leads. Fails with what is wrong with it.
    pub(crate) fn resolve(&self, target: &str) -> Result<Self, &'static str> {
        if has_scheme(target, "http:") {
            Self::parse(target)
        } else if target.starts_with("//") {
            Self::parse(&format!("http:{target}"))
        } else {
            Ok(self.join(target))
        }
    }

    fn join(&self, target: &str) -> Self {
        let target = without_fragment(target);
        let document = self.path.split('?').next().unwrap_or_default();
        let path = if target.is_empty() {
            self.path.clone()
        } else if target.starts_with('/') {
            without_dots(target)
        } else if target.starts_with('?') {
            format!("{document}{target}")
        } else {
            let folder = document.rfind('/').map_or(0, |slash| slash + 1);
            without_dots(&format!("{}{target}", &document[..folder]))
        };
        Self {
            path: rooted(&path),
            ..self.clone()
        }
    }

    /// The host and port, as a server wants to hear it.
    pub(super) fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        match (host.contains(':'), port) {
            (true, 80) => format!("[{host}]"),
            (true, port) => format!("[{host}]:{port}"),
            (false, 80) => host.clone(),
            (false, port) => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority(), self.path)
    }
}

fn has_scheme(location: &str, scheme: &str) -> bool {
    let begin = location.get(..scheme.len());
    begin.is_some_and(|begin| begin.eq_ignore_ascii_case(scheme))
}

fn without_fragment(target: &str) -> &str {
    target.split('#').next().unwrap_or_default()
}

/// Puts a slash before a path, and encodes what a request cannot hold.
fn rooted(path: &str) -> String {
    use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
    const UNSENDABLE: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>');

    let slash = if path.starts_with('/') { "" } else { "/" };
    format!("{slash}{}", utf8_percent_encode(path, UNSENDABLE))
}

/// Takes `.` and `..` out of a path.
fn without_dots(path: &str) -> String {
    let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
    let mut kept = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => {
                kept.push(segment);
                continue;
            }
        }
        if is_last {
            // What is left is a folder.
            kept.push("");
        }
    }
    format!("/{}{query}", kept.join("/"))
}
