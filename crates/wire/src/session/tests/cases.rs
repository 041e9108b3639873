//! Single cases: what goes where for a few messages, call by call.

use core::mem::size_of;
use std::string::{String, ToString};
use std::vec::Vec;

use super::laws::show;
use super::pair::{CLIENT, Cut, Pair, SERVER};
use super::script::Op;
use super::world::settings;
use crate::backend::{self, Notice, Status};
use crate::error::{ProtocolError, Severity};
use crate::frontend;
use crate::session::reuse::{NotReusable, reusable};
use crate::session::{
    ClientState, Internal, Mode, Orphan, Settings, Step, Violation, from_client, link, orphan,
};
use crate::sqlstate::SqlState;

fn pair() -> Pair {
    Pair::new(settings(), 0)
}

fn ops(ops: &[Op]) -> Vec<u8> {
    let mut out = Vec::new();
    for op in ops {
        op.write(&mut out);
    }
    out
}

/// Replies of a server, written as their tags; `Z` may be followed by its status.
fn replies(tags: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for word in tags.split_whitespace() {
        match word {
            "1" => backend::parse_complete(&mut out),
            "2" => backend::bind_complete(&mut out),
            "3" => backend::close_complete(&mut out),
            "C" => backend::command_complete(&mut out, b"SELECT 1"),
            "T" => backend::row_description(&mut out, &[backend::Column::text(b"x")]),
            "D" => backend::data_row(&mut out, &[Some(b"value")]),
            "I" => backend::empty_query_response(&mut out),
            "n" => backend::no_data(&mut out),
            "s" => backend::portal_suspended(&mut out),
            "t" => backend::parameter_description(&mut out, &[25]),
            "G" => backend::copy_in_response(&mut out, 1),
            "ZI" => backend::ready_for_query(&mut out, Status::Idle),
            "ZT" => backend::ready_for_query(&mut out, Status::Open),
            "ZE" => backend::ready_for_query(&mut out, Status::Failed),
            "A" => backend::notification_response(&mut out, 1, b"channel", b"text"),
            "N" => backend::notice_response(
                &mut out,
                &Notice::new(Severity::Notice, SqlState::SUCCESS, "text"),
            ),
            "E" => backend::error_response(
                &mut out,
                &Notice::error(SqlState::INTERNAL_ERROR, "it failed"),
            ),
            "F" => backend::error_response(
                &mut out,
                &Notice::fatal(SqlState::ADMIN_SHUTDOWN, "shutting down"),
            ),
            word => panic!("{word}"),
        }
    }
    out
}

impl Pair {
    /// Gives bytes of the client in one piece, and returns what the relay said.
    fn client(&mut self, bytes: &[u8]) -> Vec<Step> {
        self.steps.clear();
        self.feed(CLIENT, bytes, Cut::Whole);
        core::mem::take(&mut self.steps)
    }

    fn server(&mut self, tags: &str) -> Vec<Step> {
        self.steps.clear();
        self.feed(SERVER, &replies(tags), Cut::Whole);
        core::mem::take(&mut self.steps)
    }

    /// What went out to one side since the last call.
    fn sent(&mut self, side: usize) -> String {
        show(&core::mem::take(&mut self.out[side])).trim().to_string()
    }
}

#[test]
fn a_simple_query_and_its_reply_are_one_call_each() {
    let mut pair = pair();
    let query = ops(&[Op::Query("select 1")]);
    assert_eq!(pair.client(&query), [Step::NeedServer, Step::Forward(query.len())]);
    let reply = replies("T D C ZI").len();
    assert_eq!(pair.server("T D C ZI"), [Step::Forward(reply)]);
    assert!(pair.s.is_settled());
    assert_eq!(reusable(&pair.s.evidence()), Ok(()));
}

#[test]
fn an_unnamed_extended_query_and_its_reply_are_one_call_each() {
    let mut pair = pair();
    let batch = ops(&[
        Op::Parse("", "select 1"),
        Op::Bind("", "", 1),
        Op::DescribePortal(""),
        Op::Execute("", 0),
        Op::Sync,
    ]);
    assert_eq!(pair.client(&batch), [Step::NeedServer, Step::Forward(batch.len())]);
    assert_eq!(pair.server("1 2 T D C ZI"), [Step::Forward(replies("1 2 T D C ZI").len())]);
    assert!(pair.s.is_settled());
}

