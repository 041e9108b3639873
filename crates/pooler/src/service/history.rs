//! The history on disk: where the configuration puts it.
//!
//! Invariant: a file that cannot be used is an error of the configuration before anybody is served;
//! later it is a line of the log.
//! Not here: what is written (`headpond_monitor::history::disk`).

use std::sync::Arc;

use headpond_monitor::history::{Store, disk};

use super::StartError;
use crate::config::{Config, Section};
use crate::log::{Level, Log};

/// Opens the history on disk, if there shall be one.
pub(super) fn open(config: &Config, log: &Log) -> Result<Option<Store>, StartError> {
    let history = &config.history;
    let Some(path) = &history.file else { return Ok(None) };
    let log = log.clone();
    let settings = disk::Settings {
        keep: history.file_keep,
        size_max: history.file_size_max,
        pools_max: history.pools_max as usize,
        warn: Some(Arc::new(move |text: &str| log.line(Level::Warning, text))),
        ..disk::Settings::new(path.clone())
    };
    let opened = disk::open(settings).map(Some);
    opened.map_err(|error| StartError::File(of_history(config, &error)))
}

/// Looks whether the history on disk has a place, and opens nothing.
///
/// # Errors
/// The folder does not exist, or something else lies there.
pub fn check(config: &Config) -> Result<(), String> {
    let Some(path) = &config.history.file else { return Ok(()) };
    disk::check(path).map_err(|error| of_history(config, &error))
}

/// Says where the file was named and what is wrong with it.
fn of_history(config: &Config, error: &disk::OpenError) -> String {
    let place = config.origin(Section::History, "", "file");
    format!("{place}: history.file: {error}")
}
