//! The page that says what the adapters are put through says nothing that is not there.

use std::fs;
use std::path::Path;

/// Collects the source of all tests of the library.
fn collect(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder of tests") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&fs::read_to_string(&path).expect("source is text"));
        }
    }
}

#[test]
fn every_test_that_the_page_names_exists() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crates");
    let mut tests = String::new();
    for tested in ["pool", "sqlite"] {
        collect(&crates.join(tested).join("tests"), &mut tests);
    }
    let page = fs::read_to_string(crates.join("../docs/adapters/README.md")).expect("the page");
    // Every second piece between backticks is code; names of tests are sentences.
    let code = page.split('`').skip(1).step_by(2);
    let names: Vec<&str> = code.filter(|code| code.matches('_').count() >= 3).collect();
    assert!(names.len() > 40, "{names:?}");
    for name in names {
        let is_there = tests.contains(&format!("fn {name}("));
        assert!(is_there || name.starts_with("HEADPOND_"), "there is no test {name}");
    }
}
