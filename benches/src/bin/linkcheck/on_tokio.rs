//! The tasks on tokio: a `JoinSet` with as many at a time as the limit says.

use std::{collections::VecDeque, sync::Arc};

use tokio::task::JoinSet;

use crate::{
    check::Check,
    link::normal,
    options::Options,
    report::{Report, Tally, Unreadable},
    walk::{self, Listing},
};

/// Checks a folder.
pub(crate) async fn run(options: Options) -> Report {
    let tally = Arc::new(Tally::new(options.started));
    let listing = list(&options, &tally).await;
    let check = Arc::new(Check::new(&options, &tally, listing.into_site()));
    let mut left = VecDeque::from(check.pages());
    let mut tasks = JoinSet::new();
    loop {
        while tasks.len() < options.open_files.get() {
            let Some(page) = left.pop_front() else {
                break;
            };
            let check = Arc::clone(&check);
            tasks.spawn(async move { check.read(&page).await });
        }
        let Some(joined) = tasks.join_next().await else {
            return tally.report();
        };
        match joined.expect("it neither panics nor is aborted") {
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
        match joined.expect("it neither panics nor is aborted") {
            Ok((folder, inside)) => {
                left.extend(inside.folders);
                listing.files.extend(inside.files);
                listing.folders.push(folder);
            }
            Err(error) => tally.problem(&error.into()),
        }
    }
}
