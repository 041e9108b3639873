//! What random clients send.
//!
//! Invariant: every message is well-formed; whether it makes sense where it stands is left to
//! chance, and PostgreSQL's answer to nonsense is as much a part of the law as any other.
//! Not here: how the bytes are cut (`world.rs`).

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use crate::frontend::{self, Target};

/// One message of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    Query(&'static str),
    Parse(&'static str, &'static str),
    Bind(&'static str, &'static str, u8),
    DescribeStatement(&'static str),
    DescribePortal(&'static str),
    Execute(&'static str, i32),
    CloseStatement(&'static str),
    ClosePortal(&'static str),
    Sync,
    Flush,
    Call(u32),
    Data,
    Done,
    Fail,
    /// Nothing is sent before all that can come has come.
    Wait,
}

impl Op {
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Query(sql) => frontend::query(out, sql.as_bytes()),
            Self::Parse(name, sql) => {
                frontend::parse(out, name.as_bytes(), sql.as_bytes(), &[25]);
            }
            Self::Bind(portal, statement, value) => frontend::bind_text(
                out,
                portal.as_bytes(),
                statement.as_bytes(),
                &[Some(std::format!("value {value}").as_bytes())],
            ),
            Self::DescribeStatement(name) => {
                frontend::describe(out, Target::Statement, name.as_bytes());
            }
            Self::DescribePortal(name) => {
                frontend::describe(out, Target::Portal, name.as_bytes());
            }
            Self::Execute(portal, max) => frontend::execute(out, portal.as_bytes(), *max),
            Self::CloseStatement(name) => {
                frontend::close(out, Target::Statement, name.as_bytes());
            }
            Self::ClosePortal(name) => frontend::close(out, Target::Portal, name.as_bytes()),
            Self::Sync => frontend::sync(out),
            Self::Flush => frontend::flush(out),
            Self::Call(oid) => frontend::function_call(out, *oid, &[Some(b"1")]),
            Self::Data => frontend::copy_data(out, b"some\tdata\n"),
            Self::Done => frontend::copy_done(out),
            Self::Fail => frontend::copy_fail(out, b"given up"),
            Self::Wait => {}
        }
    }
}

/// Writes a script and what brings any session to rest; also tells how far the client sends
/// before it waits.
pub fn write(ops: &[Op]) -> (Vec<u8>, Vec<usize>) {
    let (mut out, mut stops) = (Vec::new(), Vec::new());
    for op in ops.iter().chain(&[Op::Fail, Op::Sync, Op::Query("rollback")]) {
        op.write(&mut out);
        if *op == Op::Wait {
            stops.push(out.len());
        }
    }
    (out, stops)
}

fn any_query() -> impl Strategy<Value = &'static str> {
    prop::sample::select(
        &[
            "select x",
            "rows 3",
            "",
            ";",
            "fail",
            "syntax",
            "begin",
            "commit",
            "rollback",
            "begin;select y;commit;select z",
            "select u;begin",
            "commit;begin",
            "select v;fail;select w",
            "set TimeZone UTC",
            "set TimeZone Asia/Tokyo",
            "set DateStyle ISO",
            "show TimeZone",
            "show application_name",
            "notice",
            "notify",
            "copyout",
            "copyin;select after",
            "copyin 2",
            "copyin 0",
        ][..],
    )
}

fn any_text() -> impl Strategy<Value = &'static str> {
    prop::sample::select(
        &[
            "select 1",
            "select 2",
            "select 3",
            "rows 5",
            "syntax",
            "fail",
            "begin",
            "commit",
            "rollback",
            "",
            "show TimeZone",
            "copyout",
        ][..],
    )
}

fn any_name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&["", "", "a", "a", "b", "c", "d", "HEADPOND_1"][..])
}

