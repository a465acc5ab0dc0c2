//! What the documentation names is there, and what is there is named.
//!
//! Links between the pages resolve, tests that a page points to exist, every item of the interface is
//! introduced somewhere, and nothing speaks of the machine that it was written on.

use std::{
    collections::BTreeSet,
    fs,
    path::{Component, Path, PathBuf},
};

/// The page that says which test holds which behaviour.
const BEHAVIOURS: &str = "docs/semantics.md";

/// What a page may link to outside of the repository.
const HOSTS: &[&str] = &[
    "docs.rs",
    "keepachangelog.com",
    "semver.org",
    "www.apache.org",
    // The essays that the ideas come from.
    "vorpus.org",
    "250bpm.com",
    "elizarov.medium.com",
];

#[test]
fn every_test_that_a_page_names_exists() {
    let Ok(page) = fs::read_to_string(root().join(BEHAVIOURS)) else {
        return; // Not every copy of the crate has that page.
    };
    let mut named = 0;
    let mut missing = BTreeSet::new();
    for name in code_spans(&page).filter_map(as_test) {
        named += 1;
        if !exists(&name) {
            missing.insert(format!("{}::{}", name.file, name.test));
        }
    }
    assert!(named > 0, "{BEHAVIOURS} names no test as `file::test_name`");
    assert!(
        missing.is_empty(),
        "{BEHAVIOURS} names tests that are not there:\n{}",
        lines(&missing)
    );
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut broken = BTreeSet::new();
    for page in pages() {
        let text = read(&page);
        for link in links(&text) {
            if !link.contains("://") && !leads_somewhere(&page, &text, &link) {
                broken.insert(format!("{}: {link}", shown(&page)));
            }
        }
    }
    assert!(broken.is_empty(), "{}", lines(&broken));
}

#[test]
fn every_item_is_introduced_on_some_page() {
    let facade = read(&root().join("src/lib.rs"));
    let mut prose: String = facade.lines().filter_map(doc_comment).collect();
    prose.extend(pages().iter().map(|page| read(page)));
    let words: BTreeSet<_> = words(&prose).collect();

    let source: String = below("src", &["rs"])
        .iter()
        .map(|file| read(file))
        .collect();
    let exported = exported(&facade);
    assert!(exported.contains("group"), "the exports are read wrongly");
    let silent: BTreeSet<_> = exported
        .iter()
        .filter(|name| !words.contains(name.as_str()))
        .filter(|name| !needs_no_introduction(&source, name))
        .collect();
    assert!(
        silent.is_empty(),
        "{silent:?}: say on the page of the crate or in the tutorial what these are for"
    );
}

#[test]
fn what_the_design_notes_name_exists() {
    let page = read(&root().join("docs/design.md"));
    let source: String = below("src", &["rs"])
        .iter()
        .map(|file| read(file))
        .collect();
    let words: BTreeSet<_> = words(&source).collect();
    let mut missing = BTreeSet::new();
    for span in code_spans(&page) {
        let is_there = if span.ends_with(".rs") {
            root().join(span).exists() || root().join("src").join(span).exists()
        } else if is_path(span) {
            span.split("::")
                .all(|part| words.contains(part.trim_end_matches("()")))
        } else {
            true
        };
        if !is_there {
            missing.insert(span.to_owned());
        }
    }
    assert!(
        missing.is_empty(),
        "renamed in the source?\n{}",
        lines(&missing)
    );
}

#[test]
fn every_example_that_a_page_names_exists() {
    let examples = root().join("examples");
    if !examples.exists() {
        return; // Not every copy of the crate has them.
    }
    let mut missing = BTreeSet::new();
    for page in pages() {
        for rest in read(&page).split("--example ").skip(1) {
            let is_end = |sign: char| !(sign.is_alphanumeric() || sign == '_');
            let name = rest.split(is_end).next().expect("there is a first part");
            let places = [
                examples.join(format!("{name}.rs")),
                examples.join(name).join("main.rs"),
            ];
            if !places.iter().any(|place| place.exists()) {
                missing.insert(format!("{}: {name}", shown(&page)));
            }
        }
    }
    assert!(missing.is_empty(), "{}", lines(&missing));
}

#[test]
fn nothing_speaks_of_the_machine() {
    let places = ["work", "root", "home", "Users", "tmp/bash"].map(|place| format!("/{place}/"));
    let mut told = BTreeSet::new();
    for file in files() {
        let text = read(&file);
        for place in places.iter().filter(|place| text.contains(*place)) {
            told.insert(format!("{}: {place}", shown(&file)));
        }
    }
    assert!(told.is_empty(), "{}", lines(&told));
}

