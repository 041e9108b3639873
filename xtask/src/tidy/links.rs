//! Relative links in Markdown: the file must exist, and the heading in it too.
//!
//! Not here: links to the world outside, which need the network, and rustdoc's own links.

use std::path::{Path, PathBuf};

use super::Finding;
use crate::tree;

/// Checks every Markdown file of the list.
pub fn check(files: &[PathBuf], findings: &mut Vec<Finding>) -> Result<(), String> {
    let is_markdown = |path: &&PathBuf| path.extension().is_some_and(|e| e == "md");
    for path in files.iter().filter(is_markdown) {
        let text = tree::read(path)?;
        for (number, line) in prose(&text) {
            for target in targets(&line) {
                if let Err(what) = resolve(path, &text, &target) {
                    findings.push(Finding::line(path, number, format!("({target}): {what}")));
                }
            }
        }
    }
    Ok(())
}

/// Returns the numbered lines outside code blocks, without their inline code.
fn prose(text: &str) -> Vec<(usize, String)> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let fence = line.trim_start().starts_with("```");
        if fence {
            fenced = !fenced;
        } else if !fenced {
            lines.push((number, line.split('`').step_by(2).collect::<Vec<_>>().join("`")));
        }
    }
    lines
}

fn targets(line: &str) -> Vec<String> {
    let after = line.split("](").skip(1);
    after.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.to_owned()).collect()
}

fn resolve(from: &Path, text: &str, target: &str) -> Result<(), &'static str> {
    if target.contains("://") || target.starts_with("mailto:") {
        return Ok(());
    }
    let (file, heading) = match target.split_once('#') {
        Some((file, heading)) => (file, Some(heading)),
        None => (target, None),
    };
    let folder = from.parent().unwrap_or(Path::new(""));
    let path = folder.join(file);
    if !file.is_empty() && !tree::root().join(&path).exists() {
        return Err("no such file");
    }
    let Some(heading) = heading else { return Ok(()) };
    let there =
        if file.is_empty() { text.to_owned() } else { tree::read(&path).unwrap_or_default() };
    let headings = prose(&there);
    let known = headings.iter().any(|(_, line)| line.starts_with('#') && slug(line) == heading)
        || there.lines().any(|line| line.starts_with('#') && slug(line) == heading);
    if known { Ok(()) } else { Err("no such heading") }
}

/// Spells a heading as a renderer does in its address.
fn slug(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = words.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heading_is_spelled_as_in_its_address() {
        assert_eq!(slug("## 4. One query, through `headpond`"), "4-one-query-through-headpond");
    }

    #[test]
    fn code_has_no_links() {
        let text = "[a](b)\n```\n[c](d)\n```\n`[e](f)` [g](h)";
        let found: Vec<String> = prose(text).iter().flat_map(|(_, line)| targets(line)).collect();
        assert_eq!(found, ["b", "h"]);
    }
}
