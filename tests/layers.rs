//! Modules use only what is below them.
//!
//! A reader can start at any module and needs only the ones further down. Besides that, this holds
//! what is true of the source as a whole: one place for the clock, no `unsafe`, nothing printed
//! behind the caller's back.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Every module of the crate root, from the one that nothing may use to the one that uses nothing.
///
/// The modules of one line know nothing of each other. `lib.rs` stands above all of them. To place a
/// new module, ask what it is made of:
///
/// - It runs programs, or watches them run: first line, or one above it.
/// - It is made of groups, as combinators and streams with producers are: above `group`.
/// - It waits, and has to know about cancellation, as channels and locks for tasks do: between
///   `scope` and `frame`, beside `time`.
/// - It knows nothing of tasks: beside `clock` or `lock`.
const LAYERS: &[&[&str]] = &[
    &["testing"],
    &["runtime"],
    &["stream"],
    &["select"],
    &["join", "results"],
    &["group"],
    &["scope"],
    &["blocking", "channel", "sync", "time"],
    &["crew", "waiters"],
    &["frame"],
    &["clock", "pool"],
    &["sim"],
    &["error"],
    &["locals", "lock"],
    // Not a part of the crate: documents what must not compile.
    &["compile_fail"],
];

/// The files that may say this, and why.
const ONLY_IN: &[(&str, &[&str], &str)] = &[
    (
        "Instant::now",
        // A test run has a limit of real time besides its virtual clock.
        &["src/clock.rs", "src/clock/driver.rs", "src/sim/world.rs"],
        "time goes through `crate::clock`, so that a test can replace it",
    ),
    (
        "SystemTime::now",
        &[],
        "the crate measures time, and never needs the date",
    ),
    (
        "async_io::Timer",
        &["src/clock/driver.rs"],
        "timers are `crate::clock::Alarm`s, so that a test can replace them",
    ),
    ("unsafe", &[], "the crate is free of it"),
    ("println", &[], "a library prints nothing"),
    (
        "print",
        &["src/error/unclaimed.rs"],
        "a library prints nothing",
    ),
    (
        "eprintln",
        &[],
        "a library prints nothing; see `error::unclaimed`",
    ),
    (
        "eprint",
        &[],
        "a library prints nothing; see `error::unclaimed`",
    ),
    ("dbg", &[], "a library prints nothing"),
    ("io::stdout", &[], "a library prints nothing"),
    (
        "io::stderr",
        &["src/error/unclaimed.rs", "src/testing/report.rs"],
        "a library prints nothing, except a failure that nobody else can be told of; a test run \
         says which schedule has failed",
    ),
];

#[test]
fn modules_use_only_what_is_below_them() {
    let layers = layers();
    let mut upwards = BTreeSet::new();
    for file in sources() {
        let Some(user) = layers.get(&file.module[0]) else {
            continue;
        };
        for used in file.uses() {
            if used == file.module[0] {
                continue;
            }
            match layers.get(&used) {
                Some(layer) if layer > user => {}
                Some(_) => drop(upwards.insert(format!(
                    "{}: `{}` uses `{used}`, which is not below it",
                    file.name, file.module[0]
                ))),
                None => drop(upwards.insert(format!(
                    "{}: `crate::{used}` is an item of the crate root; name the module that it is \
                     from",
                    file.name
                ))),
            }
        }
    }
    assert!(
        upwards.is_empty(),
        "move what is shared further down, or pass it in:\n{}",
        lines(&upwards)
    );
}

#[test]
fn every_module_has_its_place_in_the_order() {
    let placed: BTreeSet<_> = layers().into_keys().collect();
    let there: BTreeSet<_> = sources()
        .iter()
        .map(|file| file.module[0].clone())
        .filter(|module| module != "lib")
        .collect();

    let unknown: BTreeSet<_> = there.difference(&placed).collect();
    assert!(
        unknown.is_empty(),
        "{unknown:?}: put each new module into `LAYERS` of tests/layers.rs, above everything that \
         it uses and below everything that uses it; the comment there says how to choose"
    );
    let gone: BTreeSet<_> = placed.difference(&there).collect();
    assert!(gone.is_empty(), "{gone:?}: take them out of `LAYERS`");
}

