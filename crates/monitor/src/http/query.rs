//! The part of an address behind the question mark.
//!
//! Invariant: what cannot be read is as if it were not there.

/// Returns the value of a key, decoded; the first one if there are several.
pub(super) fn value(query: Option<&str>, key: &str) -> Option<String> {
    query?.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name == key).then(|| decode(value))
    })
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let escaped = digits.filter(|_| *first == b'%').and_then(|two| {
            // `+1` is a number to Rust, and no escape to anybody.
            let is_hex = two.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_hex.then(|| u8::from_str_radix(two, 16).ok()).flatten()
        });
        rest = if let Some(byte) = escaped {
            bytes.push(byte);
            tail.get(2..).unwrap_or_default()
        } else {
            bytes.push(if *first == b'+' { b' ' } else { *first });
            tail
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_the_first_one_counts() {
        let query = Some("pool=shop%2Fweb&q=a+b%zz%&pool=x&flag");
        assert_eq!(value(query, "pool").as_deref(), Some("shop/web"));
        assert_eq!(value(query, "q").as_deref(), Some("a b%zz%"));
        assert_eq!(value(query, "flag").as_deref(), Some(""));
        assert_eq!(value(query, "range"), None);
        assert_eq!(value(None, "range"), None);
    }
}
