//! The laws of the HTTP client, against a real server in the test and against servers that lie.

mod cancelling;
mod faults;
mod http2;
mod pooling;
mod raw;
mod redirecting;
mod server;
mod silence;
mod tls;
