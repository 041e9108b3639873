//! Whoever is on call: health under faults, alerts that arrive, numbers that are scraped, the page
//! in a real browser. A real PostgreSQL, the real binary, and Debian's Prometheus, Alertmanager
//! and Chromium.

mod acting;
mod alerting;
mod bouncer;
mod browser;
mod faults;
mod forgetting;
mod page;
mod pushing;
mod remembering;
mod room;
mod scraping;
mod stage;
mod standby;
#[path = "../support/mod.rs"]
mod support;
