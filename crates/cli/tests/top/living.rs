//! What it shows while the pooler is well, slow, gone or hostile.

use serde_json::json;

use crate::endpoint::{Endpoint, Manner, pool};
use crate::terminal::Terminal;
use crate::{shown, top};

#[test]
fn keys_are_answered_while_a_request_hangs() {
    let endpoint = Endpoint::start();
    let (terminal, mut program) = shown(&endpoint.url(), "shop/web");
    endpoint.answer(Manner::Never);
    terminal.wait_for("no answer yet");
    terminal.press("2");
    terminal.wait_for("[2 Waits]");
    terminal.press("1?");
    terminal.wait_for("the row above or below");
    assert_eq!(endpoint.asked(|asked| asked.contains("/waits")).len(), 0, "one at a time");
    terminal.press("q");
    assert_eq!(program.wait().code(), Some(0));
}

#[test]
fn figures_stay_while_the_pooler_is_gone_and_it_comes_back_by_itself() {
    let endpoint = Endpoint::start();
    let (terminal, _program) = shown(&endpoint.url(), "shop/web");
    endpoint.answer(Manner::Gone);
    let seen = terminal.wait_for("NO ANSWER").text();
    assert!(seen.contains("shop/web") && seen.contains("4/10"), "{seen}");
    assert!(seen.contains("figures ") && seen.contains(" old"), "{seen}");
    assert!(seen.contains("no pooler answers there") && seen.contains("was healthy"), "{seen}");
    endpoint.pools(json!([pool("shop/web", 9)]));
    endpoint.answer(Manner::Well);
    let back = terminal.wait_until("it to be back", |seen| !seen.text().contains("NO ANSWER"));
    assert!(back.text().contains("HEALTHY") && back.text().contains("9/10"), "{}", back.text());
}

#[test]
fn names_of_others_bring_no_sequence_to_the_terminal() {
    let endpoint = Endpoint::start();
    let name = "bad\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}5m\r\n\u{202e}漢字 end";
    endpoint.pools(json!([pool(name, 1)]));
    let (terminal, mut program) = shown(&endpoint.url(), "owned");
    terminal.press("\r");
    terminal.wait_for("The last 20.0s");
    terminal.press("q");
    assert_eq!(program.wait().code(), Some(0));
    let text = String::from_utf8(terminal.bytes()).expect("UTF-8");
    for part in ["\u{1b}]", "\u{7}", "\u{9b}", "\u{202e}"] {
        assert!(!text.contains(part), "{part:?} in {text:?}");
    }
}

#[test]
fn what_acts_asks_first_and_says_what_came_of_it() {
    let endpoint = Endpoint::start();
    let folder = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("token");
    std::fs::write(&token, "secret\n").expect("the folder is ours");
    let terminal = Terminal::new(80, 24);
    let _program = terminal.run(top(&endpoint.url()).arg("--token-file").arg(&token));
    terminal.wait_for("shop/web");
    terminal.press("Pno\r");
    terminal.wait_for("not done: pause database shop");
    assert_eq!(endpoint.asked(|asked| asked.starts_with("POST")), [""; 0]);
    terminal.press("P");
    let seen = terminal.wait_for("pause database shop? Type yes:");
    assert!(!seen.is_cursor_hidden, "whoever types sees where");
    terminal.press("yes\r");
    terminal.wait_for("done: shop paused");
    let asked = endpoint.asked(|asked| asked.starts_with("POST"));
    assert_eq!(asked, ["POST /api/v1/actions/pause HTTP/1.1 {\"database\":\"shop\"}"]);
}

#[test]
fn without_a_token_nothing_is_asked_for() {
    let endpoint = Endpoint::start();
    let (terminal, _program) = shown(&endpoint.url(), "shop/web");
    terminal.press("P");
    terminal.wait_for("actions need a token");
    assert_eq!(endpoint.asked(|asked| asked.starts_with("POST")), [""; 0]);
}

#[test]
fn it_follows_the_size_of_the_terminal() {
    let endpoint = Endpoint::start();
    let (terminal, mut program) = shown(&endpoint.url(), "QUERIES/S");
    terminal.resize(40, 10);
    let narrow = terminal.wait_until("the narrow screen", |seen| {
        let text = seen.text();
        text.contains("shop/web") && !text.contains("QUERIES/S")
    });
    assert!(narrow.text().contains("HEALTH") && narrow.text().contains("4/10"));
    assert!(narrow.text().lines().all(|line| line.chars().count() <= 40), "{}", narrow.text());
    terminal.resize(120, 30);
    terminal.wait_for("QUERIES/S");
    terminal.press("q");
    assert_eq!(program.wait().code(), Some(0));
}

#[test]
fn thousands_of_rows_are_scrolled_without_asking_for_more_than_there_is() {
    let endpoint = Endpoint::start();
    endpoint.rows(4321);
    let (terminal, _program) = shown(&endpoint.url(), "shop/web");
    terminal.press("4G");
    terminal.wait_for("[4 Clients]");
    let first = terminal.wait_for("1000 of 4321 clients");
    assert!(first.text().contains("search with /"), "{}", first.text());
    terminal.press("G");
    terminal.wait_for("row 1000");
    terminal.press("\u{1b}[5~k");
    terminal.wait_for("row 980");
    let asked = endpoint.asked(|asked| asked.contains("/clients"));
    assert!(asked.iter().all(|asked| asked == "GET /api/v1/clients HTTP/1.1 "), "{asked:?}");
    terminal.press("/user 7\r");
    endpoint.wait_asked(|asked| asked.starts_with("GET /api/v1/clients?q=user%207 "));
}

#[test]
fn who_wants_no_colours_gets_none() {
    let endpoint = Endpoint::start();
    let terminal = Terminal::new(80, 24);
    let mut program = terminal.run(top(&endpoint.url()).env("NO_COLOR", "1"));
    terminal.wait_for("shop/web");
    terminal.press("q");
    assert_eq!(program.wait().code(), Some(0));
    let plain = String::from_utf8_lossy(&terminal.bytes()).into_owned();
    assert!(!plain.contains("\u{1b}[38;5;"), "{plain:?}");
    // With colours there is one: the health is green.
    let (terminal, _program) = shown(&endpoint.url(), "shop/web");
    let coloured = String::from_utf8_lossy(&terminal.bytes()).into_owned();
    assert!(coloured.contains("\u{1b}[38;5;"), "{coloured:?}");
}
