//! Laws of the console: the grammar, who may do what, and the columns of every table.

use std::time::{Duration, SystemTime};

use headpond_wire::backend::Message;
use headpond_wire::frame;
use proptest::prelude::*;

use super::show::{self, Kind, Table, Value};
use super::*;
use crate::config::{Config, LoadBalance, PoolMode};
use crate::engine::{Address, Peer};

/// SEC-09: what each role may do, written down a second time, by hand.
const PRIVILEGES: &[(&str, [bool; 3])] = &[
    ("PAUSE", [false, false, true]),
    ("PAUSE db", [false, false, true]),
    ("RESUME", [false, false, true]),
    ("SUSPEND", [false, false, true]),
    ("KILL", [false, false, true]),
    ("KILL db", [false, false, true]),
    ("KILL_CLIENT 1", [false, false, true]),
    ("RECONNECT", [false, false, true]),
    ("WAIT_CLOSE", [false, false, true]),
    ("DISABLE db", [false, false, true]),
    ("ENABLE db", [false, false, true]),
    ("RELOAD", [false, false, true]),
    ("SHUTDOWN", [false, false, true]),
    ("SHUTDOWN WAIT_FOR_SERVERS", [false, false, true]),
    ("SHUTDOWN WAIT_FOR_CLIENTS", [false, false, true]),
    ("SET pool_mode = session", [false, false, true]),
    ("SET client_encoding = utf8", [false, true, true]),
    ("SHOW client_encoding", [false, true, true]),
    ("SHOW FDS", [false, false, true]),
    ("SHOW ACTIVE_SOCKETS", [false, true, true]),
    ("SHOW CLIENTS", [false, true, true]),
    ("SHOW CONFIG", [false, true, true]),
    ("SHOW DATABASES", [false, true, true]),
    ("SHOW DNS_HOSTS", [false, true, true]),
    ("SHOW DNS_ZONES", [false, true, true]),
    ("SHOW HELP", [false, true, true]),
    ("SHOW LISTS", [false, true, true]),
    ("SHOW MEM", [false, true, true]),
    ("SHOW PEER_POOLS", [false, true, true]),
    ("SHOW PEERS", [false, true, true]),
    ("SHOW POOLS", [false, true, true]),
    ("SHOW SERVERS", [false, true, true]),
    ("SHOW SOCKETS", [false, true, true]),
    ("SHOW STATE", [false, true, true]),
    ("SHOW STATS", [false, true, true]),
    ("SHOW STATS_AVERAGES", [false, true, true]),
    ("SHOW STATS_TOTALS", [false, true, true]),
    ("SHOW TOTALS", [false, true, true]),
    ("SHOW USERS", [false, true, true]),
    ("SHOW VERSION", [false, true, true]),
];

#[test]
fn each_role_may_do_what_the_table_says_and_nothing_else() {
    for (text, allowed) in PRIVILEGES {
        for (role, allowed) in [Role::Nobody, Role::Stats, Role::Admin].into_iter().zip(allowed) {
            assert_eq!(command::read(text, role).is_ok(), *allowed, "{text} as {role:?}");
        }
    }
    for show in Show::ALL {
        let listed =
            |(text, _): &&(&str, _)| text.eq_ignore_ascii_case(&format!("SHOW {}", show.as_str()));
        assert_eq!(PRIVILEGES.iter().filter(listed).count(), 1, "{show:?}");
    }
}

#[test]
fn who_may_not_is_told_so_before_anything_else() {
    for text in ["RELOAD", "KILL_CLIENT abc", "KILL_CLIENT", "DISABLE", "SHOW FDS"] {
        assert_eq!(command::read(text, Role::Stats), Err(CommandError::AdminNeeded), "{text}");
    }
    assert_eq!(command::read("SHOW STATS", Role::Nobody), Err(CommandError::NotAllowed));
}

