//! Pool bookkeeping without I/O: who gets which connection, when to open, check and close.
