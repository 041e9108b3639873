//! Entry points for the fuzzers: any bytes are a configuration or an error, never a panic.

use std::path::Path;

use super::assemble::Assembly;

/// Reads the bytes as pgbouncer.ini; every include finds the same bytes again.
pub fn ini(bytes: &[u8]) {
    let mut assembly = Assembly::new(Some("home"));
    super::ini::read(Path::new("fuzz.ini"), &|_| Ok(bytes.to_vec()), &mut assembly);
    end(assembly);
}

/// Reads the bytes as headpond.toml.
pub fn toml(bytes: &[u8]) {
    let mut assembly = Assembly::new(Some("home"));
    super::toml::read(Path::new("fuzz.toml"), &|_| Ok(bytes.to_vec()), &mut assembly);
    end(assembly);
}

fn end(assembly: Assembly) {
    match assembly.finish() {
        Ok(loaded) => {
            for row in loaded.config.rows() {
                assert!(!row.key.is_empty());
            }
        }
        Err(errors) => assert!(!errors.to_string().is_empty()),
    }
}
