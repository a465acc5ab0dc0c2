//! The example `linkcheck`, run as a program, against pages and a web server whose faults are known.

mod server;

use std::{
    env, fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::atomic::{AtomicUsize, Ordering},
};

use self::server::Server;

/// Where the sound and the broken pages are.
fn pages(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/pages")
        .join(name)
}

/// What the program said, and how it ended.
struct Ran {
    status: Option<i32>,
    /// Standard output without the line that says how long it took.
    report: String,
    complaints: String,
}

/// Runs the program in a folder.
fn linkcheck(folder: &Path, arguments: &[&str]) -> Ran {
    let tests = env::current_exe().expect("tests know where they are");
    let profile = tests
        .ancestors()
        .nth(2)
        .expect("tests are two folders deep");
    let program = profile.join(format!("examples/linkcheck{}", env::consts::EXE_SUFFIX));
    let ran = Command::new(&program)
        .args(arguments)
        .current_dir(folder)
        .output();
    let Output {
        status,
        stdout,
        stderr,
    } = ran.unwrap_or_else(|error| {
        panic!(
            "{}: {error}; `cargo test` builds it, or `cargo build --example linkcheck`",
            program.display()
        )
    });
    let stdout = String::from_utf8(stdout).expect("the report is text");
    let report = stdout.lines().filter(|line| !line.starts_with("took "));
    Ran {
        status: status.code(),
        report: report.map(|line| format!("{line}\n")).collect(),
        complaints: String::from_utf8(stderr).expect("complaints are text"),
    }
}

/// A folder for one test, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);

        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("linkcheck-{}-{number}", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).expect("there is room");
        Self(folder)
    }

    /// A folder with one page.
    fn with_page(text: &str) -> Self {
        let scratch = Self::new();
        fs::write(scratch.0.join("page.md"), text).expect("there is room");
        scratch
    }

    /// A copy of a folder of pages, with the names of servers filled in.
    fn with_pages(name: &str, fill_in: &dyn Fn(&str) -> String) -> Self {
        let scratch = Self::new();
        copy(&pages(name), &scratch.0, fill_in);
        scratch
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn copy(from: &Path, to: &Path, fill_in: &dyn Fn(&str) -> String) {
    fs::create_dir_all(to).expect("there is room");
    for entry in fs::read_dir(from).expect("pages can be listed") {
        let entry = entry.expect("pages can be listed");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to, fill_in);
        } else {
            let text = fs::read_to_string(&from).expect("pages are text");
            fs::write(&to, fill_in(&text)).expect("there is room");
        }
    }
}

/// The address of a port where nobody listens.
fn closed_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    listener.local_addr().expect("it is bound").to_string()
}

#[test]
fn sound_pages_are_sound() {
    let server = Server::start();
    let fill_in = |text: &str| text.replace("{server}", &server.address());
    let folder = Scratch::with_pages("sound", &fill_in);

    let ran = linkcheck(&folder.0, &[]);
    assert_eq!(
        ran.report,
        "11 pages, 112 links: 0 broken\n\
         not checked: 3 links to https://, which would need TLS\n\
         not checked: 6 links to no document, such as mailto:\n"
    );
    assert_eq!(ran.complaints, "");
    assert_eq!(ran.status, Some(0));

    assert_eq!(server.asked("HEAD /flaky"), 3);
    assert_eq!(server.asked("HEAD /get-only"), 1);
    assert_eq!(server.asked("GET /get-only"), 1);
    assert_eq!(server.asked("GET /ok"), 0);
}

#[test]
fn every_broken_link_is_found_where_it_is() {
    let (server, closed) = (Server::start(), closed_port());
    let refused = TcpStream::connect(&closed).unwrap_err().to_string();
    let fill_in = |text: &str| {
        let text = text.replace("{server}", &server.address());
        let text = text.replace("{closed}", &closed);
        text.replace("{refused}", &refused)
    };
    let folder = Scratch::with_pages("broken", &fill_in);
    let expected = fs::read_to_string(pages("broken.txt")).unwrap();

    let ran = linkcheck(&folder.0, &[]);
    let found: Vec<_> = ran.report.lines().collect();
    let expected = fill_in(&expected);
    let expected: Vec<_> = expected.lines().collect();
    let (broken, summary) = found.split_at(expected.len().min(found.len()));
    assert_eq!(broken, expected);
    assert_eq!(summary, ["10 pages, 64 links: 55 broken"]);
    assert_eq!(ran.complaints, "");
    assert_eq!(ran.status, Some(1));
}

