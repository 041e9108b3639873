//! The relay against a model of PostgreSQL.

mod backend;
mod cases;
mod chunks;
mod laws;
mod mutants;
mod pair;
mod script;
mod world;
