//! Splits a Rust source into its code and its comments, line by line.
//!
//! Invariant: both results have as many lines as the source; text inside literals is in neither.
//! Not here: tokens. Words and lines are all that the checks ask for.

/// The two halves of a source file.
pub struct Halves {
    /// Code without comments and without what stands inside string and character literals.
    pub code: String,
    /// Comments without their code.
    pub comments: String,
}

/// Where the scan is.
enum At {
    Code,
    Line,
    Block(u32),
    Text,
    Raw(usize),
}

/// Splits a source into code and comments.
pub fn split(source: &str) -> Halves {
    let chars: Vec<char> = source.chars().collect();
    let mut halves = Halves { code: String::new(), comments: String::new() };
    let mut at = At::Code;
    let mut i = 0;
    while i < chars.len() {
        let rest = &chars[i..];
        if rest[0] == '\n' {
            halves.code.push('\n');
            halves.comments.push('\n');
            if matches!(at, At::Line) {
                at = At::Code;
            }
            i += 1;
            continue;
        }
        let (next, width) = step(&at, rest, &mut halves);
        at = next.unwrap_or(at);
        i += width;
    }
    halves
}

/// Looks at the start of `rest` and says what follows and how many characters that took.
fn step(at: &At, rest: &[char], halves: &mut Halves) -> (Option<At>, usize) {
    match at {
        At::Code => match rest {
            ['/', '/', ..] => (Some(At::Line), 2),
            ['/', '*', ..] => (Some(At::Block(1)), 2),
            ['"', ..] => (Some(At::Text), 1),
            ['\'', ..] => (None, character(rest)),
            ['r', ..] if !ends_in_word(&halves.code) => match raw_text(rest) {
                Some(hashes) => (Some(At::Raw(hashes)), hashes + 2),
                None => keep(&mut halves.code, rest),
            },
            _ => keep(&mut halves.code, rest),
        },
        At::Line => keep(&mut halves.comments, rest),
        At::Block(depth) => match rest {
            ['*', '/', ..] if *depth == 1 => (Some(At::Code), 2),
            ['*', '/', ..] => (Some(At::Block(depth - 1)), 2),
            ['/', '*', ..] => (Some(At::Block(depth + 1)), 2),
            _ => keep(&mut halves.comments, rest),
        },
        At::Text => match rest {
            ['\\', '\n', ..] => (None, 1),
            ['\\', _, ..] => (None, 2),
            ['"', ..] => (Some(At::Code), 1),
            _ => (None, 1),
        },
        At::Raw(hashes) => {
            let closing = rest[0] == '"'
                && rest.len() > *hashes
                && rest[1..=*hashes].iter().all(|c| *c == '#');
            if closing { (Some(At::Code), hashes + 1) } else { (None, 1) }
        }
    }
}

fn keep(half: &mut String, rest: &[char]) -> (Option<At>, usize) {
    half.push(rest[0]);
    (None, 1)
}

/// `br"…"` and `cr"…"` are raw too: their first letter is kept as code, which harms nobody.
fn ends_in_word(code: &str) -> bool {
    let mut last = code.chars().rev();
    match last.next() {
        Some('b' | 'c') => last.next().is_some_and(is_word),
        Some(c) => is_word(c),
        None => false,
    }
}

/// Returns the number of hashes if a raw string opens here.
fn raw_text(rest: &[char]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
    (rest.get(1 + hashes) == Some(&'"')).then_some(hashes)
}

/// Returns the width of a character literal, or of the quote of a lifetime.
fn character(rest: &[char]) -> usize {
    match rest {
        ['\'', '\\', escaped, tail @ ..] if *escaped != '\n' => {
            3 + tail.iter().position(|c| *c == '\'').map_or(0, |end| end + 1)
        }
        ['\'', _, '\'', ..] => 3,
        _ => 1,
    }
}

/// Says whether a character belongs to a word.
pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Says whether `word` stands in `line` as a word of its own.
pub fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_neither_code_nor_comment() {
        let source = "let a = \"unsafe // no\"; // why\nlet b = r#\"un\"safe\"#; let c = '\\''; x";
        let halves = split(source);
        assert_eq!(halves.code, "let a = ; \nlet b = ; let c = ; x");
        assert_eq!(halves.comments, " why\n");
    }

    #[test]
    fn block_comments_nest_and_keep_their_lines() {
        let halves = split("a /* b\n /* c */ d */ e");
        assert_eq!(halves.code, "a \n e");
        assert_eq!(halves.comments, " b\n  c  d ");
    }

    #[test]
    fn lifetimes_are_code() {
        assert_eq!(split("fn a<'b>(c: &'b str) {}").code, "fn a<b>(c: &b str) {}");
        assert_eq!(split("br\"x\"; b'\"'; 'y'").code, "b; b; ");
    }

    #[test]
    fn a_word_has_edges() {
        assert!(has_word("pub unsafe fn", "unsafe"));
        assert!(!has_word("unsafe_code", "unsafe"));
    }
}
