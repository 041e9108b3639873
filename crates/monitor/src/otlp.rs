//! Pushing metrics to a receiver of OTLP over HTTP, as OpenTelemetry's collectors are.
//!
//! [`Monitor::push_to`](crate::Monitor::push_to) begins; [`Settings`] say where to, and
//! [`Settings::from_variables`] reads them from the variables that everybody knows.
//!
//! Invariant: nothing is sent that nobody asked for; what is sent as a header is never shown; one
//! request is under way at most, and nothing waits in a line: whatever is tried again is tried with
//! the numbers of that moment.
//! Not here: gRPC, OTLP as JSON, compression, and traces or logs, of which there are none.

mod message;
mod name;
mod outcome;
mod push;
mod settings;
mod tally;
mod translate;
mod variables;

pub use settings::{Listener, Settings, SettingsError, pairs};
pub use variables::{Said, VARIABLES, standard};

pub(crate) use tally::Tally;
