//! The tasks on bare `smol::spawn`.

use std::{collections::VecDeque, sync::Arc};

use async_lock::Semaphore;
use futures::stream::{FuturesUnordered, StreamExt};

use crate::{
    check::Check,
    link::normal,
    options::Options,
    report::{Report, Tally, Unreadable},
    site::Document,
    walk::{self, Listing},
};

/// Checks a folder, its pages all at once or lazily.
pub(crate) async fn run(options: Options, lazily: bool) -> Report {
    let tally = Arc::new(Tally::new(options.started));
    let listing = list(&options, &tally).await;
    let check = Arc::new(Check::new(&options, &tally, listing.into_site()));
    if lazily {
        read_lazily(&options, &tally, &check).await;
    } else {
        read_all(&options, &tally, &check).await;
    }
    tally.report()
}

/// Spawns all pages at once, and has a semaphore hold them back.
async fn read_all(options: &Options, tally: &Tally, check: &Arc<Check>) {
    let places = Arc::new(Semaphore::new(options.open_files.get()));
    let spawn = |page: Arc<Document>| {
        let check = Arc::clone(check);
        let places = Arc::clone(&places);
        smol::spawn(async move {
            let _place = places.acquire().await;
            // In a box, as in the example.
            Box::pin(check.read(&page)).await
        })
    };
    let mut tasks: VecDeque<_> = check.pages().into_iter().map(spawn).collect();
    while let Some(task) = tasks.pop_front() {
        match task.await {
            Ok(errands) => tasks.extend(errands.outside.into_iter().map(spawn)),
            Err(error) => tally.problem(&error.into()),
        }
    }
}

/// Spawns a page when there is room for it: who is done makes some.
async fn read_lazily(options: &Options, tally: &Tally, check: &Arc<Check>) {
    let spawn = |page: Arc<Document>| {
        let check = Arc::clone(check);
        smol::spawn(async move { check.read(&page).await })
    };
    let mut left = VecDeque::from(check.pages());
    let mut tasks = FuturesUnordered::new();
    loop {
        let room = options.open_files.get() - tasks.len();
        tasks.extend(left.drain(..room.min(left.len())).map(spawn));
        match tasks.next().await {
            Some(Ok(errands)) => left.extend(errands.outside),
            Some(Err(error)) => tally.problem(&error.into()),
            None => return,
        }
    }
}

/// Lists a folder.
async fn list(options: &Options, tally: &Tally) -> Listing {
    let mut listing = Listing::default();
    let mut left = vec![normal(&options.folder)];
    let mut tasks = FuturesUnordered::new();
    loop {
        let room = options.open_files.get() - tasks.len();
        let folders = left.drain(left.len().saturating_sub(room)..);
        tasks.extend(folders.map(|folder| {
            smol::spawn(async move {
                let inside = walk::list(folder.clone()).await?;
                Ok::<_, Unreadable>((folder, inside))
            })
        }));
        match tasks.next().await {
            Some(Ok((folder, inside))) => {
                left.extend(inside.folders);
                listing.files.extend(inside.files);
                listing.folders.push(folder);
            }
            Some(Err(error)) => tally.problem(&error.into()),
            None => return listing,
        }
    }
}
