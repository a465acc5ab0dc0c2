//! Where links lead.

use std::path::{Component, Path, PathBuf};

use percent_encoding::percent_decode_str;

use crate::web::Address;

/// Where a link leads.
#[derive(Clone, Debug)]
pub(crate) enum Destination {
    Local(Local),
    /// To a server that can be asked.
    Http(Address),
    /// To a server that cannot be asked, for want of TLS.
    Https,
    /// To something that is no document: `mailto:`, `javascript:`, `data:`.
    Elsewhere,
    /// Nowhere, and why.
    Nowhere(&'static str),
}

/// A file or folder, and perhaps a place in it.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    pub(crate) path: PathBuf,
    /// Whether it is written with a slash at its end, as only a folder may be.
    pub(crate) is_folder: bool,
}

/// What the links of a page are relative to.
#[derive(Debug)]
pub(crate) struct Base {
    /// What a path that begins with a slash is relative to.
    root: PathBuf,
    /// The page itself, unless it says otherwise.
    origin: Destination,
}

impl Base {
    /// Makes the base of a page, which is the page, or what its `<base>` says.
    pub(crate) fn new(root: &Path, page: &Path, stated: Option<&str>) -> Self {
        let origin = Destination::Local(Local {
            path: page.to_owned(),
            is_folder: false,
        });
        let root = root.to_owned();
        let base = Self { root, origin };
        match stated {
            None => base,
            Some(stated) => Self {
                origin: base.resolve(stated),
                ..base
            },
        }
    }

    /// Finds out where a link of the page leads, leaving its fragment aside.
    pub(crate) fn resolve(&self, target: &str) -> Destination {
        let target = without(target, '#');
        match scheme(target) {
            Some("http") => http(Address::parse(target)),
            Some("https") => Destination::Https,
            Some(_) => Destination::Elsewhere,
            None => self.join(target),
        }
    }

    fn join(&self, target: &str) -> Destination {
        match &self.origin {
            Destination::Http(address) => http(address.resolve(target)),
            Destination::Local(_) if target.starts_with("//") => Destination::Https,
            Destination::Local(origin) => Destination::Local(self.join_path(origin, target)),
            elsewhere => elsewhere.clone(),
        }
    }

    fn join_path(&self, origin: &Local, target: &str) -> Local {
        let path = without(target, '?');
        if path.is_empty() {
            return origin.clone();
        }
        let decoded = percent_decode_str(path).decode_utf8_lossy();
        let folder = match &origin.path {
            folder if origin.is_folder => folder,
            page => page.parent().unwrap_or(page),
        };
        let joined = match decoded.strip_prefix('/') {
            Some(path) => self.root.join(path.trim_start_matches('/')),
            None => folder.join(&*decoded),
        };
        Local {
            path: normal(&joined),
            is_folder: decoded.ends_with('/'),
        }
    }
}

fn http(address: Result<Address, &'static str>) -> Destination {
    address.map_or_else(Destination::Nowhere, Destination::Http)
}

/// The part of a link after the `#`, as it is written.
pub(crate) fn fragment(target: &str) -> Option<&str> {
    let (_, fragment) = target.split_once('#')?;
    // What browsers search the text for; no anchor.
    let fragment = fragment.split(":~:").next()?;
    Some(fragment).filter(|fragment| !fragment.is_empty())
}

/// The part of a link before a character.
fn without(target: &str, separator: char) -> &str {
    target.split(separator).next().unwrap_or_default()
}

fn scheme(target: &str) -> Option<&str> {
    let (scheme, _) = target.split_once(':')?;
    let mut characters = scheme.chars();
    let is_scheme = characters.next()?.is_ascii_alphabetic()
        && characters.all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    is_scheme.then_some(match scheme {
        http if http.eq_ignore_ascii_case("http") => "http",
        https if https.eq_ignore_ascii_case("https") => "https",
        other => other,
    })
}

/// Takes the detours out of a path, so that a file has one name only.
pub(crate) fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir
                if matches!(normal.components().next_back(), Some(Component::Normal(_))) =>
            {
                normal.pop();
            }
            component => normal.push(component),
        }
    }
    normal
}

/// The name to give to the system for a path that [`normal`] has made.
pub(crate) fn on_disk(path: &Path) -> &Path {
    if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    }
}
