//! The relay against a model of PostgreSQL.

mod backend;
mod chunks;
mod laws;
mod mutants;
mod script;
mod world;
