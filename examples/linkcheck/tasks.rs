//! The tasks: which there are, what they are limited by, and what becomes of their failures.

use std::{collections::VecDeque, sync::Arc};

use headcount::{Error, ErrorGroup, Policy, ScopeHandle, Spawner, TaskGroup, group, timeout_at};

use crate::{
    check::Check,
    options::Options,
    progress,
    report::{Report, Tally},
    site::Document,
    walk,
};

/// Checks a folder. What became of it is all in the report, however it ended.
pub(crate) async fn run(options: Options) -> Report {
    let tally = Arc::new(Tally::new(options.started));
    let ended = group(async |g| {
        let bar = g.spawn_local(progress::show(&tally));
        if options.sequential {
            one_by_one(&options, &tally).await;
        } else {
            in_parallel(&options, &tally).await;
        }
        bar.cancel();
        Ok(())
    });
    if let Err(failed) = ended.await {
        tally.fail(&failed);
    }
    tally.report()
}

/// Checks everything at once, as far as the limits allow.
async fn in_parallel(options: &Options, tally: &Arc<Tally>) {
    let (listing, listed) = walk::in_parallel(options).await;
    if settle(tally, listed) {
        return;
    }
    let check = Arc::new(Check::new(options, tally, listing.into_site()));
    let checked = TaskGroup::builder()
        .name("pages")
        .policy(Policy::Collect)
        .limit(options.open_files.get())
        .run(async |g| {
            g.scope().set_deadline(options.deadline);
            for page in check.pages() {
                spawn_page(&g.spawner(), &check, page);
            }
            Ok(g.scope())
        });
    settle(tally, checked.await);
}

/// Notes what a group could not do. Returns whether the deadline has cut it.
fn settle(tally: &Tally, outcome: Result<ScopeHandle, ErrorGroup>) -> bool {
    let was_cut = match outcome {
        Ok(scope) => scope.is_cancelled(),
        Err(failed) => {
            tally.fail(&failed);
            failed.is_cancelled()
        }
    };
    if was_cut {
        tally.cut();
    }
    was_cut
}

/// Spawns the check of a page, a sibling of those that are there already.
fn spawn_page(spawner: &Spawner, check: &Arc<Check>, page: Arc<Document>) {
    let name = page.path.display().to_string();
    let siblings = spawner.clone();
    let check = Arc::clone(check);
    spawner.spawn_named(name, async move {
        // In a box, so that the thousands that are queued behind the limit take little room.
        Box::pin(check_page(&siblings, &check, &page)).await
    });
}

/// Checks a page: reads it, and opens a group with a task for each server that is to be asked.
async fn check_page(
    siblings: &Spawner,
    check: &Arc<Check>,
    page: &Arc<Document>,
) -> Result<(), Error> {
    let errands = check.read(page).await?;
    for outside in errands.outside {
        spawn_page(siblings, check, outside);
    }
    if errands.requests.is_empty() {
        return Ok(());
    }
    group(async |g| {
        for errand in errands.requests {
            let check = Arc::clone(check);
            g.spawn(async move {
                check.ask(errand).await;
                Ok(())
            });
        }
        Ok(())
    })
    .await?;
    Ok(())
}

/// Checks one thing after the other, for comparison.
async fn one_by_one(options: &Options, tally: &Arc<Tally>) {
    let mut problems = Vec::new();
    let all = async {
        let listing = walk::one_by_one(options, &mut problems).await;
        let check = Check::new(options, tally, listing.into_site());
        let mut left = VecDeque::from(check.pages());
        while let Some(page) = left.pop_front() {
            match check.read(&page).await {
                Ok(errands) => {
                    left.extend(errands.outside);
                    for errand in errands.requests {
                        check.ask(errand).await;
                    }
                }
                Err(error) => problems.push(error.into()),
            }
        }
    };
    let in_time = match options.deadline {
        Some(deadline) => timeout_at(deadline, all).await.is_ok(),
        None => {
            all.await;
            true
        }
    };
    if !in_time {
        tally.cut();
    }
    problems.iter().for_each(|error| tally.problem(error));
}
