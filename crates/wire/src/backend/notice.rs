//! ErrorResponse and NoticeResponse: a list of fields, each with a one-byte code.
//!
//! Invariant: reading one never fails and never keeps more than a few kilobytes of it: a server
//! that sends nonsense here has at least tried to say that something is wrong.
//! Not here: the fields that a pooler neither shows nor acts upon (file, line, position, …);
//! messages that pass through keep them, because they are not rebuilt.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::cursor::Cursor;
use crate::encode;
use crate::error::{ProtocolError, Severity};
use crate::sqlstate::SqlState;
use crate::tag::BackendTag;

/// The most bytes kept of one text field.
const TEXT_MAX: usize = 2048;

/// An error or notice of ours, to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notice<'a> {
    /// How bad it is.
    pub severity: Severity,
    /// What kind of thing it is.
    pub code: SqlState,
    /// The words.
    pub message: &'a [u8],
    /// More words, if any.
    pub detail: Option<&'a [u8]>,
    /// What to do about it, if known.
    pub hint: Option<&'a [u8]>,
}

impl<'a> Notice<'a> {
    /// Makes a notice of any severity, without detail and hint.
    pub fn new<T: AsRef<[u8]> + ?Sized>(
        severity: Severity,
        code: SqlState,
        message: &'a T,
    ) -> Self {
        Self { severity, code, message: message.as_ref(), detail: None, hint: None }
    }

    /// Makes an error after which the session ends.
    pub fn fatal<T: AsRef<[u8]> + ?Sized>(code: SqlState, message: &'a T) -> Self {
        Self::new(Severity::Fatal, code, message)
    }

    /// Makes an error after which the session goes on.
    pub fn error<T: AsRef<[u8]> + ?Sized>(code: SqlState, message: &'a T) -> Self {
        Self::new(Severity::Error, code, message)
    }

    /// Adds a detail.
    #[must_use]
    pub fn with_detail<T: AsRef<[u8]> + ?Sized>(self, detail: &'a T) -> Self {
        Self { detail: Some(detail.as_ref()), ..self }
    }

    /// Adds a hint.
    #[must_use]
    pub fn with_hint<T: AsRef<[u8]> + ?Sized>(self, hint: &'a T) -> Self {
        Self { hint: Some(hint.as_ref()), ..self }
    }
}

/// Appends an ErrorResponse.
pub fn error_response(out: &mut Vec<u8>, notice: &Notice<'_>) {
    encode::message(out, BackendTag::ErrorResponse.byte(), |out| fields(out, notice));
}

/// Appends a NoticeResponse.
pub fn notice_response(out: &mut Vec<u8>, notice: &Notice<'_>) {
    encode::message(out, BackendTag::NoticeResponse.byte(), |out| fields(out, notice));
}

fn fields(out: &mut Vec<u8>, notice: &Notice<'_>) {
    let mut field = |code: u8, text: &[u8]| {
        out.push(code);
        encode::cstr(out, text);
    };
    field(b'S', notice.severity.as_str().as_bytes());
    field(b'V', notice.severity.as_str().as_bytes());
    field(b'C', &notice.code.bytes());
    field(b'M', notice.message);
    if let Some(detail) = notice.detail {
        field(b'D', detail);
    }
    if let Some(hint) = notice.hint {
        field(b'H', hint);
    }
    out.push(0);
}

/// What a server said in an ErrorResponse or NoticeResponse, kept for later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorFields {
    /// How bad it is; Error if it does not say.
    pub severity: Severity,
    /// The SQLSTATE; XX000 if it does not say.
    pub code: [u8; 5],
    /// The words, in whatever encoding the server uses.
    pub message: Vec<u8>,
    /// More words; empty if none.
    pub detail: Vec<u8>,
    /// What to do about it; empty if nothing was said.
    pub hint: Vec<u8>,
}

impl ErrorFields {
    /// Reads a body, taking what can be understood: the first of repeated fields, unknown fields
    /// skipped, texts cut to a bound, a missing end accepted.
    #[must_use]
    pub fn parse(body: &[u8]) -> Self {
        let mut cursor = Cursor::new(body);
        let (mut severity, mut translated, mut code) = (None, None, None);
        let (mut message, mut detail, mut hint) = (None, None, None);
        while let Ok(kind) = cursor.u8() {
            if kind == 0 {
                break;
            }
            // Without its terminator the last field is still worth showing.
            let text = match cursor.cstr() {
                Ok(text) => text,
                Err(_) => cursor.rest(),
            };
            match kind {
                b'V' => severity = severity.or(Severity::from_bytes(text)),
                b'S' => translated = translated.or(Severity::from_bytes(text)),
                b'C' => code = code.or(SqlState::from_bytes(text)),
                b'M' => message = message.or(Some(text)),
                b'D' => detail = detail.or(Some(text)),
                b'H' => hint = hint.or(Some(text)),
                _ => {}
            }
        }
        Self {
            severity: severity.or(translated).unwrap_or(Severity::Error),
            code: code.unwrap_or(SqlState::INTERNAL_ERROR).bytes(),
            message: cut(message),
            detail: cut(detail),
            hint: cut(hint),
        }
    }