#[test]
fn links_to_the_outside_are_few_and_known() {
    let mut unknown = BTreeSet::new();
    for page in pages() {
        for link in links(&read(&page)) {
            let Some((_, rest)) = link.split_once("://") else {
                continue;
            };
            let host = rest.split('/').next().expect("there is a first part");
            if !HOSTS.contains(&host) {
                unknown.insert(format!("{}: {link}", shown(&page)));
            }
        }
    }
    assert!(unknown.is_empty(), "{}", lines(&unknown));
}

#[test]
fn cancelled_has_two_l() {
    let american = ["canceled", "canceling", "cancelation"];
    let mut found = BTreeSet::new();
    for file in files().into_iter().chain(pages()) {
        if shown(&file) == "tests/documentation.rs" {
            continue;
        }
        let text = read(&file).to_lowercase();
        for word in american.iter().filter(|word| text.contains(*word)) {
            found.insert(format!("{}: {word}", shown(&file)));
        }
    }
    assert!(found.is_empty(), "{}", lines(&found));
}

/// A test that a page names: in `tests/joining.rs`, `fn a_group_waits`.
struct Test {
    file: String,
    test: String,
}

/// Reads `joining::a_group_waits`, or with modules in between, or with `tests/` and `.rs`.
fn as_test(span: &str) -> Option<Test> {
    let span = span.strip_prefix("tests/").unwrap_or(span);
    let (file, path) = span.split_once("::")?;
    let file = file.strip_suffix(".rs").unwrap_or(file);
    let test = path.rsplit("::").next()?;
    let is_name = |name: &str| {
        let mut signs = name.chars();
        !name.is_empty()
            && signs.all(|sign| sign.is_ascii_lowercase() || sign.is_ascii_digit() || sign == '_')
    };
    let is_elsewhere = [
        "std",
        "core",
        "headcount",
        "crate",
        "futures_lite",
        "smol",
        "tokio",
    ];
    (is_name(file) && is_name(test) && !is_elsewhere.contains(&file)).then(|| Test {
        file: file.to_owned(),
        test: test.to_owned(),
    })
}

fn exists(name: &Test) -> bool {
    let tests = root().join("tests");
    let parts = fs::read_dir(tests.join(&name.file)).into_iter().flatten();
    let parts = parts.map(|part| part.expect("the entry can be read").path());
    let files = [tests.join(format!("{}.rs", name.file))];
    let declared = format!("fn {}(", name.test);
    // A test may also come from a macro that is given its name.
    let given = format!("{}:", name.test);
    files.into_iter().chain(parts).any(|file| {
        let text = fs::read_to_string(file).unwrap_or_default();
        text.contains(&declared)
            || text
                .lines()
                .any(|line| line.trim_start().starts_with(&given))
    })
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All pages of prose.
fn pages() -> Vec<PathBuf> {
    let mut found = Vec::from(["README.md", "CHANGELOG.md"].map(|page| root().join(page)));
    found.extend(below("docs", &["md"]));
    assert!(found.len() > 3, "the pages have gone elsewhere");
    found
}

/// All files that people read, besides the pages.
fn files() -> Vec<PathBuf> {
    let folders = ["src", "tests", "examples", "benches", ".ci"];
    let endings = ["rs", "md", "toml", "sh", "html", ""];
    let mut found: Vec<_> = folders
        .iter()
        .flat_map(|folder| below(folder, &endings))
        .collect();
    found.push(root().join("Cargo.toml"));
    found
}

/// The files with these endings in a folder and below, if there is such a folder.
fn below(folder: &str, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = Vec::from([root().join(folder)]);
    while let Some(folder) = folders.pop() {
        if folder.ends_with("target") {
            continue;
        }
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("the entry can be read").path();
            let ending = path.extension().unwrap_or_default().to_string_lossy();
            if path.is_dir() {
                folders.push(path);
            } else if endings.contains(&&*ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn read(file: &Path) -> String {
    let text = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", shown(file)));
    String::from_utf8_lossy(&text).into_owned()
}

/// A path as people see it.
fn shown(file: &Path) -> String {
    let file = file.strip_prefix(root()).unwrap_or(file);
    file.to_string_lossy().replace('\\', "/")
}

fn lines(set: &BTreeSet<String>) -> String {
    set.iter().map(|line| format!("  {line}\n")).collect()
}

fn doc_comment(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix("//!")
}

/// Whether an item says of itself that something else has brought the reader to it.
fn needs_no_introduction(source: &str, name: &str) -> bool {
    let kinds = ["struct", "enum", "trait"];
    let declared = kinds.iter().find_map(|kind| {
        let is_end = |rest: &str| !rest.starts_with(|sign: char| sign.is_alphanumeric());
        let declaration = format!("pub {kind} {name}");
        let mut found = source.match_indices(&declaration);
        found.find(|(index, text)| is_end(&source[index + text.len()..]))
    });
    let Some((index, _)) = declared else {
        return name.starts_with("OneOf"); // What a race yields; made by a macro.
    };
    let before = source[..index].lines().rev();
    let page = before.take_while(|line| line.starts_with("///") || line.starts_with('#'));
    let page: String = page.collect();
    [
        "returned by [",
        "made by [",
        "Options of",
        "implemented elsewhere",
    ]
    .iter()
    .any(|words| page.contains(words))
}

/// The names that the crate exports from its root.
fn exported(facade: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for import in facade.split("\npub use ").skip(1) {
        let import = import.split(';').next().expect("there is a first part");
        let tokens = import.split_inclusive(|sign: char| !(sign.is_alphanumeric() || sign == '_'));
        for token in tokens {
            let is_module = token.ends_with(':');
            let name =
                token.trim_end_matches(|sign: char| !(sign.is_alphanumeric() || sign == '_'));
            if !is_module && !matches!(name, "" | "self" | "crate") {
                names.insert(name.to_owned());
            }
        }
    }
    names
}

/// The lines of a page that are prose.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    page.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !in_code && !is_fence
    })
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|sign: char| !(sign.is_alphanumeric() || sign == '_'))
}

