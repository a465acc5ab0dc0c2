//! Background jobs with a manager: start some, see which are running, cancel one, wait for all, and
//! learn what failed. With a group there is next to nothing left to manage.
//!
//! ```text
//! cargo run --example background_manager
//! ```
//!
//! The class of the same purpose that is often written with asyncio keeps a set of strong
//! references, removes tasks from it in callbacks, and gathers what is left in a `finally`. Here the
//! group does that: it holds its tasks, forgets those that are gone, and does not return before all
//! are.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{collections::BTreeMap, future::Future, time::Duration};

use headcount::{
    Aborted, Error, ErrorGroup, Policy, Spawner, Task, TaskGroup, finally, run, sleep,
};

/// Starts jobs by name and knows them by it.
struct Manager {
    spawner: Spawner,
    jobs: BTreeMap<String, Task<()>>,
}

impl Manager {
    fn new(spawner: Spawner) -> Self {
        Self {
            spawner,
            jobs: BTreeMap::new(),
        }
    }

    /// Starts a job in the background.
    #[track_caller]
    fn start(&mut self, name: &str, job: impl Future<Output = Result<(), Error>> + Send + 'static) {
        self.jobs.retain(|_, job| !job.is_finished());
        self.jobs
            .insert(name.to_owned(), self.spawner.spawn_named(name, job));
    }

    fn running(&self) -> Vec<&str> {
        let running = self.jobs.iter().filter(|(_, job)| !job.is_finished());
        running.map(|(name, _)| name.as_str()).collect()
    }

    /// Cancels a job and waits until it is gone.
    async fn stop(&mut self, name: &str) -> Option<Result<(), Aborted>> {
        let job = self.jobs.remove(name)?;
        job.cancel();
        Some(job.await)
    }
}

async fn beat(every: Duration) -> Result<(), Error> {
    let beating = async {
        loop {
            sleep(every).await;
        }
    };
    finally(beating, async { println!("the heart says goodbye") }).await
}

async fn report(pages: u32) -> Result<(), Error> {
    for page in 1..=pages {
        sleep(Duration::from_millis(2)).await;
        println!("page {page} of the report");
    }
    Ok(())
}

fn main() {
    // Jobs that have nothing to do with each other: no failure cancels another.
    let jobs = TaskGroup::builder()
        .name("background")
        .policy(Policy::Collect);
    let ended: Result<(), ErrorGroup> = run(jobs.run(async |g| {
        let mut manager = Manager::new(g.spawner());
        manager.start("heart", beat(Duration::from_millis(1)));
        manager.start("report", report(3));
        manager.start("mail", async { Err("the mail server is down".into()) });
        sleep(Duration::from_millis(1)).await;
        println!("running: {:?}", manager.running());
        assert!(manager.running().contains(&"heart"));

        assert_eq!(manager.stop("heart").await, Some(Err(Aborted::Cancelled)));
        assert!(!manager.running().contains(&"heart"));
        Ok(()) // The group waits for the report.
    }));

    let failed = ended.expect_err("the mail was not sent");
    println!("{failed:#}");
    assert_eq!(failed.len(), 1);
    assert_eq!(
        failed.first().and_then(|failure| failure.task().name()),
        Some("mail")
    );
}