#[test]
fn a_command_is_read_in_any_case_and_spacing() {
    let db = |name: &str| Some(name.to_owned());
    for (text, command) in [
        ("PAUSE", Command::Pause(None)),
        (" \t\r\npause ; \n", Command::Pause(None)),
        ("Pause My_Db;", Command::Pause(db("My_Db"))),
        ("resume \"a \"\"b\"\" ;c\"", Command::Resume(db("a \"b\" ;c"))),
        ("kill \"\"", Command::Kill(None)),
        ("KILL_CLIENT 18446744073709551615", Command::KillClient(u64::MAX)),
        ("kill_client \"7\"", Command::KillClient(7)),
        ("\"show\" \"version\"", Command::Show(Show::Version)),
        ("select stats_totals", Command::Show(Show::StatsTotals)),
        ("SHOW DateStyle", Command::FakeShow(FakeParameter::DateStyle)),
        ("SHUTDOWN wait_for_clients", Command::Shutdown(Shutdown::WaitForClients)),
        ("wait_close", Command::WaitClose(None)),
        ("Enable x", Command::Enable("x".to_owned())),
        ("suspend;", Command::Suspend),
    ] {
        assert_eq!(command::parse(text), Ok(command), "{text}");
    }
}

#[test]
fn a_set_takes_a_word_or_a_quoted_text() {
    for (text, key, value) in [
        ("SET pool_mode=session", "pool_mode", "session"),
        ("set pool_mode to session;", "pool_mode", "session"),
        ("SET a = \"b c\"", "a", "b c"),
        ("SET a TO 'it''s = ;'", "a", "it's = ;"),
        ("SET a=''", "a", ""),
        ("SET \"A b\"='x'", "A b", "x"),
        ("set atob", "", ""),
        ("set a tob", "a", "b"),
    ] {
        let expected = match key {
            "" => Err(CommandError::Invalid(text.to_owned())),
            key => Ok(Command::Set { key: key.to_owned(), value: value.to_owned() }),
        };
        assert_eq!(command::parse(text), expected, "{text}");
    }
    let fake = command::parse("SET extra_float_digits = 3");
    assert_eq!(fake, Ok(Command::FakeSet(FakeParameter::ExtraFloatDigits)));
}

#[test]
fn what_is_not_in_the_grammar_is_refused_whole() {
    for text in [
        "",
        ";",
        ";;",
        "SHOW",
        "SHOW ;",
        "SHOW nothing",
        "SHOW VERSION; SHOW STATS",
        "SHOW VERSION;;",
        "SHOW VERSION -- comment",
        "SHOW VERSION extra",
        "RELOAD now",
        "SUSPEND db",
        "SHUTDOWN soon",
        "PAUSE a-b",
        "PAUSE \"open",
        "PAUSE 'db'",
        "SET",
        "SET a",
        "SET a = ",
        "SET a = 'open",
        "SET a = b c",
        "SET \"\" = b",
        "SET a = 1.5",
        "SELECT 1",
        "pausé",
        "PAUSE\0",
        "PAUSE\u{a0}x",
    ] {
        let expected = Err(CommandError::Invalid(text.to_owned()));
        assert_eq!(command::parse(text), expected, "{text}");
    }
    let error = command::parse("drop table").expect_err("no command");
    assert_eq!(error.to_string(), "invalid command 'drop table', use SHOW HELP;");
    let huge = "x ".repeat(500_000);
    assert!(command::parse(&huge).expect_err("no command").to_string().len() < 1_000);
}

