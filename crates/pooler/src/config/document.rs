//! The table of defaults for the documentation, made from the table the program runs on.
//!
//! Invariant: a key that exists is documented, with its default and the because of it.

use std::fmt::Write;

use super::table::{Changeable, Key, Section, Status};

/// Returns a Markdown page with every key, its default and why that is the default.
pub fn defaults_markdown() -> String {
    let mut page = String::new();
    for (section, title) in [
        (Section::Pooler, "`[pgbouncer]`, in headpond.toml `[pooler]`"),
        (Section::Database, "`[databases]`"),
        (Section::User, "`[users]`"),
        (Section::Peer, "`[peers]`"),
        (Section::Http, "`[http]`"),
        (Section::Alerts, "`[alerts]`"),
        (Section::Rule, "`[rules]`"),
        (Section::History, "`[history]`"),
        (Section::Otlp, "`[otlp]`"),
        (Section::Native, "`[headpond]`"),
    ] {
        table(&mut page, title, section.keys(), !section.has_entries());
    }
    page
}

fn table(page: &mut String, title: &str, keys: &[Key], has_defaults: bool) {
    let mut line = |text: String| writeln!(page, "{text}").expect("a String takes any text");
    line(format!("## {title}\n"));
    line("| key | default | because | what it is | change |".to_owned());
    line("|---|---|---|---|---|".to_owned());
    for key in keys {
        let default = match (key.default, has_defaults) {
            (_, false) => "unset".to_owned(),
            ("", true) => "empty".to_owned(),
            (text, true) => format!("`{}`", text.replace('|', "\\|")),
        };
        let change = match key.changeable {
            Changeable::Live => "at once",
            Changeable::Restart => "at restart",
        };
        let status = match key.status {
            Status::Honoured => "",
            Status::Accepted => " (not honoured yet)",
            Status::Ignored => " (accepted, no effect)",
        };
        let (name, because, means) = (key.name, key.because, key.means);
        line(format!("| `{name}` | {default} | {because} | {means}{status} | {change} |"));
    }
    line(String::new());
}