fn any_portal() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&["", "", "", "p"][..])
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => any_query().prop_map(Op::Query),
        4 => (any_name(), any_text()).prop_map(|(n, t)| Op::Parse(n, t)),
        4 => (any_portal(), any_name(), any::<u8>()).prop_map(|(p, n, v)| Op::Bind(p, n, v)),
        2 => any_name().prop_map(Op::DescribeStatement),
        1 => any_portal().prop_map(Op::DescribePortal),
        3 => (any_portal(), 0..3i32).prop_map(|(p, m)| Op::Execute(p, m)),
        2 => any_name().prop_map(Op::CloseStatement),
        1 => any_portal().prop_map(Op::ClosePortal),
        5 => Just(Op::Sync),
        1 => Just(Op::Flush),
        1 => (0..2u32).prop_map(Op::Call),
        1 => Just(Op::Data),
        1 => Just(Op::Done),
        1 => Just(Op::Fail),
        1 => Just(Op::Wait),
        1 => prop::sample::select(&["crash", "select x"][..]).prop_map(Op::Query),
    ]
}

/// A few messages as drivers send them.
fn any_phrase() -> impl Strategy<Value = Vec<Op>> {
    let extended = (any_name(), any_text(), any_portal(), any::<u8>()).prop_map(|(n, t, p, v)| {
        Vec::from([Op::Parse(n, t), Op::Bind(p, n, v), Op::DescribePortal(p), Op::Execute(p, 0)])
    });
    let again = (any_name(), any_portal(), any::<u8>())
        .prop_map(|(n, p, v)| Vec::from([Op::Bind(p, n, v), Op::Execute(p, 0), Op::Sync]));
    let prepare = (any_name(), any_text())
        .prop_map(|(n, t)| Vec::from([Op::Parse(n, t), Op::DescribeStatement(n), Op::Flush]));
    let renew = (any_name(), any_text())
        .prop_map(|(n, t)| Vec::from([Op::CloseStatement(n), Op::Parse(n, t), Op::Sync]));
    let copy =
        (any::<bool>(), 0..4usize, 0..5usize, any::<bool>()).prop_map(|(ext, kind, n, ok)| {
            let text = ["copyin", "copyin 2", "copyin 1", "copyin;copyin"][kind];
            let mut ops = match ext {
                false => Vec::from([Op::Query(text)]),
                true => Vec::from([
                    Op::Parse("", if kind == 3 { "copyin" } else { text }),
                    Op::Bind("", "", 0),
                    Op::Execute("", 0),
                    Op::Sync,
                ]),
            };
            ops.extend(std::iter::repeat_n(Op::Data, n));
            ops.push(if ok { Op::Done } else { Op::Fail });
            ops.push(Op::Sync);
            ops
        });
    let transaction = proptest::collection::vec(any_op(), 0..4).prop_map(|mut ops| {
        ops.insert(0, Op::Query("begin"));
        ops.push(Op::Sync);
        ops.push(Op::Query("commit"));
        ops
    });
    // A pooler learns from the answer that all statements are gone: what is sent behind such a
    // command without waiting for that may find them prepared anew.
    let drop_all = prop::sample::select(&["discard all", "deallocate all"][..])
        .prop_map(|text| Vec::from([Op::Query(text), Op::Wait]));
    // A COPY may fail before a Sync behind it is read, so that this Sync counts. What is sent
    // behind that, without waiting, would end the session had the COPY not failed.
    let early = (0..3usize, any::<bool>()).prop_map(|(n, ok)| {
        let mut ops = Vec::from([
            Op::Parse("t", "copyin 0"),
            Op::Bind("", "t", 0),
            Op::Execute("", 0),
            Op::Sync,
        ]);
        ops.extend(std::iter::repeat_n(Op::Data, n));
        ops.push(if ok { Op::Done } else { Op::Fail });
        ops.extend([Op::Sync, Op::Wait, Op::CloseStatement("t"), Op::Sync]);
        ops
    });
    prop_oneof![
        4 => any_op().prop_map(|op| Vec::from([op])),
        1 => early,
        1 => drop_all,
        3 => extended,
        3 => again,
        2 => prepare,
        1 => renew,
        1 => copy,
        1 => transaction,
    ]
}

/// A script.
pub fn any_script() -> impl Strategy<Value = Vec<Op>> {
    proptest::collection::vec(any_phrase(), 1..8).prop_map(|phrases| phrases.concat())
}
