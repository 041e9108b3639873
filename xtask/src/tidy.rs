//! `cargo xtask tidy`: what the house style leaves to machines.
//!
//! Invariant: a finding names its file and what would be right; every check runs before it fails.
//! Not here: what rustc, clippy and rustfmt check themselves.

mod edges;
mod lexer;
mod licences;
mod links;
mod sources;

use std::fmt;
use std::path::{Path, PathBuf};

use crate::tree;

/// One thing that is not as it should be.
pub struct Finding {
    path: PathBuf,
    line: Option<usize>,
    what: String,
}

impl Finding {
    /// A finding about a whole file.
    pub fn file(path: &Path, what: impl Into<String>) -> Self {
        Self { path: path.to_path_buf(), line: None, what: what.into() }
    }

    /// A finding about one line, counted from 1.
    pub fn line(path: &Path, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_path_buf(), line: Some(line), what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path.display(), self.what),
            None => write!(f, "{}: {}", self.path.display(), self.what),
        }
    }
}

/// Runs every check and fails if one of them found something.
pub fn run() -> Result<(), String> {
    let files = tree::files(Path::new(""))?;
    let metadata = edges::metadata()?;
    let mut findings = Vec::new();
    edges::check(&metadata, &mut findings)?;
    licences::check(&metadata, &mut findings)?;
    sources::check(&files, &mut findings)?;
    links::check(&files, &mut findings)?;
    if findings.is_empty() {
        println!("tidy: {} files, nothing to say", files.len());
        return Ok(());
    }
    let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
    Err(format!("{}\ntidy: {} to mend", lines.join("\n"), findings.len()))
}
