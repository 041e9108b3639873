//! Names, counters, histograms, and the snapshot they are read through.
