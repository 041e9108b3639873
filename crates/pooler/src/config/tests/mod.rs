//! Laws of the configuration as a whole.

use super::*;

/// Reads `text` as a file of this name, with nothing else on the disk.
fn load_text(name: &str, text: &str) -> Result<Loaded, ConfigErrors> {
    load_files(name, &[(name, text)], &Env::empty())
}

/// Reads the file `name`; the disk holds `files` only.
fn load_files(name: &str, files: &[(&str, &str)], env: &Env) -> Result<Loaded, ConfigErrors> {
    let read = |path: &Path| {
        let found = files.iter().find(|(name, _)| Path::new(name) == path);
        let text = found.ok_or(std::io::ErrorKind::NotFound)?.1;
        Ok(text.as_bytes().to_vec())
    };
    load_with(&Source::File(PathBuf::from(name)), env, &read)
}

fn ini(text: &str) -> Config {
    match load_text("p.ini", text) {
        Ok(loaded) => loaded.config,
        Err(errors) => panic!("{errors}"),
    }
}

fn ini_errors(text: &str) -> Vec<String> {
    errors_of(load_text("p.ini", text))
}

fn errors_of(loaded: Result<Loaded, ConfigErrors>) -> Vec<String> {
    let errors = loaded.expect_err("the configuration is wrong");
    errors.iter().map(ConfigError::to_string).collect()
}

mod files;
mod otlp;
mod sections;
mod table;