#[test]
fn commands_know_their_tag_their_log_line_and_the_console_itself() {
    for (text, tag, line, refused) in [
        ("PAUSE", "PAUSE", Some("PAUSE command issued"), None),
        (
            "PAUSE pgbouncer",
            "PAUSE",
            Some("PAUSE 'pgbouncer' command issued"),
            Some("cannot pause admin db: pgbouncer"),
        ),
        (
            "WAIT_CLOSE x",
            "WAIT_CLOSE",
            Some("WAIT_CLOSE 'x' command issued"),
            Some("cannot wait in admin db: x"),
        ),
        ("RESUME x", "RESUME", Some("RESUME 'x' command issued"), None),
        (
            "SHUTDOWN WAIT_FOR_SERVERS",
            "SHUTDOWN",
            Some("SHUTDOWN WAIT_FOR_SERVERS command issued"),
            None,
        ),
        ("SET a='b c'", "SET a=b c", Some("SET command issued"), None),
        ("SHOW STATS", "SHOW", None, None),
        ("SET timezone=x", "SET", None, None),
    ] {
        let command = command::parse(text).expect(text);
        assert_eq!(command.tag(), tag);
        assert_eq!(command.log_line().as_deref(), line);
        let error = command.refused_on_console().map(|error| error.to_string());
        assert_eq!(error.as_deref(), refused);
    }
}

/// The columns of a table as section 7 of the reference writes them: one letter per type.
fn shape(table: &Table) -> String {
    let letter = |kind| match kind {
        Kind::Text => 's',
        Kind::Int => 'i',
        Kind::Big => 'q',
        Kind::Numeric => 'N',
    };
    table.columns().iter().map(|column| letter(column.kind)).collect()
}

fn names(table: &Table) -> Vec<&'static str> {
    table.columns().iter().map(|column| column.name).collect()
}

fn clock() -> show::Clock {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    show::Clock { now, listen_port: 6432 }
}

fn client() -> show::ClientRow {
    show::ClientRow {
        id: 7,
        user: "u".to_owned(),
        pool_user: None,
        database: "d".to_owned(),
        state: show::ClientState::Waiting,
        replication: show::Replication::None,
        peer: Peer::Tcp("10.0.0.1:5000".parse().expect("an address")),
        local: Peer::Unix { pid: 3, uid: 0, gid: 0 },
        connected_ago: Duration::from_secs(60),
        request_ago: Duration::ZERO,
        wait: Some(Duration::from_micros(1_000_002)),
        wait_reason: None,
        link: None,
        remote_pid: 0,
        tls: None,
        application_name: None,
        prepared_statements: 2,
        close_needed: false,
        lane: 0,
        admin: false,
    }
}

fn server() -> show::ServerRow {
    show::ServerRow {
        id: 8,
        user: "u".to_owned(),
        database: "d".to_owned(),
        state: show::ServerState::New,
        replication: show::Replication::Physical,
        address: Some(Address::Unix("/run/.s.PGSQL.5432".into())),
        local: None,
        connected_ago: Duration::ZERO,
        request_ago: Duration::ZERO,
        link: Some(7),
        remote_pid: 99,
        tls: Some("TLSv1.3/X".to_owned()),
        application_name: Some("app".to_owned()),
        prepared_statements: 0,
        close_needed: true,
        lane: 1,
        idles_in_transaction: false,
    }
}

fn pool() -> show::PoolRow {
    show::PoolRow {
        database: "d".to_owned(),
        user: "u".to_owned(),
        cl_active: 1,
        cl_waiting: 2,
        cl_active_cancel_req: 3,
        cl_waiting_cancel_req: 4,
        sv_active: 5,
        sv_active_cancel: 6,
        sv_being_canceled: 7,
        sv_idle: 8,
        sv_used: 9,
        sv_tested: 10,
        sv_login: 11,
        maxwait: Duration::from_millis(12_500),
        pool_mode: PoolMode::Transaction,
        load_balance_hosts: Some(LoadBalance::RoundRobin),
    }
}

