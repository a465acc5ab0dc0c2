//! The texts of errors, to the letter: people read them, and search their logs for them.

mod common;

use std::{error::Error as StdError, fmt, future::pending, io, time::Duration};

use common::{for_ever, keep_quiet_about_purpose, watched};
use headcount::{
    Aborted, CancelScope, Error, ErrorGroup, Policy, StartError, TaskGroup, group, run, timeout,
};

/// An error with two more behind it.
#[derive(Debug)]
struct Upload(Disk);

#[derive(Debug)]
struct Disk(io::Error);

impl fmt::Display for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the upload failed")
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the disk gave up")
    }
}

impl StdError for Upload {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

impl StdError for Disk {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

fn upload() -> Error {
    Upload(Disk(io::Error::other("no space"))).into()
}

/// A nested run that fails in every way there is, and the line that it begins at.
fn failing() -> (ErrorGroup, u32) {
    keep_quiet_about_purpose();
    let line = line!();
    let outer = TaskGroup::builder()
        .name("sync")
        .policy(Policy::Collect)
        .run(async |g| {
            let a = g.spawn_named("upload", async { Err::<(), _>(upload()) });
            assert_eq!(a.await, Err(Aborted::Failed));
            let b = g.spawn(async { Err::<(), _>("no route".into()) });
            assert_eq!(b.await, Err(Aborted::Failed));
            let c = g.spawn_local_named("index", async {
                let pages = TaskGroup::builder().name("pages");
                let inner = pages.policy(Policy::Collect).run(async |h| {
                    let d = h.spawn_named("parse", async { Err::<(), _>(fmt::Error.into()) });
                    assert_eq!(d.await, Err(Aborted::Failed));
                    let e = h.spawn::<(), _>(async { panic!("on purpose:\nof two lines") });
                    assert_eq!(e.await, Err(Aborted::Failed));
                    Ok(())
                });
                Ok(inner.await?)
            });
            assert_eq!(c.await, Err(Aborted::Failed));
            g.defer(async { panic!("on purpose: cleanup") });
            Err::<(), _>("the body".into())
        });
    (
        watched("in a run", || run(outer).expect_err("everything fails")),
        line,
    )
}

/// Places of this file, counted from the line that is given.
fn at(line: u32, after: u32) -> String {
    format!("(tests/error_texts.rs:{})", line + after)
}

/// One line: which group it was, the first of those that failed, how many more there are. What went
/// wrong with them is left to `source`.
#[test]
fn plain_display_is_one_line_that_names_who_failed() {
    let (failed, line) = failing();
    let id = failed.iter().nth(1).unwrap().task().id();
    assert_eq!(
        failed.to_string(),
        format!(
            "task group \"sync\" {} failed: task \"upload\" {} failed, task #{id} {} failed, \
             task \"index\" {} failed, and 2 more",
            at(line, 4),
            at(line, 5),
            at(line, 7),
            at(line, 9),
        ),
    );
    assert_eq!(failed.source().unwrap().to_string(), "the upload failed");
}

/// The whole tree: every task with its name or id and its place, errors with their sources, panics
/// with their messages, nested groups below the task that passed them on.
#[test]
fn alternate_display_is_the_whole_tree() {
    let (failed, line) = failing();
    let ids: Vec<_> = failed.leaves().map(|f| f.task().id()).collect();
    let expected = format!(
        "\
task group \"sync\" {} failed
├─ task \"upload\" {}: the upload failed
│  caused by: the disk gave up
│  caused by: no space
├─ task #{} {}: no route
├─ task \"index\" {}: task group \"pages\" {} failed
│  ├─ task \"parse\" {}: an error occurred when formatting an argument
│  └─ task #{} {} panicked: on purpose:
│     of two lines
├─ the body of group \"sync\" {}: the body
└─ a deferred finalizer {} panicked: on purpose: cleanup",
        at(line, 4),
        at(line, 5),
        ids[1],
        at(line, 7),
        at(line, 9),
        at(line, 11),
        at(line, 12),
        ids[3],
        at(line, 14),
        at(line, 4),
        at(line, 21),
    );
    assert_eq!(format!("{failed:#}"), expected);
    // `main` prints errors with `Debug`.
    assert_eq!(format!("{failed:?}"), expected);
}

/// A group without a name goes by its place, as does its body.
#[test]
fn a_group_without_a_name_goes_by_its_place() {
    let line = line!() + 1;
    let failed = run(group(async |_g| Err::<(), _>("no route".into()))).unwrap_err();
    let at = at(line, 0);
    assert_eq!(
        failed.to_string(),
        format!("task group {at} failed: the group's body {at} failed"),
    );
    assert_eq!(
        format!("{failed:#}"),
        format!("task group {at} failed\n└─ the group's body {at}: no route"),
    );
}

/// A group that was only cancelled says so, and why, in one line in all forms.
#[test]
fn a_cancelled_group_says_why() {
    for (reason, expected) in [
        (None, "was cancelled"),
        (
            Some("the user pressed stop"),
            "was cancelled: the user pressed stop",
        ),
    ] {
        let line = line!() + 1;
        let stopped = run(TaskGroup::builder().name("fetch").run(async |g| {
            match reason {
                Some(reason) => g.cancel_with(reason),
                None => g.cancel(),
            }
            for_ever().await
        }))
        .unwrap_err();
        let expected = format!("task group \"fetch\" {} {expected}", at(line, 0));
        assert_eq!(stopped.to_string(), expected);
        assert_eq!(format!("{stopped:#}"), expected);
        assert_eq!(format!("{stopped:?}"), expected);
        assert!(stopped.source().is_none());
    }
    let line = line!() + 1;
    let late = run(group(async |g| {
        g.scope().set_deadline(Some(headcount::now()));
        for_ever().await
    }))
    .unwrap_err();
    let expected = format!(
        "task group {} was cancelled: its deadline passed",
        at(line, 0)
    );
    assert_eq!(late.to_string(), expected);
    assert_eq!(format!("{late:#}"), expected);
}

/// A panic raised with something that is not text is told as one.
#[test]
fn a_panic_without_text_says_so() {
    let line = line!() + 1;
    let failed = run(group(async |_g| {
        if true {
            std::panic::panic_any(7)
        } else {
            Ok(())
        }
    }));
    let (failed, at) = (failed.unwrap_err(), at(line, 0));
    assert_eq!(
        failed.to_string(),
        format!("task group {at} failed: the group's body {at} panicked"),
    );
    assert_eq!(
        format!("{failed:#}"),
        format!(
            "task group {at} failed\n└─ the group's body {at} panicked with a value that is not text"
        ),
    );
}

/// Case 43. An error that panics when it is printed leaves a mark in its place, and the rest is
/// printed.
#[test]
fn an_error_that_cannot_be_printed_leaves_a_mark() {
    #[derive(Debug)]
    struct Unprintable;

    impl fmt::Display for Unprintable {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("half a sen")?;
            panic!("on purpose: Display")
        }
    }

