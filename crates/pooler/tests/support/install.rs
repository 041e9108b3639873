//! Programs in other languages that tests need, and what those need.
//!
//! Installed once, by `drivers/install.sh`, below the target folder. Where a tool is missing the
//! test says so and passes, unless `HEADPOND_TEST_DRIVERS=require`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns the folder of the programs.
pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/drivers")
}

/// Returns where drivers are installed: beside the profile's folder, shared by all tests.
pub fn installed() -> PathBuf {
    let test = env::current_exe().expect("a test has a path");
    test.ancestors().nth(3).expect("a test lies in target/<profile>/deps").join("drivers")
}

/// Installs what a program of `tests/drivers` needs; false if a tool for that is missing.
pub fn install(driver: &str) -> bool {
    let mut script = Command::new(sources().join("install.sh"));
    let output = script.arg(installed()).arg(driver).output().expect("a shell exists");
    let told = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => true,
        Some(3) => {
            skip(&told);
            false
        }
        _ => panic!("{driver} cannot be installed: {told}"),
    }
}

/// Says why a test shows nothing; a failure where everything is required.
pub fn skip(why: &str) {
    let required = env::var("HEADPOND_TEST_DRIVERS").is_ok_and(|value| value == "require");
    assert!(!required, "{why}");
    eprintln!("skipped: {why}");
}
