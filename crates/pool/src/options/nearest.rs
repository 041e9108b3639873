//! The valid name nearest to a misspelt one.
//!
//! Invariant: a suggestion is at most a third of its letters away, so that nonsense gets none.

/// Returns the candidate nearest to `word`, if one is near enough to have been meant.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // A longer word is no misspelt key, and comparing it would cost time without bound.
    if word.len() > 64 {
        return None;
    }
    let word = word.to_ascii_lowercase();
    candidates
        .map(|candidate| (distance(&word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Counts the letters to insert, remove, replace or swap with a neighbour.
fn distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().collect();
    let to: Vec<char> = to.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (row, letter) in from.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, other) in to.iter().enumerate() {
            let replace = last[column] + usize::from(letter != other);
            let mut best = replace.min(last[column + 1] + 1).min(current[column] + 1);
            if row > 0 && column > 0 && *letter == to[column - 1] && from[row - 1] == *other {
                best = best.min(before_last[column - 1] + 1);
            }
            current.push(best);
        }
        before_last = std::mem::replace(&mut last, current);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 4] = ["pool_mode", "pool_size", "default_pool_size", "host"];

    #[test]
    fn a_misspelt_name_finds_the_one_meant() {
        for (word, meant) in [
            ("pool_mod", Some("pool_mode")),
            ("Pool_Mode", Some("pool_mode")),
            ("pool_szie", Some("pool_size")),
            ("defaultpoolsize", Some("default_pool_size")),
            ("hots", Some("host")),
            ("banana", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, KEYS.into_iter()), meant, "{word}");
        }
    }

    #[test]
    fn distance_counts_edits() {
        for (from, to, edits) in
            [("", "", 0), ("a", "", 1), ("", "ab", 2), ("ab", "ba", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(from, to), edits, "{from} {to}");
        }
    }
}
