//! Names that both exposition formats accept.
//!
//! Invariant: whatever comes in, a legal and within its set unique name comes out. Names are
//! ours, so the replacing is a last line of defence: a broken name must not break the scrape.
//! Not here: label values, which are escaped by the encoder and never changed but for length.

/// Longest label value in bytes; the rest is cut at a character boundary.
///
/// PostgreSQL's own names end at 63 bytes; a name a client invented must not fill the scrape.
pub(crate) const VALUE_BYTES_MAX: usize = 256;

/// Returns `name` with every character that a metric name may not hold replaced by `_`.
pub(crate) fn metric(name: &str) -> String {
    legal(name, |c| c == ':')
}

/// Returns a legal label name not contained in `taken`.
///
/// Reserved and taken names are prefixed as Prometheus itself does it: `exported_`.
pub(crate) fn label<'a>(name: &str, reserved: &str, taken: impl Fn(&str) -> bool + 'a) -> String {
    let mut name = legal(name, |_| false);
    while name.starts_with("__") || name == reserved || taken(&name) {
        name.insert_str(0, "exported_");
    }
    name
}

/// Returns `value`, cut to its greatest length.
pub(crate) fn value(value: &str) -> &str {
    let mut end = value.len().min(VALUE_BYTES_MAX);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    &value[..end]
}

fn legal(name: &str, also: impl Fn(char) -> bool) -> String {
    let mut legal: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '_' || also(c) { c } else { '_' })
        .collect();
    if !legal.starts_with(|c: char| !c.is_ascii_digit()) {
        legal.insert(0, '_');
    }
    legal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn illegal_names_become_legal() {
        let cases = [
            ("a.b-c", "a_b_c"),
            ("", "_"),
            ("9lives", "_9lives"),
            ("größe", "gr__e"),
            ("ok", "ok"),
        ];
        for (name, legal) in cases {
            assert_eq!(metric(name), legal);
            assert_eq!(label(name, "le", |_| false), legal);
        }
        assert_eq!(metric("a:b"), "a:b");
        assert_eq!(label("a:b", "le", |_| false), "a_b");
    }

    #[test]
    fn reserved_and_taken_names_are_prefixed() {
        assert_eq!(label("le", "le", |_| false), "exported_le");
        assert_eq!(label("__name__", "", |_| false), "exported___name__");
        assert_eq!(label("db", "", |n| n == "db"), "exported_db");
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        assert_eq!(value("short"), "short");
        let long = format!("{}é", "a".repeat(VALUE_BYTES_MAX - 1));
        assert_eq!(value(&long), "a".repeat(VALUE_BYTES_MAX - 1));
    }
}