#[test]
fn a_known_statement_is_bound_in_one_call() {
    let mut pair = pair();
    pair.client(&ops(&[Op::Parse("a", "select 1"), Op::Sync]));
    pair.server("1 ZI");
    pair.sent(0);
    let batch = ops(&[Op::Bind("", "a", 1), Op::Execute("", 0), Op::Sync]);
    assert_eq!(pair.client(&batch), [Step::Swallow(batch.len())]);
    assert_eq!(pair.sent(0), "B[HEADPOND_1 value 1] E[] S[]");
}

#[test]
fn a_client_is_small_and_without_heap_until_it_prepares_something() {
    let (client, server) = (size_of::<ClientState>(), size_of::<crate::session::ServerState>());
    std::println!("a client takes {client} bytes, a server {server}");
    assert!(client <= 250);
    let mut pair = pair();
    pair.client(&ops(&[Op::Query("select 1")]));
    pair.server("T D C ZI");
    assert!(pair.c.prepared.is_none());
}

#[test]
fn what_needs_no_server_is_answered_without_one() {
    let mut pair = pair();
    let table: [(&[Op], &str); 6] = [
        (&[Op::Sync], "Z[I]"),
        (&[Op::Flush], ""),
        (&[Op::CloseStatement("a"), Op::Sync], "3[] Z[I]"),
        (&[Op::ClosePortal("p")], "3[]"),
        (&[Op::Data, Op::Done, Op::Fail], ""),
        (&[Op::Flush, Op::Sync, Op::Sync], "Z[I] Z[I]"),
    ];
    for (sent, heard) in table {
        pair.client(&ops(sent));
        assert_eq!(pair.sent(1), heard, "{sent:?}");
        assert!(!pair.linked, "{sent:?}");
    }
    let mut bye = Vec::new();
    frontend::terminate(&mut bye);
    assert_eq!(pair.client(&bye), [Step::End]);
}

#[test]
fn a_server_is_asked_for_only_with_a_whole_small_message() {
    let query = ops(&[Op::Query("select 1")]);
    for end in 5..query.len() {
        let mut pair = pair();
        assert_eq!(pair.client(&query[..end]), [Step::NeedInput(query.len())]);
        assert!(!pair.linked);
    }
    let mut large = Vec::new();
    frontend::query(&mut large, &[b' '; 10_000]);
    let mut pair = pair();
    assert_eq!(pair.client(&large[..500]), [Step::NeedServer, Step::Forward(500)]);
}

#[test]
fn a_message_over_its_limit_is_refused_from_its_header() {
    let too_long = |tag: u8, len: u32| {
        let mut pair = Pair::new(Settings { message_max: 1 << 20, ..settings() }, 0);
        let header = [&[tag][..], &len.to_be_bytes()].concat();
        pair.client(&header);
        (pair.broken.is_some(), pair.linked)
    };
    assert_eq!(too_long(b'Q', (1 << 20) + 1), (true, false));
    assert_eq!(too_long(b'S', 5), (true, false));
    assert_eq!(too_long(b'E', 10_005), (true, false));
    assert_eq!(too_long(b'E', 10_004), (false, true));
    assert_eq!(too_long(b'd', 3), (true, false));
}

#[test]
fn unknown_and_login_messages_of_a_client_are_refused() {
    for tag in 0..=255u8 {
        let known = b"BCDEFHPQSXdcf".contains(&tag);
        let mut pair = pair();
        let body: &[u8] = match tag {
            b'S' | b'H' | b'X' => b"",
            b'C' | b'D' => b"Sname\0",
            _ => b"\0\0\0\0\0\0\0\0",
        };
        let len = u32::try_from(body.len() + 4).unwrap();
        pair.client(&[&[tag][..], &len.to_be_bytes(), body].concat());
        let broken = pair.broken.is_some_and(|why| why != "end");
        assert_eq!(broken, !known, "{:?}", char::from(tag));
    }
}

#[test]
fn simple_queries_can_be_forbidden() {
    let mut pair = Pair::new(Settings { simple_query_allowed: false, ..settings() }, 0);
    pair.client(&ops(&[Op::Query("select 1")]));
    assert_eq!(pair.broken.as_deref(), Some("PQexec disallowed"));
}

