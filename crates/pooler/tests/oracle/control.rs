//! The positive control: an oracle that never objected proves nothing.
//!
//! A fake pooler answers everything with one text; for every way in which a pooler can be wrong
//! the oracle must say so, and it must be content with the right answer.

use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::LocalSet;

use crate::ask::Ask;
use crate::session::{End, Session};
use crate::world::World;

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("short");
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

fn row(columns: &[Option<&str>]) -> Vec<u8> {
    let mut body = u16::try_from(columns.len()).expect("few").to_be_bytes().to_vec();
    for column in columns {
        let length = column.map_or(-1, |text| i32::try_from(text.len()).expect("short"));
        body.extend_from_slice(&length.to_be_bytes());
        body.extend_from_slice(column.unwrap_or("").as_bytes());
    }
    message(b'D', &body)
}

fn right_row() -> Vec<u8> {
    row(&[Some("c7-00001"), Some("1"), Some("c7"), None])
}

fn error(severity: &str, code: &str, text: &str) -> Vec<u8> {
    message(b'E', format!("S{severity}\0C{code}\0M{text}\0\0").as_bytes())
}

/// Asks once and returns what the oracle says to `answer`.
fn judge(answer: &[Vec<u8>]) -> Result<(), End> {
    let answer = answer.concat();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    LocalSet::new().block_on(&runtime.expect("a runtime"), async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let pooler = async {
            let (mut stream, _) = listener.accept().await.expect("the client comes");
            let mut asked = Vec::new();
            stream.read_buf(&mut asked).await.expect("a startup");
            let login = [message(b'R', &[0; 4]), message(b'Z', b"I")].concat();
            stream.write_all(&login).await.expect("the client reads");
            stream.read_buf(&mut asked).await.expect("a query");
            stream.write_all(&answer).await.expect("the client reads");
        };
        let client = async {
            let world = Rc::new(World::new(address, true));
            let mut session = Session::new(world, 1, 7);
            session.arrive().await?;
            let tag = session.tag();
            session.ask(&Ask::simple(&tag, 'I')).await.map(|_| ())
        };
        tokio::join!(pooler, client).1
    })
}

fn is_violation(answer: &[Vec<u8>]) -> bool {
    matches!(judge(answer), Err(End::Violation(_)))
}

#[test]
fn the_oracle_is_content_with_the_right_answer_and_forgives_a_lost_server() {
    let (head, tail, ready) = (message(b'T', &[0, 0]), message(b'C', b"\0"), message(b'Z', b"I"));
    judge(&[head.clone(), right_row(), tail, ready.clone()]).expect("this is the right answer");
    let killed = error("FATAL", "57P01", "terminating connection due to administrator command");
    for lost in [vec![], vec![killed.clone()], vec![head.clone()], vec![head, right_row()]] {
        assert!(matches!(judge(&lost), Err(End::Lost)), "{lost:?}");
    }
    assert!(matches!(judge(&[killed, ready]), Err(End::Lost)));
}

#[test]
fn the_oracle_objects_to_every_wrong_answer() {
    let (head, tail, ready) = (message(b'T', &[0, 0]), message(b'C', b"\0"), message(b'Z', b"I"));
    let with_row = |row: Vec<u8>| vec![head.clone(), row, tail.clone(), ready.clone()];
    let other =
        |tag, name, transaction| with_row(row(&[Some(tag), Some("1"), Some(name), transaction]));
    let cancelled = error("ERROR", "57014", "canceling statement due to user request");
    let wrong = [
        ("another client's tag", other("c8-00001", "c7", None)),
        ("an older tag of its own", other("c7-00000", "c7", None)),
        ("another client's name", other("c7-00001", "c8", None)),
        ("an open transaction", other("c7-00001", "c7", Some("42"))),
        ("a row of another form", with_row(row(&[Some("c7-00001")]))),
        ("no row", vec![head.clone(), tail.clone(), ready.clone()]),
        ("two rows", vec![head.clone(), right_row(), right_row(), tail.clone(), ready.clone()]),
        ("an earlier end", vec![ready.clone(), head.clone(), right_row(), tail.clone()]),
        ("no end of the command", vec![head.clone(), right_row(), ready.clone()]),
        ("a failed status", vec![head.clone(), right_row(), tail.clone(), message(b'Z', b"E")]),
        ("an open status", vec![head.clone(), right_row(), tail.clone(), message(b'Z', b"T")]),
        ("an unknown status", vec![head.clone(), right_row(), tail.clone(), message(b'Z', b"X")]),
        ("another client's parse", vec![message(b'1', b""), ready.clone()]),
        ("another client's copy", vec![message(b'd', b"c8-00001\n"), ready.clone()]),
        ("another client's cancel", vec![cancelled, ready.clone()]),
        ("another client's error", vec![error("ERROR", "P0001", "c8-00001"), ready.clone()]),
        ("a warning", vec![message(b'N', b"SWARNING\0C25001\0M\0\0"), ready.clone()]),
        ("a notification", vec![message(b'A', &[0; 6]), ready.clone()]),
        ("an unknown message", vec![message(b'!', b""), ready.clone()]),
        ("an impossible length", vec![vec![b'D', 0, 0, 0, 3], ready.clone()]),
        ("a torn row", vec![message(b'D', &[0, 1, 0, 0, 0, 9, 1]), ready.clone()]),
    ];
    for (what, answer) in wrong {
        assert!(is_violation(&answer), "{what}: {:?}", judge(&answer));
    }
}
