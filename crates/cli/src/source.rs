//! Where the configuration comes from: a file, a URL, or nothing but the environment.
//!
//! Invariant: a URL on the command line and one in `HEADPOND_URL` mean the same; the second keeps a
//! password out of the list of processes.
//! Not here: reading it.

use headpond_pooler::config::{Source, url};

/// The argument that names it.
#[derive(clap::Args, Debug, Clone)]
pub struct Argument {
    /// pgbouncer.ini, headpond.toml, or postgres://user@host/database [default: $HEADPOND_URL]
    #[arg(value_name = "FILE|URL", env = "HEADPOND_CONFIG")]
    source: Option<String>,
}

impl Argument {
    /// What was named, if anything.
    pub fn named(&self) -> Option<&str> {
        self.source.as_deref().filter(|source| !source.is_empty())
    }

    /// Returns the source for the pooler.
    pub fn source(&self) -> Source {
        let url = || std::env::var("HEADPOND_URL").ok().filter(|url| !url.is_empty());
        match self.named().map(str::to_owned).or_else(url) {
            Some(text) if url::is_url(&text) => Source::Url(text),
            Some(path) => Source::File(path.into()),
            None => Source::Default,
        }
    }
}