#[test]
fn an_error_skips_to_sync_not_to_the_query_before_it() {
    let mut pair = pair();
    pair.client(&ops(&[Op::Bind("", "x", 1), Op::Query("select 1"), Op::Sync]));
    pair.server("E");
    assert!(!pair.s.is_settled());
    pair.server("ZI");
    assert!(pair.s.is_settled());
}

#[test]
fn after_an_error_without_sync_everything_is_dropped_until_it_comes() {
    let mut pair = pair();
    pair.client(&ops(&[Op::Bind("", "x", 1), Op::Flush]));
    pair.server("E");
    pair.sent(0);
    let more = ops(&[Op::Query("select 1"), Op::Call(1), Op::Parse("a", "select 1")]);
    assert_eq!(pair.client(&more), [Step::Swallow(more.len())]);
    assert!(!pair.s.is_settled());
    assert!(pair.c.prepared.as_ref().is_none_or(|prepared| prepared.get(b"a").is_none()));
    pair.client(&ops(&[Op::Sync]));
    assert_eq!(pair.sent(0), "S[]");
    pair.server("ZI");
    assert!(pair.s.is_settled());
}

#[test]
fn fifty_batches_owe_fifty_readies() {
    let mut pair = pair();
    let batch = [Op::Parse("", "select 1"), Op::Bind("", "", 1), Op::Execute("", 0), Op::Sync];
    for _ in 0..50 {
        pair.client(&ops(&batch));
    }
    for _ in 0..49 {
        pair.server("1 2 D C ZI");
        assert!(!pair.s.is_settled());
    }
    pair.server("1 2 D C ZI");
    assert!(pair.s.is_settled());
}

#[test]
fn a_suspended_portal_goes_on() {
    let mut pair = pair();
    pair.client(&ops(&[
        Op::Parse("", "rows 9"),
        Op::Bind("", "", 1),
        Op::Execute("", 2),
        Op::Flush,
    ]));
    pair.server("1 2 D D s");
    assert!(!pair.s.is_settled(), "a batch is open");
    pair.client(&ops(&[Op::Execute("", 0), Op::Sync]));
    pair.server("D C ZI");
    assert!(pair.s.is_settled());
}

#[test]
fn a_sync_inside_copy_earns_no_ready() {
    let mut pair = pair();
    pair.client(&ops(&[Op::Parse("", "copyin"), Op::Bind("", "", 1), Op::Execute("", 0)]));
    pair.client(&ops(&[Op::Sync]));
    pair.server("1 2 G");
    pair.client(&ops(&[Op::Data, Op::Sync, Op::Flush, Op::Done]));
    pair.server("C");
    assert!(!pair.s.is_settled(), "the batch has no sync that counts");
    pair.client(&ops(&[Op::Sync]));
    pair.server("ZI");
    assert!(pair.s.is_settled());
}

#[test]
fn late_copy_data_asks_for_no_server() {
    let mut pair = pair();
    pair.client(&ops(&[Op::Query("copyin 1")]));
    pair.server("G");
    pair.client(&ops(&[Op::Data]));
    pair.server("E ZI");
    pair.rest();
    assert!(!pair.linked);
    pair.sent(0);
    pair.client(&ops(&[Op::Data, Op::Data, Op::Done]));
    assert!(!pair.linked);
    assert_eq!(pair.sent(0), "");
}

#[test]
fn a_server_that_waits_for_copy_data_of_a_client_that_left_is_closed() {
    let mut pair = pair();
    pair.client(&ops(&[Op::Query("copyin"), Op::Query("select 1")][..1]));
    pair.server("G");
    assert!(matches!(orphan(&mut pair.s), Orphan::Close(_)));
}

