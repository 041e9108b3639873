//! HTTP/1.1 and HTTP/2 clients: a pool of connections for each origin.
//!
//! Requests to one origin (scheme, host and port) share its connections. No more than
//! [`Settings::max_per_origin`] requests are under way there at once; the others wait, first come,
//! first served. Over HTTP/2 they share one connection.
//!
//! ```no_run
//! use headpond::http::Client;
//!
//! # async fn example() -> Result<(), headpond::http::Error> {
//! let client = Client::builder().max_per_origin(20).build()?;
//! let page = client.get("https://example.com/").await?;
//! println!("{}: {} bytes", page.status(), page.bytes().await?.len());
//! # Ok(()) }
//! ```
//!
//! A connection is used again only after its response was read to the end. A request is repeated
//! only if no byte of it was sent, or if it is idempotent, its connection had been used before and
//! closed without a single byte of a response: that is a server that closed an idle connection at
//! the moment at which it was used.
//!
//! A client's origins share nothing with another client's: certificates and settings are part of
//! what a connection is.
mod body;
mod builder;
mod client;
mod connection;
mod directory;
mod error;
mod exchange;
mod lease;
mod manager;
mod origin;
mod redirect;
mod response;
mod settings;
mod socket;
mod status;
mod tls;

pub use body::Body;
pub use builder::Builder;
pub use client::Client;
pub use connection::Connection;
pub use error::{AddressError, DialError, Error, TimeoutPhase, TlsError};
pub use hyper::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header,
};
pub use manager::Dialer;
pub use origin::{Origin, Scheme};
pub use response::{Response, Streaming};
pub use settings::{Settings, Versions};
pub use status::{OriginStatus, Totals};