#[test]
fn each_module_is_placed_once() {
    let count: usize = LAYERS.iter().map(|layer| layer.len()).sum();
    assert_eq!(layers().len(), count);
}

#[test]
fn what_belongs_in_one_place_is_said_there_only() {
    let mut misplaced = BTreeSet::new();
    for file in sources() {
        for (phrase, places, why) in ONLY_IN {
            if !places.contains(&file.name.as_str()) && file.says(phrase) {
                misplaced.insert(format!("{} says `{phrase}`: {why}", file.name));
            }
        }
    }
    assert!(misplaced.is_empty(), "{}", lines(&misplaced));
}

#[test]
fn unsafe_code_is_forbidden() {
    let root = sources().into_iter().find(|file| file.name == "src/lib.rs");
    assert!(root.expect("there is a root").says("forbid(unsafe_code)"));
}

/// Which layer each module is in, counted from the top.
fn layers() -> BTreeMap<String, usize> {
    let places = LAYERS.iter().enumerate();
    places
        .flat_map(|(layer, modules)| modules.iter().map(move |name| ((*name).to_owned(), layer)))
        .collect()
}

fn lines(set: &BTreeSet<String>) -> String {
    set.iter().map(|line| format!("  {line}\n")).collect()
}

/// A file of the crate, as words and signs, without its comments and texts.
struct Source {
    /// `src/group/hub.rs`
    name: String,
    /// `group`, `hub`
    module: Vec<String>,
    tokens: Vec<String>,
}

/// All files below `src`.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder is there") {
            let path = entry.expect("the entry can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(Source::read(root, path));
            }
        }
    }
    assert!(found.len() > 10, "the source has gone elsewhere");
    found
}

impl Source {
    fn read(root: &Path, path: PathBuf) -> Self {
        let name = path.strip_prefix(root).expect("it is below the root");
        let module = name
            .with_extension("")
            .iter()
            .skip(1)
            .map(|part| part.to_string_lossy().into_owned())
            .collect();
        let text = fs::read_to_string(&path).expect("the file can be read");
        Self {
            name: name.to_string_lossy().replace('\\', "/"),
            module,
            tokens: tokens(&text),
        }
    }

    /// The first names of all paths that begin at the crate root.
    fn uses(&self) -> BTreeSet<String> {
        let mut used = BTreeSet::new();
        let mut index = 0;
        while index < self.tokens.len() {
            let (supers, after) = self.path_from_above(index);
            // `$crate` is what a macro says, on behalf of those who use it.
            let is_ours = index == 0 || self.tokens[index - 1] != "$";
            let reaches_root =
                is_ours && (self.tokens[index] == "crate" || supers >= self.module.len());
            if reaches_root && self.token(after) == "::" {
                used.extend(self.first_names(after + 1));
            }
            index = after.max(index + 1);
        }
        // In a module of the root `super` is the root, and in a module within such a file it is the
        // file itself: only names of modules count there.
        used
    }

    /// How many `super` a path begins with, and where it goes on after them, or after `crate`.
    fn path_from_above(&self, start: usize) -> (usize, usize) {
        if self.tokens[start] == "crate" {
            return (0, start + 1);
        }
        let mut supers = 0;
        let mut index = start;
        while self.token(index) == "super" {
            supers += 1;
            index += 1;
            if self.token(index) == "::" && self.token(index + 1) == "super" {
                index += 1;
            }
        }
        (supers, index)
    }

    /// The name at this place, or all names at the beginning of the branches of a `{…}` there.
    fn first_names(&self, start: usize) -> Vec<String> {
        if self.token(start) != "{" {
            return Vec::from([self.token(start).to_owned()]);
        }
        let mut names = Vec::new();
        let mut depth = 0_usize;
        let mut at_beginning = true;
        for token in &self.tokens[start..] {
            match token.as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                "," => at_beginning = depth == 1,
                name => {
                    if at_beginning && depth == 1 {
                        names.push(name.to_owned());
                    }
                    at_beginning = false;
                }
            }
            if depth == 0 {
                break;
            }
        }
        names
    }

    fn token(&self, index: usize) -> &str {
        self.tokens.get(index).map_or("", String::as_str)
    }

    /// Whether the file contains this piece of code.
    fn says(&self, phrase: &str) -> bool {
        let phrase = tokens(phrase);
        self.tokens
            .windows(phrase.len())
            .any(|window| window == phrase)
    }
}