#[test]
fn what_a_vanished_client_leaves_decides_about_its_server() {
    let leaves = |sent: &[u8], heard: &str| {
        let mut pair = pair();
        pair.client(sent);
        pair.server(heard);
        orphan(&mut pair.s)
    };
    let query = ops(&[Op::Query("select 1")]);
    let batch = ops(&[Op::Parse("", "select 1"), Op::Bind("", "", 1)]);
    let mut large = Vec::new();
    frontend::query(&mut large, &[b' '; 10_000]);
    assert_eq!(leaves(&query, "T D C ZI"), Orphan::Idle);
    assert_eq!(leaves(&query, "C ZT"), Orphan::Idle);
    assert_eq!(leaves(&query, "T D"), Orphan::Draining);
    assert_eq!(
        leaves(&batch, "1 2"),
        Orphan::Close("client disconnect while server was not ready")
    );
    assert_eq!(
        leaves(&large[..5000], ""),
        Orphan::Close("client disconnect before everything was sent to the server")
    );
}

#[test]
fn a_drained_server_swallows_what_is_owed() {
    let mut pair = pair();
    pair.client(&ops(&[Op::Query("select 1"), Op::Query("select 2")]));
    pair.server("T D");
    assert_eq!(orphan(&mut pair.s), Orphan::Draining);
    pair.linked = false;
    pair.sent(1);
    pair.server("C ZI T N D C ZI");
    assert_eq!(pair.sent(1), "");
    assert!(pair.s.is_settled());
    assert_eq!(pair.s.take_events().dropped_notices, 1);
}

#[test]
fn parameters_are_applied_before_anything_else_and_their_replies_are_not_heard() {
    let mut pair = pair();
    pair.c.parameters = pair.c.parameters.with(b"TimeZone", b"UTC");
    let query = ops(&[Op::Query("select 1")]);
    assert_eq!(pair.client(&query), [Step::NeedServer]);
    assert_eq!(pair.sent(0), "Q[SET TimeZone='UTC']");
    pair.pump(CLIENT);
    assert_eq!(pair.sent(0), "", "the client is held");
    let mut reported = Vec::new();
    backend::parameter_status(&mut reported, b"TimeZone", b"Etc/UTC");
    pair.feed(SERVER, &reported, Cut::Bytes(3));
    pair.server("N A C ZI");
    assert_eq!(pair.sent(1), "");
    let finished = pair.s.take_internal().expect("it has ended");
    assert_eq!((finished.kind, finished.error), (Internal::Settle, None));
    assert_eq!(pair.c.wanted(b"timezone"), Some(&b"Etc/UTC"[..]));
    assert!(pair.c.parameters().is(pair.s.parameters()), "canonical and shared");
    pair.pump(CLIENT);
    assert_eq!(pair.sent(0), "Q[select 1]");
}

#[test]
fn a_parameter_that_is_refused_is_told_to_the_pooler_only() {
    let mut pair = pair();
    pair.c.parameters = pair.c.parameters.with(b"TimeZone", b"Nowhere");
    pair.client(&ops(&[Op::Query("select 1")]));
    pair.server("E ZI");
    assert_eq!(pair.sent(1), "");
    let finished = pair.s.take_internal().expect("it has ended");
    assert_eq!(finished.error.expect("an error").message, b"it failed");
    assert_eq!(pair.c.wanted(b"TimeZone"), Some(&b"Nowhere"[..]));
}

#[test]
fn a_changed_parameter_follows_its_client() {
    let mut pair = pair();
    pair.client(&ops(&[Op::Query("set TimeZone X")]));
    let mut reported = Vec::new();
    backend::parameter_status(&mut reported, b"TimeZone", b"X");
    pair.feed(SERVER, &reported, Cut::Whole);
    pair.server("C ZI");
    assert_eq!(pair.c.wanted(b"TimeZone"), Some(&b"X"[..]));
    assert!(pair.sent(1).starts_with("S[TimeZone X]"));
}

#[test]
fn internal_queries_tell_their_first_error_and_keep_a_looked_up_row() {
    let mut pair = pair();
    let mut out = Vec::new();
    pair.s.begin_internal(Internal::Reset, b"DISCARD ALL", &mut out);
    assert!(pair.s.take_internal().is_none());
    pair.server("E");
    pair.server("ZI");
    let finished = pair.s.take_internal().expect("it has ended");
    assert_eq!(finished.kind, Internal::Reset);
    assert!(finished.error.is_some());
    pair.s.begin_lookup(b"select $1", b"joe", &mut out);
    let mut reply = replies("1 2");
    backend::row_description(&mut reply, &[backend::Column::text(b"a"); 2]);
    backend::data_row(&mut reply, &[Some(b"joe"), None]);
    backend::data_row(&mut reply, &[Some(b"second"), None]);
    reply.extend(replies("C ZI"));
    pair.feed(SERVER, &reply, Cut::Bytes(3));
    let finished = pair.s.take_internal().expect("it has ended");
    assert_eq!((finished.kind, finished.columns), (Internal::Lookup, 2));
    assert_eq!(finished.row, Some(Vec::from([Some(b"joe".to_vec()), None])));
    assert!(pair.s.is_settled());
}