    /// Makes the fields of a notice of ours, to be treated as if a server had said it.
    #[must_use]
    pub fn from_notice(notice: &Notice<'_>) -> Self {
        Self {
            severity: notice.severity,
            code: notice.code.bytes(),
            message: cut(Some(notice.message)),
            detail: cut(notice.detail),
            hint: cut(notice.hint),
        }
    }

    /// Returns the SQLSTATE.
    #[must_use]
    pub fn sqlstate(&self) -> SqlState {
        SqlState::from_bytes(&self.code).unwrap_or(SqlState::INTERNAL_ERROR)
    }

    /// Returns the words as text, with a mark for what is not UTF-8.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.message)
    }

    /// Returns the fields as a notice that can be written again.
    #[must_use]
    pub fn as_notice(&self) -> Notice<'_> {
        let some = |text: &'_ Vec<u8>| !text.is_empty();
        Notice {
            severity: self.severity,
            code: self.sqlstate(),
            message: &self.message,
            detail: some(&self.detail).then_some(&self.detail),
            hint: some(&self.hint).then_some(&self.hint),
        }
    }

    /// Appends an ErrorResponse that says the same.
    pub fn to_error_response(&self, out: &mut Vec<u8>) {
        error_response(out, &self.as_notice());
    }
}

impl fmt::Display for ErrorFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.severity.as_str(), self.text(), self.sqlstate())
    }
}

impl From<&ProtocolError> for ErrorFields {
    fn from(error: &ProtocolError) -> Self {
        let text = alloc::string::ToString::to_string(error);
        Self::from_notice(&Notice::new(error.severity(), error.sqlstate(), &text))
    }
}

/// Copies a text up to the bound, without leaving half a UTF-8 character at its end.
fn cut(text: Option<&[u8]>) -> Vec<u8> {
    let text = text.unwrap_or_default();
    let Some(kept) = text.get(..TEXT_MAX) else {
        return text.to_vec();
    };
    let continues = |byte: Option<&u8>| byte.is_some_and(|byte| byte & 0xc0 == 0x80);
    let mut kept = kept;
    let mut next = text.get(TEXT_MAX);
    for _ in 0..3 {
        if !continues(next) {
            break;
        }
        next = kept.last();
        kept = kept.split_last().map_or(kept, |(_, head)| head);
    }
    kept.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(notice: &Notice<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        error_response(&mut out, notice);
        out.split_off(5)
    }

    #[test]
    fn what_is_written_is_read_back() {
        let notice = Notice::fatal(SqlState::TOO_MANY_CONNECTIONS, "full")
            .with_detail("100 of 100")
            .with_hint("wait");
        let fields = ErrorFields::parse(&body(&notice));
        assert_eq!(fields.as_notice(), notice);
    }

    #[test]
    fn every_subset_of_fields_is_readable_and_a_missing_code_is_xx000() {
        let all = [&b"SERROR\0"[..], b"VERROR\0", b"C08006\0", b"Mm\0", b"Dd\0", b"zz\0"];
        for subset in 0..64u32 {
            let mut body = Vec::new();
            for (n, field) in all.iter().enumerate() {
                if subset >> n & 1 == 1 {
                    body.extend_from_slice(field);
                }
            }
            let code = if subset & 4 == 0 { *b"XX000" } else { *b"08006" };
            for end in [&b"\0"[..], b""] {
                let fields = ErrorFields::parse(&[&body[..], end].concat());
                assert_eq!(fields.code, code);
                assert_eq!(fields.severity, Severity::Error);
            }
        }
    }

    #[test]
    fn the_first_of_repeated_fields_counts_and_an_unterminated_one_is_kept() {
        let fields = ErrorFields::parse(b"Ma\0Mb\0Hhelp");
        assert_eq!((&fields.message[..], &fields.hint[..]), (&b"a"[..], &b"help"[..]));
    }

    #[test]
    fn texts_are_bounded_and_not_cut_inside_a_character() {
        let long = "a".repeat(TEXT_MAX - 1) + "üü";
        let fields = ErrorFields::parse(&body(&Notice::fatal(SqlState::INTERNAL_ERROR, &long)));
        assert_eq!(fields.message, "a".repeat(TEXT_MAX - 1).as_bytes());
        let bytes = [0x80; TEXT_MAX + 9];
        let fields = ErrorFields::parse(&body(&Notice::fatal(SqlState::INTERNAL_ERROR, &bytes)));
        assert!(fields.message.len() <= TEXT_MAX);
    }
}
