//! Alerts: rules, their evaluation, and the way to whoever is to know.
//!
//! Invariant: rules + readings + now → transitions, purely (`evaluate.rs`); what is sent is made
//! of transitions only, so a rule fires once and resolves once however often it is looked at.
//! Not here: where readings come from (`watch.rs`).

mod evaluate;
mod notify;
mod payload;
mod rule;

pub use evaluate::{Active, Evaluator, Phase, Reading, Silence, SilenceError, Transition};
pub use notify::{Delivery, Logger, Routes};
pub(crate) use notify::{Notifier, Occasion, RESEND_SECONDS};
pub use payload::{Notice, alertmanager, signature, webhook};
pub use rule::{Comparison, METRICS, Metric, Rule, Severity, built_in};