#[test]
fn every_table_has_the_columns_of_pgbouncer() {
    let (clients, servers) = ([client()], [server()]);
    let twelve = "N".repeat(12);
    for (table, expected) in [
        (show::stats(&[]), format!("s{twelve}{twelve}")),
        (show::stats_totals(&[]), format!("s{twelve}")),
        (show::stats_averages(&[]), format!("s{twelve}")),
        (show::totals(&[]), "sN".to_owned()),
        (show::clients(&clients, clock()), "ssssssisissiiississii".to_owned()),
        (show::servers(&servers, clock()), "ssssssisissiiississii".to_owned()),
        (show::sockets(&clients, &servers, clock()), "ssssssisissiiississiiiiiiiii".to_owned()),
        (show::pools(&[pool()]), "ssiiiiiiiiiiiiiss".to_owned()),
        (show::peer_pools(&[]), "iiiii".to_owned()),
        (show::peers(&[]), "isii".to_owned()),
        (show::databases(&[]), "ssissiiiissiiiiii".to_owned()),
        (show::users(&[]), "ssssiiii".to_owned()),
        (show::lists(&show::Lists::default()), "si".to_owned()),
        (show::config(Config::default().rows()), "ssss".to_owned()),
        (show::mem(&[]), "siiii".to_owned()),
        (show::state(show::State::Active), "ss".to_owned()),
        (show::dns_hosts(&[]), "sqs".to_owned()),
        (show::dns_zones(&[]), "sqi".to_owned()),
        (show::version("PgBouncer 1"), "s".to_owned()),
    ] {
        assert_eq!(shape(&table), expected, "{:?}", names(&table));
    }
}

#[test]
fn columns_stand_in_the_order_that_programs_count_on() {
    assert_eq!(
        names(&show::clients(&[], clock())).join(" "),
        "type user database replication state addr port local_addr local_port connect_time \
         request_time wait wait_us close_needed ptr link remote_pid tls application_name \
         prepared_statements id"
    );
    assert_eq!(
        names(&show::sockets(&[], &[], clock()))[21..].join(" "),
        "recv_pos pkt_pos pkt_remain send_pos send_remain pkt_avail send_avail"
    );
    assert_eq!(
        names(&show::databases(&[])).join(" "),
        "name host port database force_user pool_size min_pool_size reserve_pool_size \
         server_lifetime pool_mode load_balance_hosts max_connections current_connections \
         max_client_connections current_client_connections paused disabled"
    );
    let lists = show::lists(&show::Lists::default());
    assert_eq!(lists.rows().len(), 14);
    let totals = show::totals(&[]);
    assert_eq!(totals.rows().len(), 24);
    assert_eq!(totals.rows()[3][0], Value::from("total_client_bytes"));
    assert_eq!(totals.rows()[20][0], Value::from("avg_ps_client_parse_count"));
}

#[test]
fn rows_say_what_their_structs_hold() {
    let texts = |table: Table| -> Vec<String> {
        let text = |value: &Value| match value {
            Value::Null => "NULL".to_owned(),
            Value::Text(text) => text.clone(),
            Value::Number(number) => number.to_string(),
        };
        table.rows().iter().map(|row| row.iter().map(text).collect::<Vec<_>>().join("|")).collect()
    };
    assert_eq!(
        texts(show::pools(&[pool()])),
        ["d|u|1|2|3|4|5|6|7|8|9|10|11|12|500000|transaction|round-robin"]
    );
    assert_eq!(
        texts(show::clients(&[client()], clock())),
        ["C|u|d|none|waiting|10.0.0.1|5000|unix|6432|2001-09-09 01:45:40 UTC|\
          2001-09-09 01:46:40 UTC|1|2|0|0x7||0|||2|7"]
    );
    assert_eq!(
        texts(show::servers(&[server()], clock())),
        ["S|u|d|physical|new|unix|5432||0|2001-09-09 01:46:40 UTC|2001-09-09 01:46:40 UTC|0|0|1|\
          0x8|0x7|99|TLSv1.3/X|app|0|8"]
    );
    let mut login = client();
    login.state = show::ClientState::Login;
    login.user = String::new();
    assert!(show::clients(&[login.clone()], clock()).rows().is_empty());
    let sockets = texts(show::sockets(&[login], &[server()], clock()));
    assert!(sockets[0].starts_with("C|(nouser)|d|none|cl_login|"), "{sockets:?}");
    assert!(sockets[1].starts_with("S|u|d|physical|sv_login|"), "{sockets:?}");
    let user = show::UserRow {
        name: "u".to_owned(),
        pool_size: Some(5),
        reserve_pool_size: None,
        pool_mode: None,
        max_user_connections: 1,
        current_connections: 2,
        max_user_client_connections: 3,
        current_client_connections: 4,
    };
    assert_eq!(texts(show::users(&[user])), ["u|        5||NULL|1|2|3|4"]);
    assert_eq!(
        texts(show::state(show::State::Paused)),
        ["active|no", "paused|yes", "suspended|no"]
    );
    let host = show::DnsHostRow {
        hostname: "h".to_owned(),
        ttl: Duration::from_secs(3),
        addresses: vec!["::1".parse().expect("an address"), "10.0.0.1".parse().expect("one")],
    };
    assert_eq!(texts(show::dns_hosts(&[host])), ["h|3|::1,10.0.0.1"]);
}

