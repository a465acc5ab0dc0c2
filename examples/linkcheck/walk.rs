//! Finding out which files a folder has.

use std::{
    fs, io, mem,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use headcount::{Error, ErrorGroup, Policy, ScopeHandle, Spawner, TaskGroup};

use crate::{
    blocking::unblock,
    link::{normal, on_disk},
    options::Options,
    report::Unreadable,
    site::{Site, lock},
};

/// What was found so far.
#[derive(Default)]
pub(crate) struct Listing {
    pub(crate) folders: Vec<PathBuf>,
    pub(crate) files: Vec<PathBuf>,
}

impl Listing {
    pub(crate) fn into_site(self) -> Site {
        Site::new(self.folders, self.files)
    }
}

/// Lists a folder in parallel, a task for each folder in it.
///
/// The outcome of the group comes beside the listing, since a partial one is of use too.
pub(crate) async fn in_parallel(options: &Options) -> (Listing, Result<ScopeHandle, ErrorGroup>) {
    let listing = Arc::new(Mutex::new(Listing::default()));
    let folder = normal(&options.folder);
    let outcome = TaskGroup::builder()
        .name("folders")
        .policy(Policy::Collect)
        .limit(options.open_files.get())
        .run(async |g| {
            g.scope().set_deadline(options.deadline);
            spawn(&g.spawner(), folder, &listing);
            Ok(g.scope())
        })
        .await;
    let listing = mem::take(&mut *lock(&listing));
    (listing, outcome)
}

/// Spawns the listing of a folder into the group of them all.
fn spawn(spawner: &Spawner, folder: PathBuf, listing: &Arc<Mutex<Listing>>) {
    let siblings = spawner.clone();
    let listing = Arc::clone(listing);
    spawner.spawn(async move {
        let inside = list(folder.clone()).await?;
        for folder in inside.folders {
            spawn(&siblings, folder, &listing);
        }
        let mut listing = lock(&listing);
        listing.folders.push(folder);
        listing.files.extend(inside.files);
        Ok(())
    });
}

/// Lists a folder, one folder in it after the other.
pub(crate) async fn one_by_one(options: &Options, problems: &mut Vec<Error>) -> Listing {
    let mut listing = Listing::default();
    let mut left = vec![normal(&options.folder)];
    while let Some(folder) = left.pop() {
        match list(folder.clone()).await {
            Ok(inside) => {
                left.extend(inside.folders);
                listing.files.extend(inside.files);
                listing.folders.push(folder);
            }
            Err(error) => problems.push(error.into()),
        }
    }
    listing
}

/// Lists what is directly in a folder.
pub(crate) async fn list(folder: PathBuf) -> Result<Listing, Unreadable> {
    let path = folder.clone();
    let listed = unblock(move || list_blocking(&folder)).await;
    listed.map_err(|source| Unreadable { path, source })
}

fn list_blocking(folder: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    for entry in fs::read_dir(on_disk(folder))? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            if !is_left_out(&path) {
                listing.folders.push(path);
            }
        // Links to folders are not followed: they could lead round in circles.
        } else if kind.is_file() || path.is_file() {
            listing.files.push(path);
        }
    }
    Ok(listing)
}

fn is_left_out(folder: &Path) -> bool {
    let named = |name| folder.file_name().is_some_and(|folder| folder == name);
    named("target") || named(".git") || folder.join(".linkcheckignore").exists()
}