#[test]
fn a_reset_empties_the_servers_statements() {
    let mut pair = pair();
    pair.client(&ops(&[Op::Parse("a", "select 1"), Op::Sync]));
    pair.server("1 ZI");
    pair.rest();
    assert_eq!(pair.s.statements(), 1);
    pair.s.begin_internal(Internal::Reset, b"DISCARD ALL", &mut Vec::new());
    let mut reply = Vec::new();
    backend::command_complete(&mut reply, b"DISCARD ALL");
    pair.feed(SERVER, &reply, Cut::Bytes(1));
    pair.server("ZI");
    assert_eq!((pair.s.statements(), pair.c.statements()), (0, 1));
}

#[test]
fn notices_reach_a_linked_client_only() {
    let mut pair = pair();
    pair.server("N A");
    assert_eq!(pair.sent(1), "");
    assert_eq!(pair.s.take_events().dropped_notices, 2);
    pair.client(&ops(&[Op::Query("begin")]));
    pair.server("N C ZT A");
    assert!(pair.sent(1).contains("A["));
    assert!(pair.c.is_in_transaction());
}

#[test]
fn a_fatal_error_is_remembered_and_passed_on() {
    let mut pair = pair();
    pair.server("F");
    assert_eq!(pair.s.last_error().map(|e| e.code), Some(*b"57P01"));
    assert_eq!(reusable(&pair.s.evidence()), Err(NotReusable::Violation));
    let mut pair = super::cases::pair();
    pair.client(&ops(&[Op::Query("select 1")]));
    pair.server("F");
    assert!(pair.sent(1).contains("shutting down"));
}

#[test]
fn a_server_that_breaks_the_protocol_is_reported() {
    let table = ["ZI", "1", "C", "T", "D", "n", "2", "3", "s", "I", "t", "G"];
    for tags in table {
        let mut pair = pair();
        pair.server(tags);
        assert!(pair.broken.is_some(), "{tags} with nothing owed");
        assert_eq!(reusable(&pair.s.evidence()), Err(NotReusable::Violation));
    }
    let owed: [(&[Op], &str); 5] = [
        (&[Op::Query("x")], "2"),
        (&[Op::Query("x")], "1"),
        (&[Op::Parse("", "x"), Op::Sync], "2"),
        (&[Op::Parse("", "x"), Op::Sync], "ZI"),
        (&[Op::Sync, Op::Query("x")], "C"),
    ];
    for (sent, heard) in owed {
        let mut pair = pair();
        pair.client(&ops(&[Op::Query("begin")]));
        pair.server("C ZT");
        pair.client(&ops(sent));
        pair.server(heard);
        assert!(pair.broken.is_some(), "{heard} for {sent:?}");
    }
    for bytes in
        [&b"Z\0\0\0\x05X"[..], b"Z\0\0\0\x06II", b"1\0\0\0\x05x", b"?\0\0\0\x04", b"Z\0\0\0\x03"]
    {
        let mut pair = pair();
        pair.client(&ops(&[Op::Query("x"), Op::Parse("", "x"), Op::Sync]));
        pair.feed(SERVER, &replies("C"), Cut::Whole);
        pair.feed(SERVER, bytes, Cut::Whole);
        assert!(pair.broken.is_some(), "{bytes:?}");
    }
}

#[test]
fn a_transaction_in_statement_mode_is_refused() {
    let mut pair = Pair::new(Settings { mode: Mode::Statement, ..settings() }, 0);
    pair.client(&ops(&[Op::Query("begin")]));
    pair.server("C");
    assert_eq!(pair.broken, None);
    pair.server("ZT");
    assert_eq!(
        pair.broken.as_deref(),
        Some("transaction blocks not allowed in statement pooling mode")
    );
}

