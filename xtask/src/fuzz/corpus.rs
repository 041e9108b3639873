//! Recorded inputs: sessions between real programs and PostgreSQL 15, and texts by hand.
//!
//! Each recording is what one side sent in one connection, from the first byte to the last, with a
//! password that exists nowhere. Not here: what is made of them (`mutate.rs`).

use crate::mutate::{self, Corpus};

macro_rules! recorded {
    ($side:literal: $($name:literal)+) => {
        &[$(include_bytes!(concat!("corpus/", $name, ".", $side)) as &[u8]),+]
    };
}

/// What clients sent: psql, psycopg with a pipeline, asyncpg, pgbench, and logins of three kinds.
pub const CLIENT: &[&[u8]] = recorded!("client": "psql" "psycopg" "asyncpg" "prepared" "extended"
    "tpcb" "cleartext" "md5" "refused");

/// What the server answered.
pub const SERVER: &[&[u8]] = recorded!("server": "psql" "psycopg" "asyncpg" "prepared" "extended"
    "tpcb" "cleartext" "md5" "refused" "questions");

/// First packets by hand: what no recording above has.
pub const FIRST: &[&[u8]] = &[
    b"\0\0\0\x08\x04\xd2\x16\x2f",
    b"\0\0\0\x08\x04\xd2\x16\x30",
    b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02",
    b"\0\0\0\x14\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02\0\0\0\x03",
    b"\0\0\0\x15\0\x03\0\x02user\0u\0_pq_.x\0y\0\0",
    b"\0\0\0\x30\0\x03\0\0user\0u\0options\0-c a=b\\ c --d-e=f\0\0",
];

/// Values of `options`.
pub const OPTIONS: &[&[u8]] = &[
    b"-c search_path=a,b -c statement_timeout=5s",
    b"--work-mem=64kB -cdatestyle=ISO\\ ,\\ MDY",
    b"-c",
    b"\\",
];

/// SCRAM messages, two of each side with a line feed between, after a byte that chooses.
pub const SCRAM_CLIENT_SAYS: &[&[u8]] = &[
    b"\0n,,n=u,r=fyko+d2lbbFgONRv9qkxdawL\nc=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfc,p=dHzbZapWIk4=",
    b"\x01p=tls-server-end-point,,n=,r=abc\nc=cD10bHMtc2VydmVyLWVuZC1wb2ludCws,r=abc,p=AA==",
    b"\0y,,n=a=2Cb=3D,r=x,ext=1\nc=eSws,r=x,p=AAAA",
];

/// What a server says in it.
pub const SCRAM_SERVER_SAYS: &[&[u8]] = &[
    b"\0r=CQkJCQkJCQkJCQkJCQkJCQkJCQkJabc,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096\nv=rmF9pqV8S7suAo=",
    b"\x01r=CQkJCQkJCQkJCQkJCQkJCQkJCQkJ,s=AA==,i=1\ne=other-error",
];

/// Configuration files.
pub const INI: &[&[u8]] = &[
    b"[databases]\nmain = host=db.example port=5432 dbname='a ''b' pool_size=5\n* = auth_user=a\n\
      [pgbouncer]\nlisten_addr = *\nlisten_port = 6432\nauth_type = scram-sha-256\n\
      pool_mode = transaction\nserver_lifetime = 3600.5\n;c\n[users]\na = \
      pool_mode=session max_user_connections=3\n[peers]\n1 = host=/tmp\n",
    b"[pgbouncer]\nunix_socket_mode = 0777\nserver_reset_query = DISCARD ALL\n\
      ignore_startup_parameters = a, b\nclient_tls_sslmode=require\nclient_tls_key_file=k\n\
      stats_users = a, \"b c\"\nadmin_users = x\nlog_connections = 0\nlisten_backlog=128\n",
    b"%include x.ini\n",
];

/// The native form.
pub const TOML: &[&[u8]] = &[
    b"[pooler]\nlisten_port = 6432\npool_mode = \"transaction\"\nserver_lifetime = \"1h\"\n\
      [databases.main]\nhost = \"db\"\nport = 5432\n[databases]\nurl = \
      \"postgres://a:b@c:1/d?sslmode=require\"\n[http]\nlisten = \"127.0.0.1:1\"\n",
    b"[headpond]\nworkers = 2\nengine = \"epoll\"\nlog_format = \"json\"\n[users.a]\n\
      pool_mode = \"session\"\n",
];

/// Lists of users.
pub const USERLIST: &[&[u8]] = &[
    b";c\n\"a\" \"b\"\n\"a b\" \"md5d41d8cd98f00b204e9800998ecf8427e\" x\n\"q\"\"q\" \"\"\n",
    b"\"s\" \"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
      WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
      wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=\"\n",
];

/// HBA files.
pub const HBA: &[&[u8]] = &[
    b"# c\nlocal all all peer map=m\nhost a,b \"c d\",@f 10.0.0.0/8 md5\nhostssl all +g ::1/128 \
      scram-sha-256\nhostnossl sameuser /^x$ 192.168.1.1 255.255.255.0 reject\n",
    b"host replication all all cert clientcert=verify-full\nhost all all samenet trust\n",
];

/// Commands of the console.
pub const COMMANDS: &[&[u8]] = &[
    b"SHOW POOLS;",
    b"show  help",
    b"PAUSE \"a b\"",
    b"KILL_CLIENT 12",
    b"SHUTDOWN WAIT_FOR_SERVERS",
    b"SET query_timeout = '5'",
    b"set client_encoding to utf8;",
    b"RELOAD",
];

/// Returns recordings as they are.
pub fn plain(recordings: &[&[u8]]) -> Corpus {
    Corpus { recordings: recordings.iter().map(|bytes| bytes.to_vec()).collect(), before: 0 }
}

/// Returns recordings with a byte before each, for targets that let it choose how to run.
pub fn chosen(recordings: &[&[u8]], choices: u8) -> Corpus {
    let with = |choice: u8| recordings.iter().map(move |bytes| [&[choice], *bytes].concat());
    Corpus { recordings: (0..choices).flat_map(with).collect(), before: 1 }
}

/// Returns each message of the recordings alone: tag and body, without the length.
pub fn messages(recordings: &[&[u8]]) -> Corpus {
    let mut found = Vec::new();
    for bytes in recordings {
        for (start, end) in mutate::frames(bytes, 0) {
            found.push([&bytes[start..=start], &bytes[start + 5..end]].concat());
        }
    }
    Corpus { recordings: found, before: 0 }
}

/// Returns what clients say once they are in.
pub fn asked() -> Vec<&'static [u8]> {
    let after = |bytes: &'static [u8]| {
        let frames = mutate::frames(bytes, 0);
        let first = frames.iter().find(|(start, _)| bytes[*start] != b'p');
        first.map(|(start, _)| &bytes[*start..])
    };
    CLIENT.iter().filter_map(|bytes| after(bytes)).collect()
}

/// Returns what the server says to clients that are in.
pub fn answered() -> Vec<&'static [u8]> {
    let after = |bytes: &'static [u8]| {
        let frames = mutate::frames(bytes, 0);
        let welcome = frames.iter().find(|(start, _)| bytes[*start] == b'Z');
        welcome.map(|(_, end)| &bytes[*end..])
    };
    SERVER.iter().filter_map(|bytes| after(bytes)).collect()
}
