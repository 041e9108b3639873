//! Who may act: nobody without a token, no page of anybody else, and nobody who guesses.

use std::thread;

use headpond_monitor::model::Action;
use headpond_monitor::{Access, Settings, Token};

use crate::Server;

const GOOD: &str = "Authorization: Bearer right\r\nX-Headpond-Action: 1\r\n";

fn guarded() -> Settings {
    let access = Access {
        action_token: Some(Token::new("right")),
        read_token: Some(Token::new("reader")),
        ..Access::default()
    };
    Settings { access, ..Settings::default() }
}

fn done(server: &Server) -> Vec<Action> {
    let done = server.fake.done.lock().expect("no test panics with it");
    done.iter().map(|(action, _)| action.clone()).collect()
}

#[test]
fn only_a_post_with_the_header_and_the_token_acts() {
    let server = Server::start(guarded());
    let host = format!("127.0.0.1:{}", server.address.port());
    let same = format!("{GOOD}Origin: http://{host}\r\nSec-Fetch-Site: same-origin\r\n");
    let bearer = "Authorization: Bearer right\r\n";
    let header = "X-Headpond-Action: 1\r\n";
    let with = |more: &str| format!("{GOOD}{more}\r\n");
    let table = [
        ("POST", "", 403),
        ("POST", bearer, 403),
        ("POST", header, 401),
        ("POST", "Authorization: Bearer wrong\r\nX-Headpond-Action: 1\r\n", 401),
        ("POST", "Authorization: Bearer reader\r\nX-Headpond-Action: 1\r\n", 403),
        ("POST", "Authorization: Bearer righ\r\nX-Headpond-Action: 1\r\n", 401),
        ("GET", GOOD, 405),
        ("PUT", GOOD, 405),
        ("OPTIONS", GOOD, 405),
        ("POST", &with("Origin: https://evil.example"), 403),
        ("POST", &with("Origin: null"), 403),
        ("POST", &with(&format!("Origin: http://{host}.evil.example")), 403),
        ("POST", &with("Sec-Fetch-Site: cross-site"), 403),
        ("POST", &with("Sec-Fetch-Site: same-site"), 403),
        ("POST", &with("Content-Type: text/plain"), 415),
        ("POST", &with("Content-Type: application/x-www-form-urlencoded"), 415),
    ];
    for (method, headers, expected) in table {
        let (status, _, body) = server.ask(method, "/api/v1/actions/pause", headers, "{}");
        assert_eq!(status, expected, "{method} {headers}: {body}");
    }
    assert!(done(&server).is_empty(), "nothing was done");
    for headers in [GOOD.to_owned(), same, with("Content-Type: application/json; charset=utf-8")] {
        let (status, _, body) = server.ask("POST", "/api/v1/actions/pause", &headers, "{}");
        assert_eq!(status, 200, "{headers}: {body}");
    }
    assert_eq!(done(&server), vec![Action::Pause(None); 3]);
}

#[test]
fn a_host_of_somebody_elses_choosing_is_not_served() {
    use std::io::{Read, Write};
    let server = Server::start(guarded());
    for host in ["evil.example", "127.0.0.1.nip.io", "localhost.evil.example:80", ""] {
        for path in ["/", "/api/v1/config", "/api/v1/actions/pause", "/api/v1/stream", "/health"] {
            let mut stream = std::net::TcpStream::connect(server.address).expect("connected");
            let method = if path.contains("actions") { "POST" } else { "GET" };
            write!(stream, "{method} {path} HTTP/1.1\r\nHost: {host}\r\n{GOOD}\r\n").expect("sent");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("an answer");
            assert!(answer.starts_with("HTTP/1.1 421"), "{host} {path}: {answer}");
        }
    }
    assert!(done(&server).is_empty());
}

#[test]
fn without_a_configured_token_nobody_acts() {
    let server = Server::start(Settings::default());
    let headers = "Authorization: Bearer \r\nX-Headpond-Action: 1\r\n";
    for headers in [headers, GOOD] {
        let (status, _, body) = server.ask("POST", "/api/v1/actions/drain", headers, "");
        assert_eq!(status, 403, "{body}");
    }
    assert!(done(&server).is_empty());
    assert_eq!(server.get("/api/v1/status").1["actions"], false);
}

