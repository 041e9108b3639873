//! A receiver of metrics that says again whatever it was told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

/// Starts it. It repeats the head of a request, headers and all: as the words of a partial
/// success, and in turn as those of a refusal.
pub fn parrot() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = BufReader::new(stream.expect("a connection"));
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if stream.read_line(&mut head).unwrap_or(0) == 0 {
                    return;
                }
            }
            let length = head.to_lowercase();
            let length = length.split("content-length: ").nth(1).expect("a length");
            let length = length.lines().next().expect("a line").parse().expect("a number");
            let mut body = vec![0; length];
            stream.read_exact(&mut body).expect("the body");
            // rejected_data_points: 1, error_message: the head, within partial_success.
            let words = field(0x12, head.as_bytes());
            let partial = field(0x0a, &[&[0x08, 0x01], &words[..]].concat());
            let (line, body) = match number % 2 {
                0 => ("200 OK".to_owned(), partial),
                _ => (format!("400 {}", head.replace("\r\n", " ")), head.into_bytes()),
            };
            let head = format!("HTTP/1.1 {line}\r\nContent-Length: {}\r\n\r\n", body.len());
            // The pooler may have ended.
            let _ = stream.get_mut().write_all(&[head.as_bytes(), &body].concat());
        }
    });
    address
}

/// A field of a protobuf message that is shorter than 16 kB.
fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len();
    assert!(length < 1 << 14, "two digits of seven bits");
    [&[tag, (length & 0x7f) as u8 | 0x80, (length >> 7) as u8], bytes].concat()
}