/// Splits an answer into its messages, each as its debug text.
fn messages(bytes: &[u8]) -> Vec<(char, Vec<u8>)> {
    let mut rest = bytes;
    let mut messages = Vec::new();
    while let Some(header) = frame::header(rest).expect("well-formed") {
        let total = usize::try_from(header.len).expect("small") + 1;
        let body = rest[5..total].to_vec();
        Message::decode(header.tag, &body).expect("a message of a server");
        messages.push((char::from(header.tag), body));
        rest = &rest[total..];
    }
    assert!(rest.is_empty());
    messages
}

fn tags(bytes: &[u8]) -> String {
    messages(bytes).into_iter().map(|(tag, _)| tag).collect()
}

#[test]
fn every_answer_ends_ready_for_the_next_question() {
    let mut out = Vec::new();
    render::table(&mut out, &show::totals(&[]));
    assert_eq!(tags(&out), format!("T{}CZ", "D".repeat(24)));
    for (render, expected) in [
        ((|out| render::done(out, "PAUSE")) as fn(&mut Vec<u8>), "CZ"),
        (|out| render::help(out), "NCZ"),
        (|out| render::fake_set(out), "NCZ"),
        (|out| render::error(out, &CommandError::AdminNeeded), "EZ"),
        (|out| render::done(out, "SET a=\0b"), "CZ"),
        (|out| render::error(out, &CommandError::Invalid("\0".to_owned())), "EZ"),
    ] {
        let mut out = Vec::new();
        render(&mut out);
        assert_eq!(tags(&out), expected);
    }
}

#[test]
fn a_number_too_big_for_its_column_is_shown_as_the_most_it_can_hold() {
    let mut pool = pool();
    pool.cl_active = usize::MAX;
    let mut out = Vec::new();
    render::table(&mut out, &show::pools(&[pool]));
    let (_, row) = messages(&out).remove(1);
    assert!(row.windows(10).any(|part| part == b"2147483647"));
}

#[test]
fn errors_have_the_codes_of_pgbouncer() {
    for (error, code) in [
        (CommandError::ReloadFailed, b"F0000"),
        (CommandError::AdminNeeded, b"08P01"),
        (CommandError::NotSupported("SHOW FDS"), b"0A000"),
    ] {
        assert_eq!(&error.sqlstate().bytes(), code, "{error}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_command_or_an_error(bytes: Vec<u8>) {
        command::fuzz(&bytes);
    }

    #[test]
    fn any_text_of_the_right_words_is_one_too(
        words in proptest::collection::vec(
            "(?i:show|set|pause|kill_client|version|to)|=|;|'|\"|a|1| |\n|\0|é|--|/\\*",
            0..12,
        ),
    ) {
        command::fuzz(words.concat().as_bytes());
    }

    #[test]
    fn a_quoted_database_is_read_as_it_was_named(name in "[^\0]{1,40}") {
        let text = format!("PAUSE \"{}\";", name.replace('"', "\"\""));
        prop_assert_eq!(command::parse(&text), Ok(Command::Pause(Some(name))));
    }
}
