//! A console of a PgBouncer that is none: it lets everybody in and then answers as badly as it
//! can.
//!
//! Not here: a real one (`pooler.rs`).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// How it answers a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// With bytes that are no message, at the login already.
    Garbage,
    /// With a message that claims to have two gigabytes, and with as much of it as fits.
    HugeMessage,
    /// With rows that never end.
    EndlessRows,
    /// With rows that have fewer values than there are columns.
    ShortRows,
    /// With a table that lacks what matters.
    MissingColumns,
    /// With parameters that never end, at the login already.
    EndlessLogin,
    /// Not at all.
    Silence,
    /// By closing.
    HangUp,
}

impl Manner {
    pub const ALL: [Self; 8] = [
        Self::Garbage,
        Self::HugeMessage,
        Self::EndlessRows,
        Self::ShortRows,
        Self::MissingColumns,
        Self::EndlessLogin,
        Self::Silence,
        Self::HangUp,
    ];
}

/// Listens on a port of its own until the test's process ends.
pub fn start(manner: Manner) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // It ends when the other side has closed.
            thread::spawn(move || drop(serve(stream, manner)));
        }
    });
    address
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("short");
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

fn columns(names: &[&str]) -> Vec<u8> {
    let mut body = u16::try_from(names.len()).expect("few").to_be_bytes().to_vec();
    for name in names {
        body.extend_from_slice(name.as_bytes());
        // The terminator, no table, no attribute, text, its size, no modifier, text format.
        body.extend_from_slice(&[
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 25, 255, 255, 255, 255, 255, 255, 0, 0,
        ]);
    }
    message(b'T', &body)
}

fn row(values: &[&str]) -> Vec<u8> {
    let mut body = u16::try_from(values.len()).expect("few").to_be_bytes().to_vec();
    for value in values {
        body.extend_from_slice(&u32::try_from(value.len()).expect("short").to_be_bytes());
        body.extend_from_slice(value.as_bytes());
    }
    message(b'D', &body)
}

fn serve(mut stream: TcpStream, manner: Manner) -> std::io::Result<()> {
    let mut room = [0; 4096];
    // An SSLRequest, then the startup packet; or the startup packet at once.
    let mut count = stream.read(&mut room)?;
    if room[..count].starts_with(&[0, 0, 0, 8]) {
        stream.write_all(b"N")?;
        count = stream.read(&mut room)?;
    }
    assert!(count > 0, "somebody logs in");
    if manner == Manner::Garbage {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")?;
        return wait(stream);
    }
    stream.write_all(&message(b'R', &[0; 4]))?;
    if manner == Manner::EndlessLogin {
        for number in 0u64.. {
            let body = format!("name_{number}\0{}\0", "x".repeat(1000));
            stream.write_all(&message(b'S', body.as_bytes()))?;
        }
    }
    stream.write_all(&message(b'Z', b"I"))?;
    while stream.read(&mut room)? > 0 {
        match manner {
            Manner::HugeMessage => {
                stream.write_all(&[b'D', 0x7f, 0xff, 0xff, 0xff])?;
                loop {
                    stream.write_all(&[b'x'; 65536])?;
                }
            }
            Manner::EndlessRows => {
                stream.write_all(&columns(&["database", "user"]))?;
                let row = row(&["shop", "web"]).repeat(1000);
                loop {
                    stream.write_all(&row)?;
                }
            }
            Manner::ShortRows => {
                stream.write_all(&columns(&["database", "user", "cl_active"]))?;
                stream.write_all(&row(&["shop"]))?;
                stream.write_all(&message(b'Z', b"I"))?;
            }
            Manner::MissingColumns => {
                stream.write_all(&columns(&["database", "user"]))?;
                stream.write_all(&row(&["shop", "\u{1b}[2J"]))?;
                stream.write_all(&message(b'Z', b"I"))?;
            }
            Manner::HangUp => return Ok(()),
            Manner::Silence | Manner::Garbage | Manner::EndlessLogin => return wait(stream),
        }
    }
    Ok(())
}

/// Says nothing more until the other side has closed.
fn wait(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut room = [0; 4096];
    while stream.read(&mut room)? > 0 {}
    Ok(())
}
