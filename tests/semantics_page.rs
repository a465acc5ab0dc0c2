//! The page of promises names tests that exist, and those tests name the case they are for.

use std::{fs, path::Path};

#[test]
fn every_promise_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/semantics.md")).unwrap();
    let mut checked = 0;
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        let case = row
            .trim_start_matches("| ")
            .split(" |")
            .next()
            .unwrap_or_default();
        let number: Option<u32> = case.parse().ok();
        // Some cannot be broken, or are held by what must not compile: they name no test.
        let mut numbered = number.is_none() || !row.contains("::");
        let cells = row.split('`').skip(1).step_by(2);
        for (file, test) in cells.filter_map(|cell| cell.split_once("::")) {
            let Ok(source) = fs::read_to_string(root.join(format!("tests/{file}.rs"))) else {
                continue;
            };
            let found = source.find(&format!("fn {test}("));
            let at = found.unwrap_or_else(|| panic!("case {case}: no test {file}::{test}"));
            let before = source[..at].rfind("\n\n").map_or(0, |end| end);
            let doc = &source[before..at];
            assert!(
                doc.contains("#[test]"),
                "case {case}: {file}::{test} is not a test"
            );
            let words = doc.split(|c: char| !c.is_ascii_digit());
            numbered |= words
                .filter_map(|word| word.parse().ok())
                .any(|n: u32| Some(n) == number);
            checked += 1;
        }
        assert!(numbered, "no test of case {case} says that it is for it");
    }
    assert!(checked > 100, "only {checked} tests were found on the page");
}
