//! What a family is called in OTLP, and in which unit it is.
//!
//! Prometheus writes type and unit into a name (`…_bytes_total`); OTLP has fields for both. They
//! are taken off here, so that whoever writes the metrics for Prometheus again, as collectors do,
//! comes to the name that a scrape would have had.
//!
//! Invariant: two families never get one name: where two would, both keep theirs.
//! Not here: labels whose names differ (`headpond_stats::convention`).

use headpond_stats::{Family, Kind, Snapshot, convention};

/// Suffix of a name, and the unit it says.
const UNITS: [(&str, &str); 3] = [("_seconds", "s"), ("_bytes", "By"), ("_ratio", "1")];

/// What stands in place of a family's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub name: String,
    pub unit: &'static str,
}

/// Names a family of a snapshot.
pub fn of(family: &Family, snapshot: &Snapshot) -> Named {
    if let Some(known) = convention::metric(family.name()) {
        return Named { name: known.name.to_owned(), unit: known.unit };
    }
    if family.kind() == Kind::Info {
        return Named { name: format!("{}_info", family.name()), unit: "" };
    }
    let unit_of = |(suffix, unit): &(&str, &'static str)| {
        family.name().strip_suffix(suffix).map(|bare| (bare, *unit))
    };
    match UNITS.iter().find_map(unit_of) {
        // Only a gauge gets `_ratio` for the unit 1.
        Some((_, unit @ "1")) if family.kind() != Kind::Gauge => full(family, unit),
        Some((bare, unit)) if is_free(bare, family, snapshot) => {
            Named { name: bare.to_owned(), unit }
        }
        Some((_, unit)) => full(family, unit),
        None => full(family, ""),
    }
}

fn full(family: &Family, unit: &'static str) -> Named {
    Named { name: family.name().to_owned(), unit }
}

/// Returns whether no other family is called so, with or without a unit.
fn is_free(bare: &str, family: &Family, snapshot: &Snapshot) -> bool {
    let spellings = UNITS.iter().map(|(suffix, _)| *suffix).chain([""]);
    let is_other = |name: String| name != family.name() && snapshot.find(&name).is_some();
    !bare.is_empty() && !spellings.map(|suffix| format!("{bare}{suffix}")).any(is_other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(snapshot: &Snapshot) -> Vec<(String, &'static str)> {
        let named = snapshot.families().iter().map(|family| of(family, snapshot));
        named.map(|named| (named.name, named.unit)).collect()
    }

    #[test]
    fn type_and_unit_are_fields_and_not_part_of_a_name() {
        let mut snapshot = Snapshot::new();
        snapshot.counter("received_bytes_total", "");
        snapshot.counter("queries_total", "");
        snapshot.gauge("memory_bytes", "");
        snapshot.gauge("busy_ratio", "");
        snapshot.counter("odd_ratio_total", "");
        snapshot.histogram("query_seconds", "");
        snapshot.info("build_info", "");
        snapshot.gauge("seconds", "");
        snapshot.gauge("_seconds", "");
        snapshot.gauge("db_client_connection_count", "");
        snapshot.counter("db_client_connection_timeouts_total", "");
        let expected = [
            ("received", "By"),
            ("queries", ""),
            ("memory", "By"),
            ("busy", "1"),
            ("odd_ratio", "1"),
            ("query", "s"),
            ("build_info", ""),
            ("seconds", ""),
            ("_seconds", "s"),
            ("db.client.connection.count", "{connection}"),
            ("db.client.connection.timeouts", "{timeout}"),
        ];
        assert_eq!(names(&snapshot), expected.map(|(name, unit)| (name.to_owned(), unit)));
    }

    #[test]
    fn names_that_would_meet_stay_apart() {
        let mut snapshot = Snapshot::new();
        for name in ["wait", "wait_seconds", "disk_bytes", "disk_seconds", "disk_ratio"] {
            snapshot.gauge(name, "");
        }
        let expected = ["wait", "wait_seconds", "disk_bytes", "disk_seconds", "disk_ratio"];
        let told: Vec<String> = names(&snapshot).into_iter().map(|(name, _)| name).collect();
        assert_eq!(told, expected);
    }
}
