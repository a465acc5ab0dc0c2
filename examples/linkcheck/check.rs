//! Checking a page: reading it, and following its links.

use std::{fs, path::Path, sync::Arc};

use crate::{
    blocking::unblock,
    link::{Base, Destination, Local, fragment},
    options::Options,
    page::Page,
    report::{Tally, Unreadable},
    site::{Content, Document, Entry, Found, Lookup, Reference, Site},
    web::{Address, Verdict, Web},
};

/// How many pages may send a reader on, one to the next. More than that lead round in circles.
const MOST_FORWARDS: usize = 10;

/// What all tasks share.
pub(crate) struct Check {
    options: Options,
    site: Site,
    web: Web,
    tally: Arc<Tally>,
}

/// What remains to be done for a page after it was read.
#[derive(Default)]
pub(crate) struct Errands {
    pub(crate) requests: Vec<(Reference, Address)>,
    /// Pages outside the folder that links lead into.
    pub(crate) outside: Vec<Arc<Document>>,
}

impl Check {
    pub(crate) fn new(options: &Options, tally: &Arc<Tally>, site: Site) -> Self {
        Self {
            options: options.clone(),
            site,
            web: Web::new(options),
            tally: Arc::clone(tally),
        }
    }

    /// The pages that are to be checked.
    pub(crate) fn pages(&self) -> Vec<Arc<Document>> {
        let pages = self.site.pages();
        self.tally.listed(pages.len());
        pages
    }

    /// Reads a page and checks the links in it that lead to files.
    pub(crate) async fn read(&self, document: &Arc<Document>) -> Result<Errands, Unreadable> {
        let path = document.path.clone();
        let text = match unblock(move || fs::read(path)).await {
            Ok(text) => text,
            Err(source) => {
                self.settle(document, Content::Unknown);
                let path = document.path.clone();
                return Err(Unreadable { path, source });
            }
        };
        let page = Page::parse(document.language, &String::from_utf8_lossy(&text));
        drop(text);
        let base = Base::new(&self.options.folder, &document.path, page.base.as_deref());
        let mut errands = Errands::default();
        let content = match &page.forward {
            Some(target) => self.forward(&base, target, &mut errands).await,
            None => Content::Anchors(page.anchors),
        };
        self.settle(document, content);
        if document.is_inside {
            self.tally.links.add_many(page.links.len());
            for link in page.links {
                let reference = Reference {
                    from: Arc::clone(document),
                    line: link.line,
                    target: link.target.into(),
                };
                self.follow(&base, reference, &mut errands).await;
            }
            self.tally.pages_read.add();
        }
        Ok(errands)
    }

    /// Sets what a page has, and looks after the links that waited for that.
    fn settle(&self, document: &Document, content: Content) {
        for link in document.settle(content) {
            self.look_up(document, link);
        }
    }

    /// Finds the page that another one sends its readers on to.
    async fn forward(&self, base: &Base, target: &str, errands: &mut Errands) -> Content {
        if let Destination::Local(local) = base.resolve(target) {
            if let Some(Entry::Page(page)) = self.find(&local.path, errands).await {
                return Content::Forward(page);
            }
        }
        Content::Unknown
    }

    /// Follows a link, or notes down who is to do it.
    async fn follow(&self, base: &Base, link: Reference, errands: &mut Errands) {
        match base.resolve(&link.target) {
            Destination::Local(local) => self.follow_path(&local, link, errands).await,
            Destination::Http(_) if self.options.offline => self.tally.offline.add(),
            Destination::Http(address) => errands.requests.push((link, address)),
            Destination::Https => self.tally.https.add(),
            Destination::Elsewhere => self.tally.elsewhere.add(),
            Destination::Nowhere(why) => self.tally.broken(link, why),
        }
    }

    async fn follow_path(&self, local: &Local, link: Reference, errands: &mut Errands) {
        let has_fragment = fragment(&link.target).is_some();
        match self.find(&local.path, errands).await {
            None => self.tally.broken(link, "there is no such file"),
            Some(Entry::Folder) if has_fragment => {
                let index = self.find_index(&local.path, errands).await;
                match index {
                    Some(page) => self.look_up(&page, link),
                    None => self
                        .tally
                        .broken(link, "a folder without a page has no anchors"),
                }
            }
            Some(Entry::Folder) => self.tally.sound(),
            Some(_) if local.is_folder => self.tally.broken(link, "it is a file, not a folder"),
            Some(Entry::Page(page)) if has_fragment => self.look_up(&page, link),
            Some(Entry::Page(_) | Entry::File) => self.tally.sound(),
        }
    }

    async fn find(&self, path: &Path, errands: &mut Errands) -> Option<Entry> {
        match self.site.find(path).await? {
            Found::Known(entry) => Some(entry),
            Found::New(entry) => {
                if let Entry::Page(page) = &entry {
                    errands.outside.push(Arc::clone(page));
                }
                Some(entry)
            }
        }
    }

    /// Finds the page that a folder shows.
    async fn find_index(&self, folder: &Path, errands: &mut Errands) -> Option<Arc<Document>> {
        for name in ["index.html", "README.md"] {
            if let Some(Entry::Page(page)) = self.find(&folder.join(name), errands).await {
                return Some(page);
            }
        }
        None
    }

    fn look_up(&self, page: &Document, link: Reference) {
        let mut lookup = page.look_up(link);
        for _ in 0..MOST_FORWARDS {
            match lookup {
                Lookup::Forward(page, link) => lookup = page.look_up(link),
                _ => break,
            }
        }
        match lookup {
            Lookup::Found => self.tally.sound(),
            Lookup::Missing(link) | Lookup::Forward(_, link) => {
                let why = format!("{} has no such anchor", page.path.display());
                self.tally.broken(link, why);
            }
            Lookup::Later => {}
        }
    }

    /// Asks a server whether it has what a link leads to.
    pub(crate) async fn ask(&self, (link, address): (Reference, Address)) {
        match self.web.ask(address).await {
            Verdict::Sound => self.tally.sound(),
            Verdict::Https => self.tally.https.add(),
            Verdict::Broken(why) => self.tally.broken(link, why),
        }
    }
}
