//! The licences of all dependencies against the list in `deny.toml`.
//!
//! Invariant: a package passes exactly if allowed licences alone meet its SPDX expression.
//! Not here: advisories, which need a database from the network (`cargo deny check advisories`).

use std::path::Path;

use serde_json::Value;

use super::Finding;
use crate::tree;

/// Checks every package that is not our own.
pub fn check(metadata: &Value, findings: &mut Vec<Finding>) -> Result<(), String> {
    let path = Path::new("deny.toml");
    let allowed = allowed(&tree::read(path)?);
    if allowed.is_empty() {
        findings.push(Finding::file(path, "[licenses] allow = [...] is empty or missing"));
    }
    for package in metadata["packages"].as_array().into_iter().flatten() {
        if package["source"].is_null() {
            continue;
        }
        let name = package["name"].as_str().unwrap_or("?");
        let licence = package["license"].as_str().unwrap_or("none stated");
        if !is_met(licence, &allowed) {
            findings.push(Finding::file(path, format!("{name}: licence {licence} is not listed")));
        }
    }
    Ok(())
}

/// Reads the quoted names of `allow = [ … ]` under `[licenses]`.
fn allowed(deny: &str) -> Vec<String> {
    let section = deny.split("[licenses]").nth(1).unwrap_or_default();
    let list = section.split("allow = [").nth(1).and_then(|rest| rest.split(']').next());
    let lines = list.unwrap_or_default().lines();
    let code = lines.map(|line| line.split('#').next().unwrap_or_default());
    code.flat_map(|line| line.split('"').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// Says whether an SPDX expression can be met; `/` is the old spelling of OR.
fn is_met(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let met = any(&mut rest, allowed);
    met && rest.is_empty()
}

fn any(rest: &mut &[&str], allowed: &[String]) -> bool {
    let mut met = all(rest, allowed);
    while let Some(("OR", tail)) = rest.split_first().map(|(word, tail)| (*word, tail)) {
        *rest = tail;
        met |= all(rest, allowed);
    }
    met
}

fn all(rest: &mut &[&str], allowed: &[String]) -> bool {
    let mut met = one(rest, allowed);
    while let Some(("AND", tail)) = rest.split_first().map(|(word, tail)| (*word, tail)) {
        *rest = tail;
        met &= one(rest, allowed);
    }
    met
}

fn one(rest: &mut &[&str], allowed: &[String]) -> bool {
    let Some((word, tail)) = rest.split_first() else { return false };
    *rest = tail;
    if *word == "(" {
        let met = any(rest, allowed);
        *rest = rest.strip_prefix(&[")"]).unwrap_or(&[]);
        return met;
    }
    match rest {
        ["WITH", exception, tail @ ..] => {
            let whole = format!("{word} WITH {exception}");
            *rest = tail;
            allowed.contains(&whole)
        }
        _ => allowed.iter().any(|name| name == word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_met_only_by_listed_licences() {
        let allowed = ["MIT".to_owned(), "Unicode-3.0".to_owned()];
        let table = [
            ("MIT", true),
            ("Apache-2.0", false),
            ("MIT OR GPL-3.0", true),
            ("MIT/Apache-2.0", true),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("(MIT OR Apache-2.0) AND ISC", false),
            ("Apache-2.0 WITH LLVM-exception OR MIT", true),
            ("MIT WITH Some-exception", false),
            ("none stated", false),
            ("", false),
        ];
        for (expression, expected) in table {
            assert_eq!(is_met(expression, &allowed), expected, "{expression}");
        }
    }

    #[test]
    fn the_list_is_read_without_its_comments() {
        let deny = "[licenses]\nallow = [\n  \"MIT\", # as \"ours\"\n  \"ISC\",\n]\n[bans]\n";
        assert_eq!(allowed(deny), ["MIT", "ISC"]);
    }
}
