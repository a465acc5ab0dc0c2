//! The tasks on tokio.

use std::{collections::VecDeque, sync::Arc};

use tokio::{
    runtime::Runtime,
    sync::Semaphore,
    task::{JoinError, JoinSet},
};

use crate::{
    check::Check,
    link::normal,
    options::Options,
    report::{Report, Tally, Unreadable},
    site::Document,
    walk::{self, Listing},
};

/// With a thread for each core.
pub(crate) fn runtime() -> Runtime {
    Runtime::new().expect("tokio starts")
}

/// What became of a task.
pub(crate) fn whole<T>(joined: Result<T, JoinError>) -> T {
    joined.expect("it neither panics nor is aborted")
}

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
        tokio::spawn(async move {
            let place = places.acquire().await;
            let _place = place.expect("nobody closes it");
            // In a box, as in the example.
            Box::pin(check.read(&page)).await
        })
    };
    let mut tasks: VecDeque<_> = check.pages().into_iter().map(spawn).collect();
    while let Some(task) = tasks.pop_front() {
        match whole(task.await) {
            Ok(errands) => tasks.extend(errands.outside.into_iter().map(spawn)),
            Err(error) => tally.problem(&error.into()),
        }
    }
}

/// Spawns a page when there is room for it: who is done makes some.
async fn read_lazily(options: &Options, tally: &Tally, check: &Arc<Check>) {
    let mut left = VecDeque::from(check.pages());
    let mut tasks = JoinSet::new();
    loop {
        while tasks.len() < options.open_files.get() {
            let Some(page) = left.pop_front() else {
                break;
            };
            let check = Arc::clone(check);
            tasks.spawn(async move { check.read(&page).await });
        }
        let Some(joined) = tasks.join_next().await else {
            return;
        };
        match whole(joined) {
            Ok(errands) => left.extend(errands.outside),
            Err(error) => tally.problem(&error.into()),
        }
    }
}

/// Lists a folder.
async fn list(options: &Options, tally: &Tally) -> Listing {
    let mut listing = Listing::default();
    let mut left = vec![normal(&options.folder)];
    let mut tasks = JoinSet::new();
    loop {
        while tasks.len() < options.open_files.get() {
            let Some(folder) = left.pop() else {
                break;
            };
            tasks.spawn(async move {
                let inside = walk::list(folder.clone()).await?;
                Ok::<_, Unreadable>((folder, inside))
            });
        }
        let Some(joined) = tasks.join_next().await else {
            return listing;
        };
        match whole(joined) {
            Ok((folder, inside)) => {
                left.extend(inside.folders);
                listing.files.extend(inside.files);
                listing.folders.push(folder);
            }
            Err(error) => tally.problem(&error.into()),
        }
    }
}