#[test]
fn whoever_guesses_is_slowed_down_even_with_the_right_token() {
    let server = Server::start(guarded());
    let wrong = "Authorization: Bearer guess\r\nX-Headpond-Action: 1\r\n";
    for _ in 0..10 {
        assert_eq!(server.ask("POST", "/api/v1/actions/pause", wrong, "").0, 401);
    }
    assert_eq!(server.ask("POST", "/api/v1/actions/pause", wrong, "").0, 429);
    assert_eq!(server.ask("POST", "/api/v1/actions/pause", GOOD, "").0, 429);
    assert_eq!(server.get("/health").0, 200, "reading goes on");
}

#[test]
fn reading_from_elsewhere_needs_a_token_and_probes_do_not() {
    let access = Access { reads_need_token: true, ..guarded().access };
    let server = Server::start(Settings { access, ..Settings::default() });
    for path in ["/", "/health", "/metrics", "/api/v1/config", "/assets/page.js"] {
        let (status, head, _) = server.ask("GET", path, "", "");
        assert_eq!(status, 401, "{path}");
        assert!(head.contains("www-authenticate: basic"), "a browser can ask: {head}");
        for token in ["Bearer reader", "Bearer right", "Basic bWU6cmVhZGVy"] {
            let headers = format!("Authorization: {token}\r\n");
            assert_eq!(server.ask("GET", path, &headers, "").0, 200, "{path} {token}");
        }
    }
    for path in ["/livez", "/readyz", "/startupz", "/health/quick", "/api/health/live"] {
        assert_eq!(server.get(path).0, 200, "{path}");
    }
}

#[test]
fn a_token_that_was_replaced_does_not_open() {
    let server = Server::start(guarded());
    let access = Access { action_token: Some(Token::new("new")), ..Access::default() };
    server.monitor.set_access(access);
    assert_eq!(server.ask("POST", "/api/v1/actions/pause", GOOD, "").0, 401);
    let new = "Authorization: Bearer new\r\nX-Headpond-Action: 1\r\n";
    assert_eq!(server.ask("POST", "/api/v1/actions/pause", new, "").0, 200);
}

#[test]
fn actions_are_carried_out_noted_and_their_refusals_told() {
    let server = Server::start(guarded());
    let act =
        |word: &str, body: &str| server.ask("POST", &format!("/api/v1/actions/{word}"), GOOD, body);
    assert_eq!(act("kill", "{\"client\":7}").0, 200);
    assert_eq!(act("resize", "{\"database\":\"a\",\"size\":30}").0, 200);
    let refused = act("reload", "");
    assert_eq!((refused.0, refused.2.as_str()), (409, "{\"error\":\"no\"}"));
    for (word, body) in [
        ("kill", "{}"),
        ("kill", "[]"),
        ("kill", "not json"),
        ("resize", "{\"size\":1}"),
        ("explode", "{}"),
        ("silence", "{\"seconds\":0}"),
        ("silence", "{\"seconds\":\"1\"}"),
    ] {
        assert_eq!(act(word, body).0, 400, "{word} {body}");
    }
    let resize = Action::Resize { database: "a".into(), size: 30 };
    assert_eq!(done(&server), [Action::Kill(7), resize, Action::Reload]);
    let (_, events) = server.get("/api/v1/events");
    let events = events["events"].to_string();
    assert!(events.contains("kill by 127.0.0.1: yes"), "{events}");
    assert!(events.contains("reload by 127.0.0.1 refused: no"), "{events}");
}

#[test]
fn silences_come_and_go() {
    let server = Server::start(guarded());
    let body = "{\"rule\":\"HeadpondPoolQueue\",\"seconds\":60,\"comment\":\"deploy\"}";
    let (status, _, made) = server.ask("POST", "/api/v1/actions/silence", GOOD, body);
    assert_eq!((status, made.as_str()), (200, "{\"id\":1}"));
    let silences = server.get("/api/v1/alerts").1["silences"].clone();
    assert_eq!(silences[0]["comment"], "deploy (127.0.0.1)");
    let end = |id: u64| {
        server.ask("POST", "/api/v1/actions/unsilence", GOOD, &format!("{{\"id\":{id}}}")).0
    };
    assert_eq!((end(1), end(1)), (200, 404));
}

#[test]
fn the_same_action_from_many_at_once_is_carried_out_as_often_as_it_was_asked_for() {
    let server = Server::start(guarded());
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for word in ["pause", "resume"] {
                    let path = format!("/api/v1/actions/{word}");
                    assert_eq!(server.ask("POST", &path, GOOD, "").0, 200);
                }
            });
        }
    });
    assert_eq!(done(&server).len(), 32);
}
