//! Publish and subscribe: every subscriber hears every message, one that is too slow is told how
//! many it has missed, and what matters only as it stands now is watched instead.
//!
//! ```text
//! cargo run --example pubsub
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use headcount::{
    Error, ErrorGroup,
    channel::{self, BroadcastReceiver, BroadcastRecvError, WatchReceiver},
    checkpoint, group, run,
};

/// Hears messages until there will be no more. Returns how many came, and how many were missed.
async fn hear(name: &str, mut news: BroadcastReceiver<u32>) -> Result<(u64, u64), Error> {
    let (mut heard, mut missed) = (0, 0);
    loop {
        match news.recv().await {
            Ok(_message) => heard += 1,
            Err(BroadcastRecvError::Lagged(messages)) => missed += messages,
            Err(_closed) => break,
        }
        if name == "slow" {
            for _ in 0..20 {
                checkpoint().await;
            }
        }
    }
    println!("{name}: heard {heard}, missed {missed}");
    Ok((heard, missed))
}

/// Looks at a setting whenever it has changed. Returns what it saw last.
async fn look(mut setting: WatchReceiver<u32>) -> Result<u32, Error> {
    let mut last = *setting.current();
    while let Ok(now) = setting.changed().await {
        println!("the setting is {now} now");
        last = *now;
    }
    Ok(last)
}

fn main() -> Result<(), ErrorGroup> {
    const MESSAGES: u32 = 50;

    run(group(async |g| {
        let (news, first) = channel::broadcast(8);
        let quick = g.spawn_local(hear("quick", first));
        let slow = g.spawn_local(hear("slow", news.subscribe()));
        let (setting, watched) = channel::watch(0);
        let looker = g.spawn_local(look(watched));

        for message in 0..MESSAGES {
            news.send(message)?; // Never waits: nobody's slowness is the others' problem.
            if message % 20 == 0 {
                setting.send(message)?;
            }
            checkpoint().await;
        }
        drop((news, setting)); // That was all.

        let (heard, missed) = quick.await?;
        assert_eq!((heard, missed), (u64::from(MESSAGES), 0));
        let (heard, missed) = slow.await?;
        assert_eq!(heard + missed, u64::from(MESSAGES));
        assert!(missed > 0, "it was slow, and knows");
        assert_eq!(looker.await?, 40);
        Ok(())
    }))
}
