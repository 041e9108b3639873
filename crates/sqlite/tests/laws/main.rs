//! The laws of databases of SQLite's, on real files, with other connections in the way.

mod bench;
mod cancelling;
mod crash;
mod leaving;
mod opening;
mod reading;
mod writing;
