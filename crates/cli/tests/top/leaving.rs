//! However it ends, the terminal is as it was.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use crate::endpoint::{Endpoint, Manner};
use crate::terminal::Terminal;
use crate::{shown, top};

/// Settings before, and the terminal after it ended.
fn is_restored(terminal: &Terminal, before: &str) {
    assert_eq!(terminal.settings(), before);
    let seen = terminal.wait_until("the old screen", |seen| !seen.is_alternate);
    assert!(!seen.is_cursor_hidden);
}

#[test]
fn keys_that_leave_leave_the_terminal_as_it_was() {
    let endpoint = Endpoint::start();
    for key in ["q", "\u{1b}", "\u{3}"] {
        let terminal = Terminal::new(80, 24);
        let before = terminal.settings();
        let mut program = terminal.run(&top(&endpoint.url()));
        let seen = terminal.wait_for("shop/web");
        assert!(seen.is_alternate && seen.is_cursor_hidden);
        assert_ne!(terminal.settings(), before, "it is raw meanwhile");
        terminal.press(key);
        assert_eq!(program.wait().code(), Some(0), "{key:?}");
        is_restored(&terminal, &before);
    }
}

#[test]
fn signals_leave_the_terminal_as_it_was_even_while_a_request_hangs() {
    let endpoint = Endpoint::start();
    for (name, code) in [("TERM", 143), ("INT", 130), ("HUP", 129), ("QUIT", 131)] {
        endpoint.answer(Manner::Well);
        let terminal = Terminal::new(80, 24);
        let before = terminal.settings();
        let mut program = terminal.run(&top(&endpoint.url()));
        terminal.wait_for("shop/web");
        endpoint.answer(Manner::Never);
        program.signal(name);
        let status = program.wait();
        assert_eq!((status.code(), status.signal()), (Some(code), None), "{name}");
        is_restored(&terminal, &before);
    }
}

#[test]
fn who_asks_the_wrong_address_hears_of_it_on_the_screen_they_know() {
    let endpoint = Endpoint::start();
    endpoint.answer(Manner::Gone);
    let terminal = Terminal::new(80, 24);
    let before = terminal.settings();
    let mut program = terminal.run(&top(&endpoint.url()));
    assert_eq!(program.wait().code(), Some(1));
    let seen = terminal.wait_for("no pooler answers there");
    assert!(!seen.is_alternate);
    assert_eq!(terminal.settings(), before);
}

#[test]
fn pipes_get_text_and_no_sequence() {
    let endpoint = Endpoint::start();
    for more in [&[][..], &["--once"][..]] {
        let mut command = top(&endpoint.url());
        let output = command.args(more).stdin(Stdio::null()).output().expect("it runs");
        let text = String::from_utf8(output.stdout).expect("text");
        assert!(output.status.success() && text.contains("shop/web"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
    let mut command = top(&endpoint.url());
    let output = command.arg("--json").output().expect("it runs");
    let pools: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(pools["pools"][0]["name"], "shop/web");
}

#[test]
fn a_terminal_that_can_do_nothing_gets_text() {
    let endpoint = Endpoint::start();
    let terminal = Terminal::new(80, 24);
    let mut program = terminal.run(top(&endpoint.url()).env("TERM", "dumb"));
    assert_eq!(program.wait().code(), Some(0));
    terminal.wait_for("shop/web");
    assert!(!terminal.bytes().contains(&0x1b));
}

#[test]
fn once_on_a_terminal_is_text_too() {
    let endpoint = Endpoint::start();
    let (terminal, mut program) = {
        let terminal = Terminal::new(80, 24);
        let program = terminal.run(top(&endpoint.url()).arg("--once"));
        (terminal, program)
    };
    assert_eq!(program.wait().code(), Some(0));
    assert!(!terminal.wait_for("shop/web").is_alternate);
    // And the live one is not.
    assert!(shown(&endpoint.url(), "shop/web").0.seen().is_alternate);
}
