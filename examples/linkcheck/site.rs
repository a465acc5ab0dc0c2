//! The folder that is checked: which files it has, and which anchors are in them.

use std::{
    collections::HashMap,
    fs, mem,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use percent_encoding::percent_decode_str;

use crate::{
    blocking::unblock,
    link::{fragment, on_disk},
    page::{Anchors, Language},
};

/// All that links can lead to.
pub(crate) struct Site {
    entries: HashMap<PathBuf, Entry>,
    /// What links have led to outside the folder, or in a part of it that was left out.
    outside: Mutex<HashMap<PathBuf, Option<Entry>>>,
}

#[derive(Clone)]
pub(crate) enum Entry {
    Page(Arc<Document>),
    /// Something without anchors.
    File,
    Folder,
}

impl Site {
    /// Makes a site of what is in a folder.
    pub(crate) fn new(folders: Vec<PathBuf>, files: Vec<PathBuf>) -> Self {
        let folders = folders.into_iter().map(|path| (path, Entry::Folder));
        let files = files.into_iter().map(|path| {
            let entry = Entry::of_file(&path, true);
            (path, entry)
        });
        Self {
            entries: folders.chain(files).collect(),
            outside: Mutex::default(),
        }
    }

    /// The pages of the folder, in a fixed order.
    pub(crate) fn pages(&self) -> Vec<Arc<Document>> {
        let page = |entry: &Entry| match entry {
            Entry::Page(page) => Some(Arc::clone(page)),
            _ => None,
        };
        let mut pages: Vec<_> = self.entries.values().filter_map(page).collect();
        pages.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        pages
    }

    /// Finds what a path names, if it is there.
    pub(crate) async fn find(&self, path: &Path) -> Option<Found> {
        if let Some(entry) = self.entries.get(path) {
            return Some(Found::Known(entry.clone()));
        }
        if let Some(known) = lock(&self.outside).get(path) {
            return known.clone().map(Found::Known);
        }
        let name = on_disk(path).to_owned();
        let entry = match unblock(move || fs::metadata(name)).await {
            Ok(metadata) if metadata.is_dir() => Some(Entry::Folder),
            Ok(_) => Some(Entry::of_file(path, false)),
            Err(_) => None,
        };
        let mut outside = lock(&self.outside);
        // Another page may have asked for the same meanwhile.
        if let Some(known) = outside.get(path) {
            return known.clone().map(Found::Known);
        }
        outside.insert(path.to_owned(), entry.clone());
        entry.map(Found::New)
    }
}

/// What [`Site::find`] found.
pub(crate) enum Found {
    Known(Entry),
    /// Nobody has asked for it before, nor will anybody hear that again.
    New(Entry),
}

impl Entry {
    fn of_file(path: &Path, is_inside: bool) -> Self {
        match Language::of(path) {
            None => Self::File,
            Some(language) => Self::Page(Arc::new(Document {
                path: path.to_owned(),
                language,
                is_inside,
                state: Mutex::new(State::Unread(Vec::new())),
            })),
        }
    }
}

/// A page, read or not.
pub(crate) struct Document {
    pub(crate) path: PathBuf,
    pub(crate) language: Language,
    /// Whether its own links are to be checked.
    pub(crate) is_inside: bool,
    state: Mutex<State>,
}

enum State {
    /// With the links into it that were met so far. Whoever reads the page will look after them, so
    /// nobody has to wait for another page, and no page has to be read twice.
    Unread(Vec<Reference>),
    Read(Content),
}

/// What a page has for links to point to.
pub(crate) enum Content {
    Anchors(Anchors),
    /// It sends its readers on to another page, whose anchors count.
    Forward(Arc<Document>),
    /// Nobody knows: it could not be read, or sends its readers on to where we cannot look.
    /// That is reported by itself, and its anchors are given the benefit of the doubt.
    Unknown,
}

/// A link that was met in a page.
pub(crate) struct Reference {
    pub(crate) from: Arc<Document>,
    pub(crate) line: u32,
    pub(crate) target: Box<str>,
}

/// What became of looking up an anchor.
pub(crate) enum Lookup {
    Found,
    Missing(Reference),
    /// The page will be read later, and the link be looked after then.
    Later,
    /// Another page has to be asked.
    Forward(Arc<Document>, Reference),
}

impl Document {
    /// Checks that the page has the anchor that a link asks for.
    pub(crate) fn look_up(&self, link: Reference) -> Lookup {
        match &mut *lock(&self.state) {
            State::Unread(waiting) => {
                waiting.push(link);
                Lookup::Later
            }
            State::Read(Content::Anchors(anchors)) => {
                let fragment = fragment(&link.target).unwrap_or_default();
                if has(anchors, fragment) {
                    Lookup::Found
                } else {
                    Lookup::Missing(link)
                }
            }
            State::Read(Content::Forward(page)) => Lookup::Forward(Arc::clone(page), link),
            State::Read(Content::Unknown) => Lookup::Found,
        }
    }

    /// Sets what the page has, and returns the links that waited for it.
    pub(crate) fn settle(&self, content: Content) -> Vec<Reference> {
        let before = mem::replace(&mut *lock(&self.state), State::Read(content));
        match before {
            State::Unread(waiting) => waiting,
            State::Read(_) => unreachable!("every page is read once"),
        }
    }
}

/// Whether a page with these anchors has what a fragment names.
fn has(anchors: &Anchors, fragment: &str) -> bool {
    let names = |name: &str| name.eq_ignore_ascii_case("top") || anchors.has(name);
    if names(fragment) || names(&percent_decode_str(fragment).decode_utf8_lossy()) {
        return true;
    }
    // `12-34`, as listings of source code have it: from one line to another.
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    fragment.split_once('-').is_some_and(|(from, to)| {
        is_number(from) && is_number(to) && anchors.has(from) && anchors.has(to)
    })
}

/// Locks a mutex; nothing that is done under one here leaves things half done if it panics.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
