//! Laws of the HBA file: which rule decides, and what becomes of lines that cannot be read.

use proptest::prelude::*;

use super::*;

const IDENT: &str = "# maps\nm  root  alice\nm \"web app\" all\nbroken one\nm /^x bob\n";

fn parse(text: &str) -> Parsed {
    let (maps, _) = IdentMaps::parse(IDENT.as_bytes());
    Rules::parse(text.as_bytes(), Path::new("etc/hba.conf"), &maps, &|path| match path.to_str() {
        Some("etc/names") => Ok(b"carol, dave\n# nobody else\n\n@more\n".to_vec()),
        Some("etc/more") => Ok(b"erin\n".to_vec()),
        Some("etc/loop") => Ok(b"@loop,@loop".to_vec()),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    })
}

fn tcp(address: &str, transport: Transport) -> Origin {
    Origin::Tcp { address: address.parse().expect("an address"), transport }
}

/// The line that decides about user `user` of database `db`; 0 for none.
fn line(text: &str, origin: Origin, db: &str, user: &str) -> u32 {
    let parsed = parse(text);
    assert_eq!(parsed.warnings, [], "{text}");
    parsed.rules.decide(origin, Wish::Database(db), user).line.unwrap_or(0)
}

#[test]
fn the_first_rule_that_matches_decides() {
    let text = "local all all trust\n\
        hostssl db1 alice 10.0.0.0/8 cert\n\
        hostnossl db1 alice 10.0.0.0/8 reject\n\
        host db1,db2 bob,\"all\" 10.0.0.0 255.0.0.0 md5 # inline\n\
        host sameuser all ::1/128 password\n\
        host all all all scram-sha-256\n";
    let plain = |address| tcp(address, Transport::Plain);
    for (origin, db, user, expected) in [
        (Origin::Unix, "any", "one", 1),
        (tcp("10.1.2.3", Transport::Tls), "db1", "alice", 2),
        (plain("10.1.2.3"), "db1", "alice", 3),
        (plain("::ffff:10.1.2.3"), "db1", "alice", 3),
        (plain("10.1.2.3"), "db2", "bob", 4),
        (plain("10.1.2.3"), "db2", "all", 4),
        (plain("::1"), "carol", "carol", 5),
        (plain("::1"), "db", "carol", 6),
        (plain("11.1.2.3"), "db1", "alice", 6),
    ] {
        assert_eq!(line(text, origin, db, user), expected, "{origin:?} {db} {user}");
    }
}

#[test]
fn where_no_rule_matches_the_client_is_rejected() {
    let parsed = parse("local db all trust");
    for wish in [Wish::Database("other"), Wish::Replication] {
        let decision = parsed.rules.decide(Origin::Unix, wish, "u");
        assert_eq!((decision.method, decision.line), (&Method::Reject, None));
    }
    let decision = Rules::default().decide(Origin::Unix, Wish::Database("db"), "u").method.clone();
    assert_eq!(decision, Method::Reject);
}

#[test]
fn replication_needs_a_rule_of_its_own() {
    let parsed = parse("local all all trust\nlocal replication rep md5");
    let decide = |wish| parsed.rules.decide(Origin::Unix, wish, "rep").line;
    assert_eq!(decide(Wish::Replication), Some(2));
    assert_eq!(decide(Wish::Database("replication")), Some(1));
    let parsed = parse("local \"replication\" rep md5");
    let decide = |wish| parsed.rules.decide(Origin::Unix, wish, "rep").line;
    assert_eq!(decide(Wish::Replication), None);
    assert_eq!(decide(Wish::Database("replication")), Some(1));
}

#[test]
fn names_may_come_from_files_beside_the_rules() {
    let text = "local all @names trust";
    for (user, expected) in [("carol", 1), ("dave", 1), ("erin", 1), ("mallory", 0)] {
        assert_eq!(line(text, Origin::Unix, "db", user), expected, "{user}");
    }
}

#[test]
fn a_map_says_which_system_user_may_be_whom() {
    let parsed = parse("local all all peer map=m\nhost all all ::1/128 cert map=\"m\"");
    assert_eq!(parsed.warnings, []);
    let decision = parsed.rules.decide(Origin::Unix, Wish::Database("db"), "u");
    let map = decision.map.expect("the rule has a map");
    for (system, user, allowed) in [
        ("root", "alice", true),
        ("root", "bob", false),
        ("web app", "anyone", true),
        ("mallory", "alice", false),
        ("/^x", "bob", false),
    ] {
        assert_eq!(map.allows(system, user), allowed, "{system} {user}");
    }
    let (_, warnings) = IdentMaps::parse(IDENT.as_bytes());
    let lines: Vec<u32> = warnings.iter().map(|warning| warning.line).collect();
    assert_eq!(lines, [4, 5]);
}