#[test]
fn a_name_that_looks_like_ours_cannot_reach_a_statement_of_another() {
    let mut pair = pair();
    pair.client(&ops(&[Op::Parse("a", "select 1"), Op::Sync]));
    pair.server("1 ZI");
    pair.sent(0);
    pair.client(&ops(&[
        Op::Bind("", "HEADPOND_1", 1),
        Op::DescribeStatement("HEADPOND_1"),
        Op::CloseStatement("HEADPOND_1"),
        Op::Sync,
    ]));
    let sent = pair.sent(0);
    assert!(sent.starts_with("B[?HEADPOND_1 "), "{sent}");
    assert!(sent.contains("D[S?HEADPOND_1]"), "{sent}");
    assert!(!sent.contains("C["), "{sent}");
}

#[test]
fn one_statement_less_is_kept_for_each_one_more() {
    let mut pair = Pair::new(Settings { statements_max: 1, ..settings() }, 0);
    pair.client(&ops(&[Op::Parse("a", "select 1"), Op::Sync]));
    pair.server("1 ZI");
    pair.sent(0);
    pair.client(&ops(&[Op::Parse("b", "select 2"), Op::Sync]));
    assert_eq!(pair.sent(0), "C[SHEADPOND_1] P[HEADPOND_2 select 2] S[]");
    pair.server("3 1 ZI");
    assert_eq!(pair.sent(1).matches('3').count(), 0, "nobody asked for that");
    assert_eq!(pair.s.statements(), 1);
    pair.client(&ops(&[Op::Bind("", "a", 1), Op::Sync]));
    let sent = "C[SHEADPOND_2] P[HEADPOND_1 select 1] B[HEADPOND_1 value 1] S[]";
    assert_eq!(pair.sent(0), sent);
}

#[test]
fn a_plan_whose_result_changed_is_prepared_anew_the_next_time() {
    let mut pair = pair();
    pair.client(&ops(&[Op::Parse("a", "select 1"), Op::Sync]));
    pair.server("1 ZI");
    pair.client(&ops(&[Op::Bind("", "a", 1), Op::Execute("", 0), Op::Sync]));
    let mut error =
        b"E\0\0\0\0SERROR\0VERROR\0C0A000\0Mchanged\0RRevalidateCachedQuery\0\0".to_vec();
    let len = u32::try_from(error.len() - 1).unwrap();
    error[1..5].copy_from_slice(&len.to_be_bytes());
    pair.feed(SERVER, &error, Cut::Whole);
    pair.server("ZI");
    assert!(pair.sent(1).contains("0A000"), "it is heard once");
    pair.sent(0);
    pair.client(&ops(&[Op::Bind("", "a", 1), Op::Execute("", 0), Op::Sync]));
    let sent = pair.sent(0);
    assert!(sent.starts_with("C[SHEADPOND_1] P[HEADPOND_1"), "{sent}");
    pair.server("3 1 2 D C ZI");
    assert!(pair.s.is_settled());
    assert_eq!(pair.s.statements(), 1);
}

#[test]
fn events_count_what_happened() {
    let mut pair = pair();
    pair.client(&ops(&[Op::Query("begin")]));
    pair.server("C ZT");
    pair.client(&ops(&[Op::Query("commit")]));
    pair.server("C ZI");
    pair.client(&ops(&[Op::Parse("a", "select 1"), Op::Bind("", "a", 1), Op::Sync]));
    pair.server("1 2 ZI");
    let events = pair.s.take_events();
    assert_eq!((events.queries, events.transactions), (3, 2));
    assert_eq!((events.client_parses, events.server_parses, events.binds), (1, 1, 1));
    assert_eq!(pair.s.take_events(), crate::session::Events::default());
}

#[test]
fn a_client_that_asks_without_reading_is_stopped() {
    let mut pair = pair();
    let sync = ops(&[Op::Sync]);
    pair.client(&ops(&[Op::Query("begin")]));
    let flood = sync.repeat(20_000);
    let steps = pair.client(&flood);
    assert_eq!(steps.last(), Some(&Step::Full));
    assert!(pair.s.owed() <= 16_384);
    pair.server("C ZT");
    pair.steps.clear();
    pair.pump(CLIENT);
    assert_eq!(pair.steps.first(), Some(&Step::Forward(5)));
}