    impl StdError for Unprintable {}

    keep_quiet_about_purpose();
    let line = line!() + 1;
    let failed = TaskGroup::builder().policy(Policy::Collect).run(async |g| {
        let task = g.spawn_named("one", async { Err::<(), _>(Unprintable.into()) });
        assert_eq!(task.await, Err(Aborted::Failed));
        g.spawn_named("two", async { Err::<(), _>("no route".into()) });
        Ok(())
    });
    let failed = run(failed).unwrap_err();
    assert_eq!(
        failed.to_string(),
        format!(
            "task group {} failed: task \"one\" {} failed, task \"two\" {} failed",
            at(line, 0),
            at(line, 1),
            at(line, 3),
        ),
    );
    assert_eq!(
        format!("{failed:#}"),
        format!(
            "task group {} failed\n├─ task \"one\" {}: <an error whose Display panicked: on purpose: Display>\n└─ task \"two\" {}: no route",
            at(line, 0),
            at(line, 1),
            at(line, 3),
        ),
    );
}

/// Errors of a type of one's own go by the name of the type, until they are converted.
#[test]
fn errors_of_other_types_go_by_their_type() {
    #[derive(Debug)]
    struct Refused;

    let line = line!() + 3;
    let failed = TaskGroup::builder()
        .errors::<Refused>()
        .run(async |_g| Err::<(), _>(Refused));
    let (failed, at) = (run(failed).unwrap_err(), at(line, 0));
    let name = std::any::type_name::<Refused>();
    assert_eq!(
        format!("{failed:#}"),
        format!(
            "task group {at} failed\n└─ the group's body {at} failed with a value of type {name}"
        ),
    );
    let failed = failed.map_errors(|Refused| Error::from("refused"));
    assert_eq!(
        format!("{failed:#}"),
        format!("task group {at} failed\n└─ the group's body {at}: refused"),
    );
}

/// An error whose message has several lines stays inside its branch of the tree.
#[test]
fn messages_of_several_lines_stay_in_their_branch() {
    let line = line!() + 1;
    let failed = TaskGroup::builder().policy(Policy::Collect).run(async |g| {
        let task = g.spawn_named("one", async { Err::<(), _>("first\nsecond".into()) });
        assert_eq!(task.await, Err(Aborted::Failed));
        g.spawn_named("two", async { Err::<(), _>("third\nfourth".into()) });
        Ok(())
    });
    let failed = run(failed).unwrap_err();
    assert_eq!(
        format!("{failed:#}"),
        format!(
            "task group {} failed\n├─ task \"one\" {}: first\n│  second\n└─ task \"two\" {}: third\n   fourth",
            at(line, 0),
            at(line, 1),
            at(line, 3),
        ),
    );
}

/// The small errors: each one line, in lower case, without a full stop.
#[test]
fn outcomes_have_one_line_each() {
    let cut = |scope: CancelScope| run(scope.run(pending::<()>())).unwrap_err().to_string();
    let stop = |scope: CancelScope, reason: Option<&str>| {
        match reason {
            Some(reason) => scope.handle().cancel_with(reason),
            None => scope.handle().cancel(),
        }
        cut(scope)
    };
    assert_eq!(stop(CancelScope::new(), None), "cancelled");
    assert_eq!(
        stop(CancelScope::new(), Some("enough")),
        "cancelled: enough"
    );
    let named = || CancelScope::new().name("upload");
    assert_eq!(stop(named(), None), "scope \"upload\" was cancelled");
    assert_eq!(
        stop(named(), Some("enough")),
        "scope \"upload\" was cancelled: enough"
    );

    let late = run(timeout(Duration::from_millis(1), pending::<()>())).unwrap_err();
    assert_eq!(late.to_string(), "timed out after 1ms");

    let texts = [
        Aborted::Cancelled.to_string(),
        Aborted::Failed.to_string(),
        StartError::<Error>::NotReady.to_string(),
        StartError::<Error>::Cancelled.to_string(),
        StartError::<Error>::Failed("no route".into()).to_string(),
    ];
    assert_eq!(
        texts,
        [
            "the awaited task was cancelled",
            "the awaited task failed; its group reports the failure",
            "the task ended without reporting that it is ready",
            "the task was cancelled before it was ready",
            "the task failed before it was ready",
        ]
    );
}
