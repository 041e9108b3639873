//! Recorded inputs: sessions between real programs and PostgreSQL 15, and texts by hand.
//!
//! Each recording is what one side sent in one connection, from the first byte to the last, with a
//! password that exists nowhere. Not here: what is made of them (`mutate.rs`).

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
    "tpcb" "cleartext" "md5" "refused");

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

/// Returns recordings with a byte before each, for targets that let it choose how to run.
pub fn chosen(recordings: &[&[u8]], choices: u8) -> Vec<Vec<u8>> {
    let with = |choice: u8| recordings.iter().map(move |bytes| [&[choice], *bytes].concat());
    (0..choices).flat_map(with).collect()
}

/// Returns each message of the recordings alone.
pub fn messages(recordings: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for bytes in recordings {
        for (start, end) in crate::mutate::frames(bytes) {
            // Tag, then body: the length is what a fuzz target leaves out.
            found.push([&bytes[start..=start], &bytes[start + 5..end]].concat());
        }
    }
    found
}
