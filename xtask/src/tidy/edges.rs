//! The allowed edges between the project's own crates, from `cargo metadata`.
//!
//! Invariant: an edge that the table does not name is a finding, whatever its kind.
//! Not here: the floors inside a crate.

use std::path::Path;

use serde_json::Value;

use super::Finding;
use crate::tree;

/// Crate → crates that it may use; the plan of the house as a table (see `ARCHITECTURE.md`).
const ALLOWED: [(&str, &[&str]); 10] = [
    ("headpond-core", &[]),
    ("headpond-wire", &[]),
    ("headpond-stats", &[]),
    ("headpond-monitor", &["headpond-stats"]),
    ("headpond", &["headpond-core", "headpond-monitor", "headpond-stats", "headpond-wire"]),
    ("headpond-sqlite", &["headpond"]),
    ("headpond-pooler", &["headpond-wire", "headpond-core", "headpond-stats", "headpond-monitor"]),
    (
        "headpond-bench",
        &["headpond-wire", "headpond-core", "headpond", "headpond-sqlite", "headpond-stats"],
    ),
    (
        "headpond-cli",
        &["headpond-pooler", "headpond-bench", "headpond", "headpond-sqlite", "headpond-monitor"],
    ),
    ("xtask", &["headpond-core", "headpond-wire", "headpond-pooler"]),
];

/// Returns what cargo knows of the workspace and all its dependencies.
pub fn metadata() -> Result<Value, String> {
    let mut cargo = tree::cargo();
    cargo.args(["metadata", "--format-version", "1", "--locked"]);
    let output = cargo.output().map_err(|error| format!("cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr)));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))
}

/// Checks every edge between two of our own crates.
pub fn check(metadata: &Value, findings: &mut Vec<Finding>) -> Result<(), String> {
    let packages = metadata["packages"].as_array().ok_or("cargo metadata: no packages")?;
    let ours = packages.iter().filter(|package| package["source"].is_null());
    for package in ours {
        let name = package["name"].as_str().ok_or("cargo metadata: package without a name")?;
        let manifest = package["manifest_path"].as_str().unwrap_or(name);
        let manifest = Path::new(manifest);
        let Some((_, allowed)) = ALLOWED.iter().find(|(crate_name, _)| *crate_name == name) else {
            findings.push(Finding::file(manifest, format!("{name} has no floor in the plan")));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let to = dependency["name"].as_str().unwrap_or_default();
            let own = ALLOWED.iter().any(|(crate_name, _)| *crate_name == to);
            if own && !allowed.contains(&to) {
                findings
                    .push(Finding::file(manifest, format!("edge {name} → {to} is not allowed")));
            }
        }
    }
    Ok(())
}
