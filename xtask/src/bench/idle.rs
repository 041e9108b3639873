//! What a client costs that does nothing: memory of the pooler's process, and CPU.
//!
//! Clients are raw sockets that logged in and ran one query, as a driver's pool holds them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::figures::Sample;
use super::process;
use super::server::NAME;
use super::subject::Pooler;

/// A wait after which every reply has long been read and freed.
const SETTLE: Duration = Duration::from_millis(500);
const WATCH: Duration = Duration::from_secs(5);

/// Measures with 0, 1,000 and 5,000 clients.
pub fn measure(pooler: &Pooler, quick: bool) -> Result<Sample, String> {
    let id = pooler.id().ok_or("a direct connection has no pooler to look at")?;
    let (few, many) = if quick { (200, 1000) } else { (1000, 5000) };
    let look = || process::memory(id).ok_or_else(|| format!("{} ended", pooler.key));
    // One client that came and went: what is made once is made.
    drop(connect(pooler.port)?);
    std::thread::sleep(SETTLE);
    let empty = look()?;
    let mut clients = Vec::new();
    let mut sizes = Vec::new();
    for count in [few, many] {
        while clients.len() < count {
            let number = clients.len();
            clients.push(connect(pooler.port).map_err(|e| format!("client {number}: {e}"))?);
        }
        std::thread::sleep(SETTLE);
        sizes.push(look()?);
    }
    let idle_cpu_ms_per_s = cpu_at_rest(pooler)?;
    let [at_few, at_many] = sizes.as_slice() else { unreachable!("two counts, two sizes") };
    let per_client = |from: u64, to: u64, count: usize| (to as f64 - from as f64) / count as f64;
    Ok(Sample {
        base_kib: empty.resident as f64,
        idle_kib: per_client(empty.resident, at_many.resident, many),
        idle_share_kib: per_client(empty.share, at_many.share, many),
        idle_next_kib: per_client(at_few.resident, at_many.resident, many - few),
        idle_clients: many as f64,
        idle_cpu_ms_per_s,
        ..Sample::default()
    })
}

/// Returns how many milliseconds of CPU a pooler takes in a second while nobody asks it anything.
pub fn cpu_at_rest(pooler: &Pooler) -> Result<f64, String> {
    let id = pooler.id().ok_or("a direct connection has no pooler to look at")?;
    let look = || process::cpu(id).ok_or_else(|| format!("{} ended", pooler.key));
    let before = look()?;
    std::thread::sleep(WATCH);
    Ok(look()?.since(before).total_us() as f64 / 1000.0 / WATCH.as_secs_f64())
}

/// Logs in, runs a query and reads its reply.
fn connect(port: u16) -> Result<TcpStream, String> {
    let exchange = || -> std::io::Result<TcpStream> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let parameters = format!("user\0{NAME}\0database\0{NAME}\0\0");
        let mut startup = Vec::new();
        startup.extend((parameters.len() as u32 + 8).to_be_bytes());
        startup.extend(196_608_u32.to_be_bytes());
        startup.extend(parameters.as_bytes());
        stream.write_all(&startup)?;
        until_ready(&mut stream)?;
        stream.write_all(b"Q\0\0\0\x0dSELECT 1\0")?;
        until_ready(&mut stream)?;
        Ok(stream)
    };
    exchange().map_err(|error| error.to_string())
}

/// Reads whole messages up to ReadyForQuery.
fn until_ready(stream: &mut TcpStream) -> std::io::Result<()> {
    loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head)?;
        let [tag, length @ ..] = head;
        let length = u32::from_be_bytes(length).saturating_sub(4).min(1 << 20);
        let mut body = vec![0; length as usize];
        stream.read_exact(&mut body)?;
        match tag {
            b'Z' => return Ok(()),
            b'E' => {
                let text = String::from_utf8_lossy(&body).replace('\0', " ");
                return Err(std::io::Error::other(text));
            }
            _ => {}
        }
    }
}
