//! The PostgreSQL protocol, both directions, without I/O: bytes in, decisions out.