#[test]
fn a_bad_line_is_named_and_skipped_and_the_others_are_used() {
    for (bad, flaw) in [
        ("hosts all all 10.0.0.0/8 trust", LineFlaw::Connection),
        ("\"local\" all all trust", LineFlaw::Connection),
        ("local", LineFlaw::Names("databases")),
        ("local all,", LineFlaw::Names("databases")),
        ("local all , trust", LineFlaw::Names("users")),
        ("local +g all trust", LineFlaw::NameKind("+group")),
        ("local samerole all trust", LineFlaw::NameKind("samerole")),
        ("local all @nowhere trust", LineFlaw::NamesFile("etc/nowhere".to_owned())),
        ("local all @loop trust", LineFlaw::NamesFile("etc/loop".to_owned())),
        ("host all all", LineFlaw::NoAddress),
        ("host all all db.example trust", LineFlaw::Address),
        ("host all all samehost trust", LineFlaw::Address),
        ("host all all 10.0.0.0 ", LineFlaw::NoMask),
        ("host all all 10.0.0.0 trust", LineFlaw::Mask),
        ("host all all 10.0.0.0 ffff::", LineFlaw::Mask),
        ("host all all 10.0.0.0/33 trust", LineFlaw::Mask),
        ("host all all 10.0.0.0/+8 trust", LineFlaw::Mask),
        ("host all all ::/129 trust", LineFlaw::Mask),
        ("local all all", LineFlaw::Method),
        ("local all all gss", LineFlaw::Method),
        ("local all all trust map=m", LineFlaw::Parameters),
        ("local all all peer map=m extra", LineFlaw::Parameters),
        ("local all all peer map=x", LineFlaw::Map("x".to_owned())),
        ("local all \"open trust", LineFlaw::Quote),
    ] {
        let parsed = parse(&format!("# first\n{bad}\nlocal all all md5\n"));
        assert_eq!(parsed.warnings, [HbaWarning { line: 2, flaw }], "{bad}");
        assert_eq!(parsed.rules.len(), 1, "{bad}");
    }
    let warning = parse("local +g all trust").warnings.remove(0);
    assert_eq!(warning.to_string(), "hba line 1: +group is not supported");
}

#[test]
fn bits_outside_the_mask_let_nobody_in() {
    for (method, expected) in [("trust", None), ("reject", Some(1))] {
        let parsed = parse(&format!("host all all 10.0.0.5/8 {method}"));
        assert_eq!(parsed.warnings, [HbaWarning { line: 1, flaw: LineFlaw::HostBits }]);
        let origin = tcp("10.9.9.9", Transport::Plain);
        assert_eq!(parsed.rules.decide(origin, Wish::Database("db"), "u").line, expected);
    }
}

#[test]
fn ldap_options_are_kept_and_never_shown() {
    let parsed = parse("host all all ::/0 ldap ldapserver=x ldapbindpasswd=\"canary pw\"");
    assert_eq!(parsed.warnings, []);
    assert!(!format!("{parsed:?}").contains("canary"));
    let origin = tcp("::1", Transport::Plain);
    let method = parsed.rules.decide(origin, Wish::Database("db"), "u").method.clone();
    let Method::Ldap(options) = method else { panic!("{method:?}") };
    assert_eq!(options.reveal(), "ldapserver=x ldapbindpasswd=canary pw");
}

proptest! {
    #[test]
    fn a_prefix_contains_the_addresses_that_share_its_bits(
        address: u32, other: u32, bits in 0u32..=32,
    ) {
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        let network = std::net::Ipv4Addr::from_bits(address & mask);
        let client = std::net::Ipv4Addr::from_bits(other);
        let expected = u32::from(address & mask == other & mask);
        let origin = Origin::Tcp { address: client.into(), transport: Transport::Plain };
        let by_bits = format!("host all all {network}/{bits} trust");
        prop_assert_eq!(line(&by_bits, origin, "db", "u"), expected);
        let by_mask =
            format!("host all all {network} {} trust", std::net::Ipv4Addr::from_bits(mask));
        prop_assert_eq!(line(&by_mask, origin, "db", "u"), expected);
    }

    #[test]
    fn any_bytes_are_read(bytes: Vec<u8>) {
        fuzz(&bytes);
    }

    #[test]
    fn any_line_of_the_right_words_is_read(
        words in proptest::collection::vec(
            "(local|host|all|@x|@x,|\"|,|#|\n|::1/0|10.0.0.0|/|255.0.0.0|trust|peer|map=| )",
            0..16,
        ),
    ) {
        fuzz(words.join(" ").as_bytes());
    }
}
