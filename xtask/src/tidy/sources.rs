//! What every Rust source must be: headed, well named, narrow, and safe outside `engine/`.
//!
//! Invariant: `unsafe` stands in the pooler's engine alone; the pure crates say that they are pure.
//! Not here: links (`links.rs`) and edges between crates (`edges.rs`).

use std::path::{Path, PathBuf};

use super::Finding;
use super::lexer::{self, has_word};
use crate::tree;

/// Names that say nothing about what is inside.
const BANNED: [&str; 12] = [
    "inner",
    "internals",
    "common",
    "util",
    "utils",
    "helper",
    "helpers",
    "misc",
    "types",
    "base",
    "manager2",
    "v2",
];

/// The one place that talks to the kernel without the standard library between.
const UNSAFE_ROOM: &str = "crates/pooler/src/engine";

/// Tests that count allocations: an allocator is an unsafe trait, and no part of the product.
const COUNTING_TESTS: [&str; 1] = ["crates/wire/tests/session_cost.rs"];

/// Crates that have no I/O by construction: what their root file must say.
const PURE: [(&str, &[&str]); 2] = [
    ("crates/core/src/lib.rs", &["#![no_std]", "#![forbid(unsafe_code)]"]),
    (
        "crates/wire/src/lib.rs",
        &[
            "#![no_std]",
            "#![forbid(unsafe_code)]",
            "clippy::unwrap_used",
            "clippy::indexing_slicing",
            "clippy::arithmetic_side_effects",
            "clippy::cast_possible_truncation",
        ],
    ),
];

const COLUMNS: usize = 100;

/// Checks every file of the list.
pub fn check(files: &[PathBuf], findings: &mut Vec<Finding>) -> Result<(), String> {
    for path in files {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        match extension {
            "rs" => rust(path, findings)?,
            "toml" | "sh" | "py" | "yml" | "yaml" => marks(path, &tree::read(path)?, findings),
            _ => {}
        }
    }
    pure(findings)
}

fn rust(path: &Path, findings: &mut Vec<Finding>) -> Result<(), String> {
    let source = tree::read(path)?;
    if !source.starts_with("//!") {
        findings.push(Finding::file(path, "opens with `//!` what it is and what it leaves out"));
    }
    for part in path.with_extension("").iter().filter_map(|part| part.to_str()) {
        if BANNED.contains(&part) {
            findings.push(Finding::file(path, format!("the name `{part}` says nothing")));
        }
    }
    for (number, line) in (1..).zip(source.lines()) {
        let columns = line.chars().count();
        if columns > COLUMNS {
            findings.push(Finding::line(path, number, format!("{columns} columns, {COLUMNS} fit")));
        }
    }
    let halves = lexer::split(&source);
    for (number, line) in (1..).zip(halves.code.lines()) {
        code(path, number, line, findings);
    }
    marks(path, &halves.comments, findings);
    Ok(())
}

fn code(path: &Path, number: usize, line: &str, findings: &mut Vec<Finding>) {
    let excused =
        path.starts_with(UNSAFE_ROOM) || COUNTING_TESTS.iter().any(|test| path == Path::new(test));
    if has_word(line, "unsafe") && !excused {
        findings.push(Finding::line(path, number, format!("unsafe lives in {UNSAFE_ROOM} only")));
    }
    let module = line
        .split_once("mod ")
        .filter(|(before, _)| before.trim().is_empty() || before.trim_start().starts_with("pub"));
    if let Some((_, after)) = module {
        let name: String = after.chars().take_while(|c| lexer::is_word(*c)).collect();
        if BANNED.contains(&name.as_str()) {
            findings.push(Finding::line(path, number, format!("the name `{name}` says nothing")));
        }
    }
}

/// Work left over needs a place where it is tracked.
fn marks(path: &Path, text: &str, findings: &mut Vec<Finding>) {
    for (number, line) in (1..).zip(text.lines()) {
        let marked = ["TODO", "FIXME", "XXX"].iter().any(|mark| has_word(line, mark));
        let tracked =
            line.split('#').skip(1).any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        if marked && !tracked {
            findings.push(Finding::line(path, number, "left-over work needs an issue number"));
        }
    }
}

fn pure(findings: &mut Vec<Finding>) -> Result<(), String> {
    for (path, needs) in PURE {
        let path = Path::new(path);
        let code = lexer::split(&tree::read(path)?).code;
        for need in needs.iter().filter(|need| !code.contains(**need)) {
            findings.push(Finding::file(path, format!("`{need}` is missing: this crate is pure")));
        }
    }
    Ok(())
}