#[test]
fn a_flood_without_sync_makes_the_server_speak() {
    let mut pair = pair();
    let flood = ops(&[Op::Execute("", 0)]).repeat(20_000);
    assert_eq!(pair.client(&flood).last(), Some(&Step::Full));
    assert!(pair.sent(0).ends_with("H[]"));
    pair.pump(CLIENT);
    assert_eq!(pair.sent(0), "", "it is asked once");
}

#[test]
fn a_rejected_batch_is_dropped_up_to_its_end() {
    for batch in [
        ops(&[Op::Query("select 1")]),
        ops(&[Op::Parse("", "x"), Op::Bind("", "", 1), Op::Query("y")][..2]),
        ops(&[Op::Call(1)]),
    ] {
        let mut pair = pair();
        pair.c.reject();
        pair.client(&batch);
        if !pair.sent(1).ends_with("Z[I]") {
            pair.client(&ops(&[Op::Sync]));
            assert_eq!(pair.sent(1), "Z[I]");
        }
        assert!(!pair.linked);
        pair.client(&ops(&[Op::Query("select 2")]));
        assert_eq!(pair.sent(0), "Q[select 2]");
    }
}

#[test]
fn a_gigabyte_streams_through_whatever_is_there() {
    let mut pair = pair();
    let len = 1u32 << 30;
    let header = [&b"Q"[..], &len.to_be_bytes()].concat();
    pair.client(&header);
    let piece = std::vec![b' '; 1 << 16];
    let mut left = usize::try_from(len).unwrap() - 4;
    let mut calls = 0;
    while left > 0 {
        let n = left.min(piece.len());
        let mut cx_out = crate::session::Staged::default();
        let mut cx = crate::session::Context {
            settings: &pair.settings,
            statements: &pair.statements,
            staged: &mut cx_out,
        };
        let step = from_client(&mut pair.c, Some(&mut pair.s), &piece[..n], &mut cx);
        assert_eq!(step, Ok(Step::Forward(n)));
        left -= n;
        calls += 1;
    }
    assert_eq!(calls, (1 << 30) / (1 << 16));
    assert!(pair.c.is_at_boundary());
}

#[test]
fn in_session_mode_prepared_statements_pass_through() {
    let mut pair = Pair::new(Settings { mode: Mode::Session, ..settings() }, 0);
    let batch = ops(&[
        Op::Parse("a", "select 1"),
        Op::DescribeStatement("a"),
        Op::Bind("", "a", 1),
        Op::Execute("", 0),
        Op::CloseStatement("a"),
        Op::Sync,
    ]);
    assert_eq!(pair.client(&batch), [Step::NeedServer, Step::Forward(batch.len())]);
    pair.server("1 t T 2 D C 3 ZI");
    assert!(pair.s.is_settled());
}

#[test]
fn replication_streams_both_ways() {
    let mut pair = Pair::new(Settings { mode: Mode::Session, ..settings() }, 0);
    pair.client(&ops(&[Op::Query("START_REPLICATION")]));
    let mut reply = Vec::new();
    backend::copy_both_response(&mut reply, 0);
    backend::copy_data(&mut reply, b"wal");
    pair.feed(SERVER, &reply, Cut::Bytes(2));
    pair.client(&ops(&[Op::Data, Op::Done]));
    assert_eq!(reusable(&pair.s.evidence()), Err(NotReusable::Copying));
    let mut reply = Vec::new();
    backend::copy_done(&mut reply);
    pair.feed(SERVER, &reply, Cut::Whole);
    pair.server("C ZI");
    assert_eq!(pair.broken, None);
    assert!(pair.s.is_settled());
}

#[test]
fn a_violation_says_what_it_is() {
    let error = ProtocolError::UnknownFrontend { tag: b'?' };
    assert_eq!(Violation::from(error).to_string(), error.to_string());
    let mut pair = pair();
    let mut staged = crate::session::Staged::default();
    let mut cx = crate::session::Context {
        settings: &pair.settings,
        statements: &pair.statements,
        staged: &mut staged,
    };
    assert_eq!(link(&mut pair.c, &mut pair.s, &mut cx), crate::session::Linked::Ready);
}
