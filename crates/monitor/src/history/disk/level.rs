//! The levels of the file: coarser the further back.
//!
//! Invariant: each step divides the next, so that whole points of one level make up those of the
//! next.

/// One level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level {
    /// Seconds that a point stands for.
    pub step: i64,
    /// Seconds for which its points are kept; what the settings say is the most for each.
    pub keep: i64,
    /// Seconds that it keeps as long as a coarser level has something to give, when the file is
    /// full.
    pub floor: i64,
    /// Seconds that are deleted at once when the file is full.
    pub slice: i64,
}

/// A day in seconds.
pub(super) const DAY: i64 = 86_400;

/// From fine to coarse. Minutes last a week, because that is how long people look for what went
/// wrong; ten minutes a season, to compare months; hours as long as the settings say.
pub(super) const LEVELS: [Level; 3] = [
    Level { step: 60, keep: 7 * DAY, floor: DAY, slice: DAY / 4 },
    Level { step: 600, keep: 90 * DAY, floor: 7 * DAY, slice: 2 * DAY },
    Level { step: 3600, keep: i64::MAX, floor: 0, slice: 14 * DAY },
];

impl Level {
    /// Returns the begin of the point that a moment belongs to.
    pub fn begin(self, at: i64) -> i64 {
        begin(at, self.step)
    }
}

/// Returns the begin of the step that a moment belongs to.
pub(super) fn begin(at: i64, step: i64) -> i64 {
    at.saturating_sub(at.rem_euclid(step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_points_make_up_those_of_the_next_level() {
        for pair in LEVELS.windows(2) {
            assert_eq!(pair[1].step % pair[0].step, 0, "{pair:?}");
            assert!(pair[0].keep < pair[1].keep && pair[0].floor < pair[0].keep, "{pair:?}");
        }
        assert_eq!([begin(-1, 60), begin(0, 60), begin(59, 60), begin(60, 60)], [-60, 0, 0, 60]);
        assert!(begin(i64::MIN, 7) <= i64::MIN + 7, "the ends of time do not matter");
    }
}
