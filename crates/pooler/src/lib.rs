//! The daemon: workers that join PostgreSQL clients and servers.
