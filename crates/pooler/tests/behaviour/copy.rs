//! COPY in both directions, and the ways in which it breaks off.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bench::{
    Bench, Setup, ask, client, doing, failure, first, raw, run, send, until, value, within,
};
use crate::support::Pooler;
use crate::support::client::{Client as Raw, Reply};
use crate::support::message::{Messages, startup};
use crate::support::postgres::APP;

const ROWS: usize = 20_000;

async fn copy_in(one: &mut Raw) {
    one.ask(&Messages::new().query("COPY ledger FROM STDIN")).await.expect("it listens");
    while within("COPY begins", one.reply()).await.expect("a reply") != Reply::CopyIn {}
}

#[test]
fn rows_go_in_and_come_out_by_copy() {
    let bench = Bench::start(&Setup { entry: "pool_size=1", ..Setup::default() });
    run(async {
        let mut one = raw(&bench.pooler).await;
        let mut other = raw(&bench.pooler).await;
        for turn in 0..3 {
            copy_in(&mut one).await;
            for chunk in 0..20 {
                let rows: String =
                    (0..ROWS / 20).map(|n| format!("{turn} {chunk} {n}\n")).collect();
                // A Sync and a Flush in a COPY mean nothing.
                let message = Messages::new().copy_data(rows.as_bytes()).flush().sync();
                one.ask(&message).await.expect("the pooler listens");
            }
            let replies = send(&mut one, &Messages::new().copy_done()).await;
            assert!(replies.contains(&Reply::Complete(format!("COPY {ROWS}"))), "{replies:?}");
            // The server is free again, for anybody.
            let count = first(&ask(&mut other, "SELECT count(*) FROM ledger").await);
            assert_eq!(count, Some(((turn + 1) * ROWS).to_string()));
        }
        let replies = ask(&mut other, "COPY ledger TO STDOUT").await;
        let data = replies.iter().filter(|reply| matches!(reply, Reply::CopyData(_)));
        assert_eq!(data.count(), 3 * ROWS);
        assert_eq!(replies.first(), Some(&Reply::CopyOut));
        let count = first(&ask(&mut one, "SELECT count(*) FROM ledger").await);
        assert_eq!(count, Some((3 * ROWS).to_string()));
    });
}

#[test]
fn what_is_sent_after_a_copy_has_failed_disturbs_nobody() {
    let bench = Bench::start(&Setup { entry: "pool_size=1", ..Setup::default() });
    run(async {
        let mut one = raw(&bench.pooler).await;
        let mut other = raw(&bench.pooler).await;
        copy_in(&mut one).await;
        let replies = send(&mut one, &Messages::new().copy_data(b"too\tmany\tcolumns\n")).await;
        assert!(failure(&replies).expect("it fails").starts_with("22P04"), "{replies:?}");
        // The client has not read that yet, so to say: it goes on, and needs no server for it.
        ask(&mut other, "BEGIN").await;
        for _ in 0..50 {
            let data = vec![b'x'; 20_000];
            one.ask(&Messages::new().copy_data(&data)).await.expect("the pooler listens");
        }
        one.ask(&Messages::new().copy_done()).await.expect("the pooler listens");
        assert_eq!(ask(&mut other, "COMMIT").await.last(), Some(&Reply::Ready('I')));
        let replies = ask(&mut one, "SELECT 'in step'").await;
        assert_eq!(first(&replies).as_deref(), Some("in step"));
        // Broken off by the client itself.
        copy_in(&mut one).await;
        let messages = Messages::new().copy_data(b"row\n").copy_fail("enough");
        let replies = send(&mut one, &messages).await;
        assert!(failure(&replies).expect("it fails").starts_with("57014"), "{replies:?}");
        let replies = ask(&mut other, "SELECT count(*) FROM ledger").await;
        assert_eq!(first(&replies).as_deref(), Some("0"));
    });
}

#[test]
fn a_client_that_dies_in_a_copy_leaves_no_row() {
    let bench = Bench::start(&Setup { entry: "pool_size=1", ..Setup::default() });
    run(async {
        let direct = bench.postgres.connect(APP).await;
        for farewell in [Messages::new(), Messages::new().terminate()] {
            let mut one = raw(&bench.pooler).await;
            copy_in(&mut one).await;
            for _ in 0..100 {
                let data = Messages::new().copy_data(b"lost\nlost\nlost\n");
                one.ask(&data).await.expect("the pooler listens");
            }
            one.ask(&farewell).await.expect("the pooler listens");
            drop(one);
            until("COPY ends", async || doing(&direct, "active", "COPY%").await == 0).await;
            assert_eq!(value(&direct, "SELECT count(*) FROM ledger").await, "0");
            let next = client(&bench.pooler, APP, APP).await;
            assert_eq!(value(&next, "SELECT 'served'").await, "served");
        }
        // And one that reads nothing of what it asked for.
        let mut one = raw(&bench.pooler).await;
        let sql = "COPY (SELECT repeat('x', 1000) FROM generate_series(1, 1000000)) TO STDOUT";
        one.ask(&Messages::new().query(sql)).await.expect("the pooler listens");
        until("it runs", async || doing(&direct, "active", "COPY (%").await == 1).await;
        drop(one);
        until("COPY ends", async || doing(&direct, "active", "COPY (%").await == 0).await;
        let next = client(&bench.pooler, APP, APP).await;
        assert_eq!(value(&next, "SELECT 'served'").await, "served");
    });
}

#[test]
fn a_function_call_is_one_request_with_one_end() {
    let bench = Bench::start(&Setup { entry: "pool_size=1", ..Setup::default() });
    run(async {
        let direct = bench.postgres.connect(APP).await;
        let abs: u32 =
            value(&direct, "SELECT 'int4abs'::regproc::oid::int").await.parse().expect("a number");
        let mut other = raw(&bench.pooler).await;
        let stream = TcpStream::connect(bench.pooler.address()).await;
        let mut stream = stream.expect("the pooler listens");
        let hello = startup(&[("user", APP), ("database", APP)]);
        stream.write_all(&hello).await.expect("the pooler reads");
        within("a login", up_to_ready(&mut stream)).await;
        for number in [7_i32, 8, 9] {
            // One argument and the result in binary; the argument has four bytes.
            let body = [
                &abs.to_be_bytes()[..],
                &[0, 1, 0, 1, 0, 1, 0, 0, 0, 4],
                &(-number).to_be_bytes(),
                &[0, 1],
            ]
            .concat();
            let length = u32::try_from(body.len() + 4).expect("it is short").to_be_bytes();
            let message = [&b"F"[..], &length, &body].concat();
            stream.write_all(&message).await.expect("the pooler reads");
            let replies = within("an answer", up_to_ready(&mut stream)).await;
            let result = [&[0, 0, 0, 4][..], &number.to_be_bytes()].concat();
            assert_eq!(replies, [(b'V', result), (b'Z', b"I".to_vec())]);
            assert_eq!(first(&ask(&mut other, "SELECT 'next'").await).as_deref(), Some("next"));
        }
    });
}

async fn up_to_ready(stream: &mut TcpStream) -> Vec<(u8, Vec<u8>)> {
    let mut messages = Vec::new();
    loop {
        let tag = stream.read_u8().await.expect("a message");
        let length = stream.read_u32().await.expect("its length");
        let mut body = vec![0; length as usize - 4];
        stream.read_exact(&mut body).await.expect("its body");
        messages.push((tag, body));
        if tag == b'Z' {
            return messages;
        }
    }
}
