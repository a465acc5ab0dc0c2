//! What a page says: its links and its anchors.

mod html;
mod markdown;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
};

/// The languages that pages are written in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Language {
    Markdown,
    Html,
}

impl Language {
    /// Tells by its name what a file is written in, if it is a page at all.
    pub(crate) fn of(file: &Path) -> Option<Self> {
        let extension = file.extension()?.to_str()?.to_ascii_lowercase();
        match &*extension {
            "md" | "markdown" => Some(Self::Markdown),
            "html" | "htm" | "xhtml" => Some(Self::Html),
            _ => None,
        }
    }
}

/// What is kept of a page; not its text, so that thousands of them fit into memory.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) links: Vec<Link>,
    pub(crate) anchors: Anchors,
    /// What relative links are relative to, if the page says so itself.
    pub(crate) base: Option<String>,
    /// Where the page sends its readers on to.
    pub(crate) forward: Option<String>,
}

/// A link as it is written.
#[derive(Debug)]
pub(crate) struct Link {
    /// Counted from 1.
    pub(crate) line: u32,
    pub(crate) target: String,
}

impl Page {
    pub(crate) fn parse(language: Language, text: &str) -> Self {
        let mut scribe = Scribe::new(text);
        match language {
            Language::Markdown => markdown::read(text, &mut scribe),
            Language::Html => html::read(text, 0, &mut scribe),
        }
        scribe.page.anchors.close();
        scribe.page
    }
}

/// The names that a link can point to within a page.
///
/// They are kept as hashes of 64 bits. Two names that share one would hide a broken link, which
/// among a million anchors happens once in a few million pages.
#[derive(Debug, Default)]
pub(crate) struct Anchors(Vec<u64>);

impl Anchors {
    fn add(&mut self, name: &str) {
        self.0.push(hash(name));
    }

    /// Sorts them, once all are there.
    fn close(&mut self) {
        self.0.sort_unstable();
        self.0.dedup();
        self.0.shrink_to_fit();
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.binary_search(&hash(name)).is_ok()
    }
}

fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

/// Writes down what the parsers find.
struct Scribe<'a> {
    page: Page,
    text: &'a [u8],
    /// The place that was asked for last, and its line.
    offset: usize,
    line: u32,
}

impl<'a> Scribe<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            page: Page::default(),
            text: text.as_bytes(),
            offset: 0,
            line: 1,
        }
    }

    /// Notes a link that is written at this place of the text.
    fn link(&mut self, offset: usize, target: &str) {
        let line = self.line_of(offset);
        let target = target.to_owned();
        self.page.links.push(Link { line, target });
    }

    fn anchor(&mut self, name: &str) {
        self.page.anchors.add(name);
    }

    /// Notes the base of the page. Only the first one counts.
    fn base(&mut self, base: &str) {
        self.page.base.get_or_insert_with(|| base.to_owned());
    }

    /// Notes that the page sends its readers on.
    fn forward(&mut self, offset: usize, target: &str) {
        self.link(offset, target);
        self.page.forward.get_or_insert_with(|| target.to_owned());
    }

    fn line_of(&mut self, offset: usize) -> u32 {
        // Parsers move forwards nearly always, so that the text is walked through about once.
        if offset < self.offset {
            (self.offset, self.line) = (0, 1);
        }
        let passed = &self.text[self.offset..offset.min(self.text.len())];
        let breaks = passed.iter().filter(|&&byte| byte == b'\n').count();
        self.line += u32::try_from(breaks).unwrap_or(u32::MAX);
        self.offset += passed.len();
        self.line
    }
}
