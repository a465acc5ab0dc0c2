//! The tasks on bare `smol::spawn`: as many at a time as the limit says, and who is done makes room.

use std::{collections::VecDeque, sync::Arc};

use futures::stream::{FuturesUnordered, StreamExt};

use crate::{
    check::Check,
    link::normal,
    options::Options,
    report::{Report, Tally, Unreadable},
    site::Document,
    walk::{self, Listing},
};

/// Checks a folder.
pub(crate) async fn run(options: Options) -> Report {
    let tally = Arc::new(Tally::new(options.started));
    let listing = list(&options, &tally).await;
    let check = Arc::new(Check::new(&options, &tally, listing.into_site()));
    let spawn = |page: Arc<Document>| {
        let check = Arc::clone(&check);
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
            None => return tally.report(),
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
