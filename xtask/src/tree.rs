//! Where the project lies, which files it has, and which cargo builds it.
//!
//! Not here: any judgement of what the files say.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Folders that are made, not written.
const MADE: [&str; 4] = [".git", "target", "node_modules", "__pycache__"];

/// Returns the root of the workspace.
pub fn root() -> PathBuf {
    // Set by cargo for what it runs: two clones may share a target folder, and so this program.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let here = here.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    here.parent().expect("xtask lies one folder below the root").to_path_buf()
}

/// Returns a cargo of the same toolchain, run in the root.
pub fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// Returns every written file below `folder`, relative to the root, in a fixed order.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let root = root();
    let mut found = Vec::new();
    let mut open = vec![root.join(folder)];
    while let Some(folder) = open.pop() {
        let entries =
            std::fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        for entry in entries {
            let entry = entry.map_err(|e| format!("{}: {e}", folder.display()))?;
            let kind = entry.file_type().map_err(|e| format!("{}: {e}", folder.display()))?;
            let path = entry.path();
            if kind.is_file() {
                let relative = path.strip_prefix(&root).expect("found below the root");
                found.push(relative.to_path_buf());
            } else if kind.is_dir() && !MADE.iter().any(|made| entry.file_name() == *made) {
                open.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Returns a file's text; bytes that are no UTF-8 are an error that names the file.
pub fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(root().join(path)).map_err(|e| format!("{}: {e}", path.display()))
}
