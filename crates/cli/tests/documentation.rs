//! Pages that are made from the program, against the program.
//!
//! Not here: links, which `cargo xtask tidy` checks.

use std::path::Path;

use headpond_pooler::config::document;

const INTRODUCTION: &str = "\
# Defaults

Every setting, its default, and why that is the default. Names and meanings are PgBouncer's where it
has the setting. `headpond.toml` uses the same keys, with `[pooler]` for `[pgbouncer]`. The
environment wins over both: `HEADPOND_` and the key in capitals (`HEADPOND_POOL_MODE`), with `__`
between section and key (`HEADPOND_HTTP__LISTEN`).

Times are seconds unless a unit stands with them (`500ms`, `5m`). *At once* means by RELOAD or SET;
*at restart* means that a running process keeps the old value and says so.

This page is made from the table that the program runs on. To write it anew:
`HEADPOND_TEST_WRITE=1 cargo test -p headpond-cli`.

";

#[test]
fn the_page_of_defaults_says_what_the_program_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/DEFAULTS.md");
    let made = format!("{INTRODUCTION}{}\n", document::defaults_markdown().trim_end());
    if std::env::var_os("HEADPOND_TEST_WRITE").is_some() {
        std::fs::write(&path, &made).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(page == made, "docs/DEFAULTS.md is behind: run this test with HEADPOND_TEST_WRITE=1");
}
