//! docs/CONTRACT.md and the tests beside this file say the same: one clause per test, one test per clause.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Where the tests of the whole program are. Those beside the journeys that are left out are about settings and about
/// commands that work on files alone.
const PROGRAM: &str = "../coreos-image-service/tests";

/// Modules without clauses: what the others stand on, this one, and the one that is about docs/METRICS.md.
const NOT_CLAUSES: [&str; 5] = ["site", "document", "own_metrics", "service", "tools"];

/// A numbered promise and the test that proves it.
struct Clause {
    number: usize,
    test: String,
}

pub(crate) fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The clauses in their order: numbered list items, lines that are indented belong to the one before.
fn clauses() -> Vec<Clause> {
    let mut texts: Vec<(usize, String)> = Vec::new();
    let mut in_clause = false;
    for line in read("../../docs/CONTRACT.md").lines() {
        let numbered = line.split_once(". ").and_then(|(number, text)| Some((number.parse().ok()?, text)));
        if let Some((number, text)) = numbered {
            texts.push((number, text.to_owned()));
            in_clause = true;
        } else if in_clause && line.starts_with(' ') {
            texts.last_mut().unwrap().1.push_str(line);
        } else {
            in_clause = false;
        }
    }
    let clause = |(number, text): (usize, String)| {
        let test =
            text.strip_suffix('`').and_then(|text| text.rsplit_once('`')).map(|(_, test)| test.to_owned());
        Clause { number, test: test.unwrap_or_else(|| panic!("clause {number} ends without a test: {text}")) }
    };
    texts.into_iter().map(clause).collect()
}

/// The modules of a test that clauses are about: their files, and their names with something before them.
fn modules(directory: &str, before: &str) -> Vec<(String, String)> {
    let main = read(&format!("{directory}/main.rs"));
    let modules = main.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
    let modules = modules.filter(|module| !NOT_CLAUSES.contains(module));
    modules.map(|module| (format!("{directory}/{module}.rs"), format!("{before}{module}"))).collect()
}

/// The names of all tests that clauses are about, as `module::test`; `program::` goes before those of the program.
fn tests() -> BTreeSet<String> {
    let ours = modules("tests/contract", "");
    let journeys = modules(&format!("{PROGRAM}/journey"), "program::");
    let check = (format!("{PROGRAM}/pull_secret.rs"), "program::pull_secret".to_owned());
    let mut tests = BTreeSet::new();
    for (path, module) in ours.into_iter().chain(journeys).chain([check]) {
        let source = read(&path);
        let mut is_test = false;
        for line in source.lines() {
            let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
            if line.starts_with("#[tokio::test") || line.starts_with("#[test") {
                is_test = true;
            } else if let Some((name, _)) = function.and_then(|function| function.split_once('(')) {
                if is_test {
                    tests.insert(format!("{module}::{name}"));
                }
                is_test = false;
            }
        }
    }
    tests
}

#[test]
fn clauses_are_numbered_from_1_without_a_gap() {
    for (index, clause) in clauses().iter().enumerate() {
        assert_eq!(clause.number, index + 1, "the number of the clause about {}", clause.test);
    }
}

#[test]
fn every_clause_names_a_test_that_exists() {
    let tests = tests();
    for Clause { number, test } in clauses() {
        assert!(tests.contains(&test), "clause {number} names {test}, which does not exist");
    }
}

#[test]
fn every_test_is_named_by_exactly_one_clause() {
    let clauses = clauses();
    for test in tests() {
        let numbers: Vec<_> =
            clauses.iter().filter(|clause| clause.test == test).map(|clause| clause.number).collect();
        assert_eq!(numbers.len(), 1, "{test} is named by the clauses {numbers:?}");
    }
}