/// Whether this is a path of the crate and nothing else: `Hub::hand_up`.
fn is_path(span: &str) -> bool {
    let is_sign = |sign: char| sign.is_alphanumeric() || matches!(sign, '_' | ':' | '(' | ')');
    span.contains("::") && !span.starts_with("std::") && span.chars().all(is_sign)
}

fn code_spans(page: &str) -> impl Iterator<Item = &str> {
    prose(page).flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// The targets of the links of a page.
fn links(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(page) {
        let outside_of_code: String = line.split('`').step_by(2).collect();
        for rest in outside_of_code.split("](").skip(1) {
            let target = rest.split(')').next().expect("there is a first part");
            found.push(target.to_owned());
        }
    }
    found
}

fn leads_somewhere(page: &Path, text: &str, link: &str) -> bool {
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    if path.is_empty() {
        return anchors(text).contains(anchor);
    }
    let folder = page.parent().expect("a page is in a folder");
    let target = normal(&folder.join(path));
    if !target.starts_with(root()) || !target.exists() {
        return false;
    }
    anchor.is_empty() || anchors(&read(&target)).contains(anchor)
}

/// A path without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(normal.pop()),
            part => normal.push(part),
        }
    }
    normal
}

/// The anchors that the headings of a page get.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = prose(page).filter(|line| line.starts_with('#'));
    headings
        .map(|heading| {
            let title = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = title
                .chars()
                .filter(|sign| sign.is_alphanumeric() || matches!(sign, ' ' | '-' | '_'));
            kept.map(|sign| if sign == ' ' { '-' } else { sign })
                .collect()
        })
        .collect()
}

/// What the reading of pages has to get right for the rest to mean anything.
mod reading {
    use super::{anchors, as_test, code_spans, exported, links};

    const PAGE: &str = "# A title, `code` and all\n\n[one](a.md#b) and `[no](c)` and [two](#d)\n\n\
        ```text\n[no](e)\n# no\n```\n| 7 | `joining::waits`, `tests/a.rs::b::c` |\n";

    #[test]
    fn links_in_code_are_no_links() {
        assert_eq!(links(PAGE), ["a.md#b", "#d"]);
    }

    #[test]
    fn headings_have_anchors() {
        let anchors: Vec<_> = anchors(PAGE).into_iter().collect();
        assert_eq!(anchors, ["a-title-code-and-all"]);
    }

    #[test]
    fn tests_are_found() {
        let found: Vec<_> = code_spans(PAGE).filter_map(as_test).collect();
        let found: Vec<_> = found
            .iter()
            .map(|test| (test.file.as_str(), test.test.as_str()))
            .collect();
        assert_eq!(found, [("joining", "waits"), ("a", "c")]);
    }

    #[test]
    fn what_is_no_test_is_left_out() {
        for span in [
            "Duration::MAX",
            "std::mem::forget",
            "Policy::Collect",
            "group",
        ] {
            assert!(as_test(span).is_none(), "{span}");
        }
    }

    #[test]
    fn exports_are_read() {
        let facade = "mod a;\n\npub use crate::{\n    a::{B, c},\n    d::E,\n};\n";
        let exported: Vec<_> = exported(facade).into_iter().collect();
        assert_eq!(exported, ["B", "E", "c"]);
    }
}