#[test]
fn one_after_the_other_it_finds_the_same() {
    for name in ["sound", "broken"] {
        let closed = closed_port();
        let fill_in = |server: &Server| {
            let server = server.address();
            let closed = closed.clone();
            move |text: &str| {
                text.replace("{server}", &server)
                    .replace("{closed}", &closed)
            }
        };
        let servers = [Server::start(), Server::start()];
        let parallel = Scratch::with_pages(name, &fill_in(&servers[0]));
        let sequential = Scratch::with_pages(name, &fill_in(&servers[1]));

        let parallel = linkcheck(&parallel.0, &[]);
        let sequential = linkcheck(&sequential.0, &["--sequential"]);
        let parallel_report = parallel
            .report
            .replace(&servers[0].address(), &servers[1].address());
        assert_eq!(parallel_report, sequential.report);
        assert_eq!(parallel.status, sequential.status);
    }
}

#[test]
fn offline_asks_nobody() {
    let server = Server::start();
    let folder = Scratch::with_page(&format!("<http://{}/missing>", server.address()));

    let ran = linkcheck(&folder.0, &["--offline"]);
    assert_eq!(
        ran.report,
        "1 page, 1 link: 0 broken\n\
         not checked: 1 link to http://, as --offline was given\n"
    );
    assert_eq!(ran.status, Some(0));
    assert_eq!(server.asked("HEAD /missing"), 0);
}

#[test]
fn a_server_that_never_answers_times_out() {
    let server = Server::start();
    let link = format!("http://{}/silent", server.address());
    let folder = Scratch::with_page(&format!("<{link}>"));

    for more in [None, Some("--sequential")] {
        let mut arguments = vec!["--timeout", "50ms"];
        arguments.extend(more);
        let ran = linkcheck(&folder.0, &arguments);
        assert_eq!(
            ran.report,
            format!("page.md:1: {link}: timed out after 50ms\n1 page, 1 link: 1 broken\n")
        );
        assert_eq!(ran.status, Some(1));
    }
}

#[test]
fn the_timeout_covers_all_tries_of_a_link() {
    let server = Server::start();
    let link = format!("http://{}/down", server.address());
    let folder = Scratch::with_page(&format!("<{link}>"));

    let ran = linkcheck(&folder.0, &["--timeout", "1s", "--tries", "1000"]);
    assert_eq!(
        ran.report,
        format!(
            "page.md:1: {link}: timed out after 1s, after the server answers 503\n\
             1 page, 1 link: 1 broken\n"
        )
    );
}

#[test]
fn tries_are_counted() {
    let server = Server::start();
    let folder = Scratch::with_page(&format!("<http://{}/flaky>", server.address()));

    let ran = linkcheck(&folder.0, &["--tries", "2"]);
    assert_eq!(ran.status, Some(1));
    assert_eq!(server.asked("HEAD /flaky"), 2);
}

#[test]
fn an_address_is_asked_for_once() {
    let server = Server::start();
    let folder = Scratch::new();
    for name in ["a.md", "b.md", "c.md"] {
        let link = format!("http://{}/missing", server.address());
        let text = format!("[one]({link}#a), [two]({link}#b)");
        fs::write(folder.0.join(name), text).unwrap();
    }

    let ran = linkcheck(&folder.0, &[]);
    assert!(ran.report.ends_with("3 pages, 6 links: 6 broken\n"));
    assert_eq!(server.asked("HEAD /missing"), 1);
}

#[test]
fn connections_are_limited_and_used() {
    let server = Server::start();
    let link = |number| format!("<http://{}/together/{number}>\n", server.address());
    let folder = Scratch::with_page(&(0..10).map(link).collect::<String>());

    // Each request waits for another one, so it would hang with fewer than two at a time.
    let ran = linkcheck(&folder.0, &["--connections", "2"]);
    assert_eq!(ran.report, "1 page, 10 links: 0 broken\n");
    assert_eq!(server.most_together(), 2);
}

#[test]
fn out_of_time_it_reports_what_it_has() {
    report_until_the_deadline(&[]);
}

