//! Health, exporter and HTTP endpoint over a snapshot of named numbers.
