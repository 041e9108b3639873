//! On a real pooler with a real PostgreSQL.

use std::process::Command;

use crate::pooler::{Headpond, Pooler, Settings, Target};
use crate::postgres::{Postgres, connect};
use crate::terminal::Terminal;
use crate::top;

const TOKEN: &str = "token-of-a-test";

fn on(pooler: &Headpond) -> (tempfile::TempDir, Command) {
    let folder = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("token");
    std::fs::write(&token, TOKEN).expect("the folder is ours");
    let mut command = top(&format!("http://{}", pooler.http()));
    command.arg("--token-file").arg(token);
    (folder, command)
}

fn runtime() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().expect("a runtime")
}

#[test]
fn pools_waits_and_holders_of_a_real_pooler_are_seen_and_a_client_is_closed() {
    let postgres = Postgres::start();
    let settings = Settings { pool_size: 1, ..Settings::default() };
    let pooler = Headpond::start_in("pgbouncer.ini", &[("HEADPOND_HTTP__TOKEN", TOKEN)], |place| {
        settings.ini(&postgres, place, Target::Headpond)
    });
    let client = |name: &str| {
        let mut config = pooler.config();
        config.application_name(name);
        config
    };
    let (holding, waiting) = (client("the-holder"), client("the-waiter"));
    let here = runtime();
    let holder = here.block_on(async {
        let holder = connect(&holding).await.expect("a client");
        holder.simple_query("BEGIN").await.expect("served");
        holder
    });
    // On a thread of its own: it waits while the screen is looked at.
    let waiter = std::thread::spawn(move || {
        runtime().block_on(async {
            let waiter = connect(&waiting).await.expect("a client");
            waiter.simple_query("SELECT 1").await
        })
    });

    let (_folder, command) = on(&pooler);
    let terminal = Terminal::new(100, 24);
    let before = terminal.settings();
    let mut program = terminal.run(&command);
    let seen = terminal.wait_for("app/app").text();
    assert!(seen.contains(env!("CARGO_PKG_VERSION")) && seen.contains("1/1"), "{seen}");
    terminal.press("2");
    let seen = terminal.wait_for("the-waiter").text();
    assert!(seen.contains("1 wait "), "{seen}");
    terminal.press("3");
    terminal.wait_for("the-holder");
    terminal.press("K");
    terminal.wait_for("? Type yes:");
    terminal.press("yes\r");
    terminal.wait_for("done: client ");
    waiter.join().expect("no panic").expect("the server went to the next one");
    let closed = here.block_on(holder.simple_query("SELECT 1"));
    assert!(closed.is_err(), "it was closed");
    terminal.press("1\r");
    let seen = terminal.wait_for("queries/s ").text();
    assert!(seen.contains("Waits by reason"), "{seen}");
    terminal.press("q");
    assert_eq!(program.wait().code(), Some(0));
    assert_eq!(terminal.settings(), before);
}

#[test]
fn a_signal_gives_the_terminal_back_and_a_pooler_that_ended_is_said_to_be_gone() {
    let postgres = Postgres::start();
    let mut pooler = Headpond::start("pgbouncer.ini", |place| {
        Settings::default().ini(&postgres, place, Target::Headpond)
    });
    let config = pooler.config();
    // The client leaves with its runtime; the pooler would wait for it.
    runtime().block_on(async {
        let client = connect(&config).await.expect("a client");
        client.simple_query("SELECT 1").await.expect("served");
    });
    let (_folder, command) = on(&pooler);
    let terminal = Terminal::new(80, 24);
    let before = terminal.settings();
    let mut program = terminal.run(&command);
    terminal.wait_for("app/app");
    pooler.signal("TERM");
    pooler.wait();
    let seen = terminal.wait_for("NO ANSWER").text();
    assert!(seen.contains("app/app"), "the last figures stay: {seen}");
    program.signal("TERM");
    assert_eq!(program.wait().code(), Some(143));
    assert_eq!(terminal.settings(), before);
    terminal.wait_until("the old screen", |seen| !seen.is_alternate && !seen.is_cursor_hidden);
}