#[test]
fn out_of_time_it_reports_what_it_has_one_after_the_other() {
    report_until_the_deadline(&["--sequential"]);
}

#[track_caller]
fn report_until_the_deadline(more: &[&str]) {
    let server = Server::start();
    let folder = Scratch::with_page(&format!(
        "[silent](http://{}/silent)\n[broken](missing.md)",
        server.address()
    ));

    let limits = ["--timeout", "10m", "--deadline", "2s"];
    let ran = linkcheck(&folder.0, &[&limits, more].concat());
    assert_eq!(
        ran.report,
        "page.md:2: missing.md: there is no such file\n\
         1 page, 2 links: 1 broken\n\
         the deadline ran out: 0 pages not read, 1 link not followed\n"
    );
    assert_eq!(ran.status, Some(1));
}

#[test]
fn out_of_time_nothing_is_sound() {
    for more in [None, Some("--sequential")] {
        let mut arguments = vec!["--offline", "--deadline", "0s"];
        arguments.extend(more);
        let ran = linkcheck(&pages("sound"), &arguments);
        assert!(
            ran.report.contains("the deadline ran out: "),
            "{}",
            ran.report
        );
        assert_eq!(ran.status, Some(2));
    }
}

#[test]
fn few_open_files_are_enough() {
    let ran = linkcheck(&pages("sound"), &["--offline", "--open-files", "1"]);
    assert_eq!(ran.status, Some(0), "{}", ran.report);
}

#[test]
fn folders_can_be_left_out() {
    let folder = Scratch::new();
    for name in ["target", ".git", "marked", "docs/target"] {
        let inner = folder.0.join(name);
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("page.md"), "[broken](missing.md)").unwrap();
    }
    fs::write(folder.0.join("marked/.linkcheckignore"), "").unwrap();

    let all = linkcheck(&folder.0, &[]);
    assert_eq!(all.report, "0 pages, 0 links: 0 broken\n");
    let one = linkcheck(&folder.0, &["target"]);
    assert_eq!(
        one.report,
        "target/page.md:1: missing.md: there is no such file\n1 page, 1 link: 1 broken\n"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn an_unreadable_page_is_a_problem_of_its_own() {
    let folder = Scratch::with_page("[there](unreadable.md#anywhere), [nowhere](missing.md)");
    std::os::unix::fs::symlink("/proc/self/mem", folder.0.join("unreadable.md")).unwrap();

    for more in [&[][..], &["--sequential"]] {
        let ran = linkcheck(&folder.0, more);
        assert!(
            ran.complaints
                .starts_with("linkcheck: cannot read unreadable.md: "),
            "{}",
            ran.complaints
        );
        assert!(ran.report.starts_with("page.md:1: missing.md: "));
        assert_eq!(ran.status, Some(1));

        fs::write(folder.0.join("page.md"), "[there](unreadable.md#anywhere)").unwrap();
        assert_eq!(linkcheck(&folder.0, more).status, Some(2));
        fs::write(folder.0.join("page.md"), "[nowhere](missing.md)").unwrap();
    }
}

#[test]
fn misuse_is_told() {
    for (arguments, complaint) in [
        (&["nowhere"][..], "nowhere is not a folder"),
        (&["a", "b"], "one folder at a time, not a and b"),
        (&["--fast"], "there is no option --fast"),
        (&["--timeout"], "--timeout needs a value"),
        (&["--timeout", "5"], "--timeout 5: of what? Write 5s or 5ms"),
        (
            &["--deadline", "soon"],
            "--deadline needs a time such as 500ms, 2s or 1m, not `soon`",
        ),
        (
            &["--connections", "0"],
            "--connections needs a whole number above 0, not `0`",
        ),
    ] {
        let ran = linkcheck(&pages("sound"), arguments);
        let first = ran.complaints.lines().next();
        assert_eq!(first, Some(&*format!("linkcheck: {complaint}")));
        assert_eq!(ran.report, "");
        assert_eq!(ran.status, Some(2));
    }
}

#[test]
fn help_is_given() {
    let ran = linkcheck(&pages("sound"), &["--help"]);
    assert!(ran.report.contains("Usage: linkcheck [OPTIONS] [FOLDER]"));
    assert_eq!(ran.status, Some(0));
}
