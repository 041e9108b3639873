//! Loads with a name.
//!
//! Invariant: a preset is settings and nothing else; whatever is said beside it wins.

use std::time::Duration;

use serde::Deserialize;

use crate::error::Error;

/// The presets, as the files beside this crate have them.
const ALL: [(&str, &str); 5] = [
    ("light", include_str!("../preset/light.toml")),
    ("medium", include_str!("../preset/medium.toml")),
    ("heavy", include_str!("../preset/heavy.toml")),
    ("stress", include_str!("../preset/stress.toml")),
    ("soak", include_str!("../preset/soak.toml")),
];

/// A load with a name.
#[derive(Clone, PartialEq, Debug)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// Clients of each step; a preset of several steps is several runs.
    pub clients: Vec<u32>,
    /// How long each step is measured.
    pub duration: Duration,
    /// Requests per second; none for a closed loop.
    pub rate: Option<f64>,
    /// The share of requests that write.
    pub write: f64,
    /// What it is for.
    pub purpose: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    purpose: String,
    clients: Vec<u32>,
    duration: String,
    rate: Option<f64>,
    write: f64,
}

/// Returns the presets that a name stands for: `all` is light, medium and heavy.
///
/// # Errors
/// An unknown name.
pub fn named(name: &str) -> Result<Vec<Preset>, Error> {
    let wanted: &[&str] = if name == "all" { &["light", "medium", "heavy"] } else { &[name] };
    let found: Vec<_> = ALL.into_iter().filter(|(name, _)| wanted.contains(name)).collect();
    if found.is_empty() {
        let known = "light, medium, heavy, all, stress and soak are known";
        return Err(Error::usage(format!("preset {name:?}"), known));
    }
    Ok(found.into_iter().map(|(name, text)| read(name, text)).collect())
}

fn read(name: &'static str, text: &str) -> Preset {
    let File { purpose, clients, duration, rate, write } =
        toml::from_str(text).expect("a file of ours: a test reads each");
    let duration = crate::duration::parse(&duration).expect("a file of ours: a test reads each");
    Preset { name, clients, duration, rate, write, purpose }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_read_and_all_stands_for_three() {
        for (name, _) in ALL {
            let preset = named(name).expect(name).remove(0);
            assert!(
                preset.name == name && !preset.clients.is_empty() && !preset.purpose.is_empty()
            );
        }
        let names: Vec<_> = named("all").expect("known").iter().map(|p| p.name).collect();
        assert_eq!(names, ["light", "medium", "heavy"]);
        assert!(named("huge").is_err());
    }
}
