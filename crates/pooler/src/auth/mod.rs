//! Who a client is, and how that is proved.

pub mod hba;
pub mod secrets;
mod verify;
