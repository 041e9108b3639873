//! The relay between two logged-in sides.