/// Splits a source text into names and signs. Comments, texts and characters are left out.
fn tokens(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            length_of_block_comment(rest)
        } else if let Some(length) = length_of_raw_text(rest) {
            length
        } else if first == '"' {
            length_of_text(rest)
        } else if first == '\'' {
            length_of_character(rest)
        } else if first.is_alphanumeric() || first == '_' {
            let end = rest.find(|next: char| !(next.is_alphanumeric() || next == '_'));
            let end = end.unwrap_or(rest.len());
            found.push(rest[..end].to_owned());
            end
        } else if rest.starts_with("::") {
            found.push("::".to_owned());
            2
        } else {
            if !first.is_whitespace() {
                found.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    found
}

fn length_of_block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut index = 0;
    while index < text.len() {
        let rest = &text.as_bytes()[index..];
        if rest.starts_with(b"/*") {
            depth += 1;
            index += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            index += 2;
            if depth == 0 {
                return index;
            }
        } else {
            index += 1;
        }
    }
    text.len()
}

fn length_of_raw_text(text: &str) -> Option<usize> {
    let hashes = text.strip_prefix('r')?;
    let inside = hashes.trim_start_matches('#');
    let fence = &hashes[..hashes.len() - inside.len()];
    let inside = inside.strip_prefix('"')?;
    let end = format!("\"{fence}");
    let length = inside.find(&end).expect("a raw text has an end");
    Some(text.len() - inside.len() + length + end.len())
}

fn length_of_text(text: &str) -> usize {
    let mut escaped = false;
    for (index, next) in text.char_indices().skip(1) {
        match next {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return index + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of `'x'` or `'\n'`; of a lifetime, the length of its tick.
fn length_of_character(text: &str) -> usize {
    let mut inside = text[1..].char_indices();
    match inside.next() {
        Some((_, '\\')) => {
            let end = text[3..].find('\'');
            end.map_or(text.len(), |end| end + 4)
        }
        Some((_, first)) if text[1 + first.len_utf8()..].starts_with('\'') => first.len_utf8() + 2,
        _ => 1,
    }
}

/// What the lexer has to get right for the rest to mean anything.
mod reading {
    use super::{Source, tokens};

    fn uses(module: &[&str], text: &str) -> Vec<String> {
        let source = Source {
            name: module.join("/"),
            module: module.iter().map(|&part| part.to_owned()).collect(),
            tokens: tokens(text),
        };
        source.uses().into_iter().collect()
    }

    #[test]
    fn nested_imports_are_read() {
        let text = "use crate::{clock::{self, Alarm}, error::Cause, frame::{A, b::{C, D}}};";
        assert_eq!(uses(&["scope"], text), ["clock", "error", "frame"]);
    }

    #[test]
    fn paths_in_expressions_are_read() {
        assert_eq!(
            uses(&["scope"], "let now = crate::clock::now();"),
            ["clock"]
        );
    }

    #[test]
    fn visibilities_are_no_paths() {
        assert!(uses(&["scope"], "pub(crate) fn f() {} pub(super) struct S;").is_empty());
    }

    #[test]
    fn super_reaches_the_root_from_a_module_of_the_root_only() {
        assert_eq!(uses(&["lock"], "use super::error::Panic;"), ["error"]);
        assert!(uses(&["group", "hub"], "use super::child::{self, Runnable};").is_empty());
        assert_eq!(uses(&["group", "hub"], "use super::super::pool;"), ["pool"]);
    }

    #[test]
    fn comments_and_texts_are_left_out() {
        let text = r##"
            //! [`run`](crate::run)
            /* crate::group /* crate::pool */ crate::time */
            const TEXT: &str = "crate::group \" crate::pool";
            const RAW: &str = r#"crate::group"#;
            fn tick<'a>(_: &'a str) -> char { '"' }
            use crate::lock;
        "##;
        assert_eq!(uses(&["scope"], text), ["lock"]);
    }
}
