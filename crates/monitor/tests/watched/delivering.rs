//! Alerts on their way: fire, resolve, signature, receivers that fail.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use headpond_monitor::alert::{Metric, Routes, Rule, Severity, signature};
use headpond_monitor::model::Pool;
use headpond_monitor::{Settings, Target};
use serde_json::Value;

use crate::Server;
use crate::fake::ANY;

const PATIENCE: Duration = Duration::from_secs(60);

/// What a receiver got: the request line with its headers, and the body.
type Got = (String, String);

/// A receiver that answers with these statuses in turn, the last one for ever.
fn receiver(answers: &'static [u16]) -> (SocketAddr, Receiver<Got>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("an address");
    let (tell, told) = channel();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = BufReader::new(stream.expect("a connection"));
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if stream.read_line(&mut head).expect("text") == 0 {
                    return;
                }
            }
            let lower = head.to_lowercase();
            let length = lower.split("content-length: ").nth(1).expect("a length");
            let length: usize = length.lines().next().expect("a line").parse().expect("a number");
            let mut body = vec![0; length];
            stream.read_exact(&mut body).expect("the body");
            let status = answers[number.min(answers.len() - 1)];
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
            // Whoever posted may have gone.
            let _ = stream.get_mut().write_all(answer.as_bytes());
            if tell.send((lower, String::from_utf8(body).expect("text"))).is_err() {
                return;
            }
        }
    });
    (address, told)
}

fn rule(severity: Severity) -> Rule {
    Rule { cool_down_seconds: 0.0, ..Rule::above("Queue", Metric::Waiting, 5.0, severity) }
}

fn settings(routes: Routes) -> Settings {
    Settings { rules: vec![rule(Severity::Critical)], routes, ..Settings::default() }
}

fn target(address: SocketAddr) -> Target {
    Target::new(&format!("http://{address}/hook"), None).expect("an address")
}

fn pool(waiting: u32) -> Pool {
    Pool { name: "a/b".into(), waiting, ..Pool::default() }
}

#[test]
fn a_webhook_hears_of_the_beginning_and_of_the_end_and_can_check_who_says_so() {
    let (address, got) = receiver(&[200]);
    let routes = Routes {
        webhook: Some((target(address), Some(b"shared".to_vec()), ANY)),
        ..Routes::default()
    };
    let server = Server::start(settings(routes));
    server.set_pools(vec![pool(9)]);
    let (head, body) = got.recv_timeout(PATIENCE).expect("it fires");
    assert!(head.starts_with("post /hook http/1.1\r\n"), "{head}");
    let sign = format!("x-headpond-signature: {}\r\n", signature(b"shared", body.as_bytes()));
    assert!(head.contains(&sign), "{head}");
    let told: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((&told["version"], &told["status"]), (&"4".into(), &"firing".into()));
    assert_eq!(told["alerts"][0]["labels"]["subject"], "a/b");
    server.set_pools(vec![pool(0)]);
    let (_, body) = got.recv_timeout(PATIENCE).expect("it resolves");
    let told: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(told["status"], "resolved");
    assert!(got.try_recv().is_err(), "and that is all");
}

#[test]
fn a_receiver_that_fails_is_asked_again_and_one_that_refuses_is_not() {
    let (failing, again) = receiver(&[500, 503, 200]);
    let (refusing, once) = receiver(&[403]);
    let routes = Routes {
        webhook: Some((target(failing), None, ANY)),
        alertmanager: Some((target(refusing), ANY)),
        ..Routes::default()
    };
    let server = Server::start(settings(routes));
    server.set_pools(vec![pool(9)]);
    for _ in 0..3 {
        again.recv_timeout(PATIENCE).expect("another attempt");
    }
    let (head, _) = once.recv_timeout(PATIENCE).expect("it fires");
    assert!(head.starts_with("post /hook/api/v2/alerts http/1.1\r\n"), "{head}");
    let deliveries = loop {
        let told = server.get("/api/v1/alerts").1["deliveries"].clone();
        if told[1]["delivered"] == 1 && told[2]["failed"] == 1 {
            break told;
        }
        thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(deliveries[2]["error"], "answered 403");
    assert!(once.try_recv().is_err(), "it will not like it better");
}

#[test]
fn routes_hear_what_is_bad_enough_for_them() {
    let (loud, heard) = receiver(&[200]);
    let (quiet, silent) = receiver(&[200]);
    let routes = Routes {
        webhook: Some((target(loud), None, Severity::Warning)),
        alertmanager: Some((target(quiet), Severity::Critical)),
        ..Routes::default()
    };
    let rules = vec![rule(Severity::Warning)];
    let server = Server::start(Settings { rules, ..settings(routes) });
    server.set_pools(vec![pool(9)]);
    heard.recv_timeout(PATIENCE).expect("a warning is enough");
    assert!(silent.try_recv().is_err());
}

#[test]
fn a_command_reads_the_alert_and_never_gets_it_as_an_argument() {
    use std::os::unix::fs::PermissionsExt;
    let folder = std::env::temp_dir().join(format!("hp-alert-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let (program, out) = (folder.join("tell"), folder.join("told"));
    let script = format!(
        "#!/bin/sh\necho \"$#\" > {0}.part\ncat >> {0}.part\nmv {0}.part {0}\n",
        out.display()
    );
    std::fs::write(&program, script).expect("written");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).expect("ours");
    let command = Some((program.display().to_string(), ANY));
    let server = Server::start(settings(Routes { command, ..Routes::default() }));
    let hostile = "$(reboot); `reboot` & '\"";
    server.set_pools(vec![Pool { name: hostile.into(), ..pool(9) }]);
    let told = loop {
        if let Ok(told) = std::fs::read_to_string(&out) {
            break told;
        }
        thread::sleep(Duration::from_millis(20));
    };
    let (arguments, body) = told.split_once('\n').expect("a line");
    assert_eq!(arguments, "0");
    let body: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(body["alerts"][0]["labels"]["subject"], hostile);
    drop(server);
    std::fs::remove_dir_all(&folder).expect("ours");
}
