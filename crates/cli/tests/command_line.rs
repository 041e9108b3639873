//! The program as a shell sees it: exit codes, what goes where, and how to be started.
//!
//! Not here: pooling, which the pooler's own tests do with real servers.

use std::path::PathBuf;
use std::process::{Command, Output};

fn headpond(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headpond"));
    command.env_remove("HEADPOND_URL").env_remove("HEADPOND_CONFIG");
    command.args(arguments).output().unwrap_or_else(|e| panic!("headpond: {e}"))
}

fn file(folder: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    path
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap_or_else(|e| panic!("no folder: {e}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn version_and_help_are_answers_not_errors() {
    let version = headpond(&["--version"]);
    assert_eq!(version.status.code(), Some(0));
    let first = text(&version.stdout).lines().next().map(str::to_owned);
    assert_eq!(first.as_deref(), Some(headpond_pooler::VERSION_LINE));
    let help = headpond(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(text(&help.stdout).contains("pgbouncer.ini"));
}

#[test]
fn an_unknown_option_is_a_usage_error() {
    assert_eq!(headpond(&["serve", "--no-such-option"]).status.code(), Some(2));
    assert_eq!(headpond(&["serve", "--engine", "steam"]).status.code(), Some(2));
}

#[test]
fn a_wrong_file_names_its_lines_and_what_was_meant() {
    let folder = folder();
    let path = file(&folder, "a.ini", "[pgbouncer]\nlisten_prt = 1\npool_mode = sesion\n");
    let path = path.to_string_lossy();
    for arguments in [vec!["check", &path], vec!["serve", &path], vec![&*path]] {
        let output = headpond(&arguments);
        let complaint = text(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{arguments:?}: {complaint}");
        assert!(complaint.contains("a.ini:2"), "{complaint}");
        assert!(complaint.contains("listen_port"), "{complaint}");
        assert!(complaint.contains("a.ini:3"), "{complaint}");
    }
}

#[test]
fn check_reads_the_files_that_are_named() {
    let folder = folder();
    let users = file(&folder, "users.txt", "\"a\" \"b\"\n");
    let ini = |users: &str| {
        format!(
            "[databases]\n* = host=127.0.0.1\n[pgbouncer]\nauth_type = md5\nauth_file = {users}\n"
        )
    };
    let good = file(&folder, "good.ini", &ini(&users.to_string_lossy()));
    let output = headpond(&["check", &good.to_string_lossy()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("ok"));
    let bad = file(&folder, "bad.ini", &ini("/nowhere/users.txt"));
    let output = headpond(&["check", &bad.to_string_lossy()]);
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stderr).contains("/nowhere/users.txt"));
}

#[test]
fn a_history_without_a_place_is_refused_before_anybody_is_served() {
    let folder = folder();
    let ini = |name: &str, path: &str| {
        let text = format!(
            "[databases]\n* = host=127.0.0.1\n[pgbouncer]\nlisten_port = 0\n\
             listen_addr = 127.0.0.1\nunix_socket_dir =\n[http]\nlisten = 127.0.0.1:0\n\
             [history]\nfile = {path}\n"
        );
        file(&folder, name, &text).display().to_string()
    };
    let nowhere = ini("nowhere.ini", "/nowhere/history.db");
    let theirs = ini("theirs.ini", &nowhere);
    for (path, why) in [(&nowhere, "folder /nowhere does not exist"), (&theirs, "left alone")] {
        for arguments in [["check", path], ["serve", path]] {
            let output = headpond(&arguments);
            let complaint = text(&output.stderr);
            assert_eq!(output.status.code(), Some(78), "{arguments:?}: {complaint}");
            assert!(complaint.contains(".ini:10: history.file: "), "{complaint}");
            assert!(complaint.contains(why), "{complaint}");
        }
    }
    let good = ini("good.ini", &folder.path().join("history.db").to_string_lossy());
    let output = headpond(&["check", &good]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(!folder.path().join("history.db").exists(), "a check makes nothing");
}

#[test]
fn a_daemon_without_a_log_is_refused() {
    let folder = folder();
    let path = file(&folder, "a.ini", "[databases]\n* = host=127.0.0.1\n[pgbouncer]\n");
    let output = headpond(&["-d", &path.to_string_lossy()]);
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stderr).contains("logfile"));
}
