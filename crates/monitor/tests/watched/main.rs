//! Laws of a monitor over a source whose numbers the test decides, asked over real sockets.

mod acting;
mod answering;
mod delivering;
mod fake;
#[cfg(feature = "otlp")]
mod pushing;
#[cfg(feature = "disk")]
mod remembering;

use fake::Server;
