// SPDX-License-Identifier: GPL-2.0

//! SIP over UDP: all packets with the same Call-ID go to one dest.
//!
//! C version: [net/netfilter/ipvs/ip_vs_pe_sip.c], `ct_sip_get_header()`
//! [net/netfilter/nf_conntrack_sip.c]. As in C, the Call-ID is found in any line but the first,
//! also in the body, and in messages that are not valid otherwise (RFC 3261, sections 7.3 and
//! 20.8).

use super::{
    PersistenceEngine,
    MAX_LEN, //
};
use crate::uapi::IPPROTO_UDP;

/// SIP as a [`PersistenceEngine`].
pub(crate) struct Sip;

impl PersistenceEngine for Sip {
    const NAME: &'static str = "sip";
    const PROTOCOL: u8 = IPPROTO_UDP;
    const STARTS_FROM_DEST: bool = true;

    fn data(payload: &[u8]) -> Option<&[u8]> {
        call_id(payload)
    }
}

/// The header's name, and its compact form.
const NAME: &[u8] = b"Call-Id";
const COMPACT: u8 = b'i';

/// The first header, from an offset on.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// It begins at this offset and has a value of this length.
    Value(usize, usize),
    /// It begins at this offset and has no valid value.
    Invalid(usize),
    /// There is none, or one without a colon.
    Nothing,
}

/// The value of the first Call-ID header with a valid value (C: `get_callid()`).
fn call_id(message: &[u8]) -> Option<&[u8]> {
    let mut from = 0usize;
    let (start, len) = loop {
        match header(message, from) {
            Found::Value(start, len) => break (start, len),
            // As in C: the offset is counted from the start of the message.
            Found::Invalid(start) => from = from.saturating_add(start),
            Found::Nothing => return None,
        }
    };
    let (value, rest) = message.get(start..)?.split_at_checked(len)?;
    let is_ended = rest.first().is_some_and(|byte| is_newline(*byte));
    (len <= MAX_LEN && is_ended).then_some(value)
}

/// Searches the header in the lines that begin after the offset `from`
/// (C: `ct_sip_get_header()`).
fn header(message: &[u8], from: usize) -> Found {
    let mut at = from;
    while let Some(&byte) = message.get(at) {
        at = at.wrapping_add(1);
        if !is_newline(byte) {
            continue;
        }
        if byte == b'\r' && message.get(at) == Some(&b'\n') {
            at = at.wrapping_add(1);
        }
        let Some(line) = message.get(at..).filter(|line| !line.is_empty()) else {
            break;
        };
        let Some(name) = name_len(line) else {
            // As in C, the first byte of the line does not end another one.
            at = at.wrapping_add(1);
            continue;
        };
        let Some(value) = value_at(message, at.wrapping_add(name)) else {
            break;
        };
        return match value_len(message.get(value..).unwrap_or_default()) {
            0 => Found::Invalid(value),
            len => Found::Value(value, len),
        };
    }
    Found::Nothing
}

/// The length of the header's name at the start of a line. A compact name must not be followed by a
/// letter.
fn name_len(line: &[u8]) -> Option<usize> {
    let is_name = |name: &[u8]| {
        let start = line.get(..name.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(name))
    };
    if is_name(NAME) {
        return Some(NAME.len());
    }
    let is_alone = line.get(1).is_some_and(|next| !is_alpha(*next));
    (is_name(&[COMPACT]) && is_alone).then_some(1)
}

/// The offset of the value that follows a name which ends at the offset `at`.
fn value_at(message: &[u8], at: usize) -> Option<usize> {
    let colon = skip_whitespace(message, at)?;
    if message.get(colon) != Some(&b':') {
        return None;
    }
    skip_whitespace(message, colon.wrapping_add(1))
}

/// The offset of the first byte from `at` on that is no space, tab or continuation of the line.
/// `None` if the line or the message ends before (C: `sip_skip_whitespace()`).
fn skip_whitespace(message: &[u8], at: usize) -> Option<usize> {
    let at = skip_blanks(message, at);
    let byte = *message.get(at)?;
    if !is_newline(byte) {
        return Some(at);
    }
    let mut next = at.wrapping_add(1);
    if byte == b'\r' && message.get(next) == Some(&b'\n') {
        next = next.wrapping_add(1);
    }
    let is_continued = is_blank(*message.get(next)?);
    let next = skip_blanks(message, next);
    (is_continued && next < message.len()).then_some(next)
}

fn skip_blanks(message: &[u8], at: usize) -> usize {
    let rest = message.get(at..).unwrap_or_default();
    at.wrapping_add(rest.iter().take_while(|byte| is_blank(**byte)).count())
}

/// The length of a Call-ID: a word, or two with "@" between them (C: `callid_len()`).
fn value_len(text: &[u8]) -> usize {
    let first = word_len(text);
    let rest = text.get(first..).unwrap_or_default();
    match rest.split_first() {
        Some((b'@', host)) if first != 0 => match word_len(host) {
            0 => 0,
            second => first.wrapping_add(1).wrapping_add(second),
        },
        _ => first,
    }
}

fn word_len(text: &[u8]) -> usize {
    text.iter().take_while(|byte| is_word(**byte)).count()
}

/// Whether the byte may be in a word (C: `iswordc()`; RFC 3261, section 25.1).
fn is_word(byte: u8) -> bool {
    is_alpha(byte) || byte.is_ascii_digit() || b"-.!%*_+`'~()<>:\\\"/[]?{}".contains(&byte)
}

/// Whether the byte is a letter in Latin-1, as the kernel's `isalpha()` has it.
fn is_alpha(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || (byte >= 0xc0 && byte != 0xd7 && byte != 0xf7)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn is_newline(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &[u8], want: Option<&[u8]>) {
        assert_eq!(call_id(message), want, "{}", message.escape_ascii());
    }

    #[test]
    fn calls_of_real_messages() {
        let invite = b"INVITE sip:bob@biloxi.example.com SIP/2.0\r\n\
            Via: SIP/2.0/UDP pc33.atlanta.example.com;branch=z9hG4bK776asdhds\r\n\
            Max-Forwards: 70\r\nTo: Bob <sip:bob@biloxi.example.com>\r\n\
            Call-ID: a84b4c76e66710@pc33.atlanta.example.com\r\nCSeq: 314159 INVITE\r\n\r\n";
        check(invite, Some(b"a84b4c76e66710@pc33.atlanta.example.com"));
        check(
            b"SIP/2.0 200 OK\r\ni:f81d4fae-7dec-11d0-a765-00a0c91e6bf6@192.0.2.4\r\n\r\n",
            Some(b"f81d4fae-7dec-11d0-a765-00a0c91e6bf6@192.0.2.4"),
        );
    }

    #[test]
    fn names_spaces_and_ends() {
        let cases: [(&[u8], Option<&[u8]>); 30] = [
            (b"x\nCall-ID: a\n", Some(b"a")),
            (b"x\rCALL-ID:a\r", Some(b"a")),
            (b"x\r\ncall-id \t:\t a@b\r\n", Some(b"a@b")),
            (b"x\r\nI: a\r\n", Some(b"a")),
            (b"x\r\ni : a\r\n", Some(b"a")),
            // A continued line, which is not the start of a header either.
            (b"x\r\nCall-ID:\r\n a\r\n", Some(b"a")),
            (b"x\r\nCall-ID\n\t:\r a\r\n", Some(b"a")),
            (b"x\r\n Call-ID: a\r\n", None),
            (b"x\r\nVia: y\r\n Call-ID: a\r\ni: b\r\n", Some(b"b")),
            (b"x\r\nCall-ID:\r\na\r\n", None),
            (b"x\r\nCall-ID:\r\n \r\na\r\n", None),
            // The first line is no header.
            (b"Call-ID: a\r\n", None),
            (b"", None),
            (b"\r\nCall-ID: a\r\n", Some(b"a")),
            // Names that only begin so
            (b"x\r\nisup: a\r\n", None),
            (b"x\r\nCall-IDs: a\r\n", None),
            (b"x\r\nCall-I: a\r\n", None),
            (b"x\r\nCall-ID a\r\ni: b\r\n", None),
            // The value must be followed by the end of the line, not of the message.
            (b"x\r\nCall-ID: a", None),
            (b"x\r\nCall-ID: a ", None),
            (b"x\r\nCall-ID: a;b\r\n", None),
            (b"x\r\nCall-ID: a@b@c\r\n", None),
            // The first valid one counts.
            (b"x\r\nCall-ID: a@\r\n", None),
            (
                b"x\r\nCall-ID: @a\r\nyyyyyyyyyyyyyyyyyyyyy\r\ni: b\r\n",
                Some(b"b"),
            ),
            (b"x\r\nCall-ID: a\r\nCall-ID: b\r\n", Some(b"a")),
            // The line after an empty line is skipped only if the empty line ends in one byte.
            (b"x\r\n\r\nCall-ID: a\r\n", Some(b"a")),
            (b"x\n\nCall-ID: a\n", None),
            (b"x\n\n\nCall-ID: a\n", Some(b"a")),
            (b"x\r\nCall-ID: \xe4\xd6\r\n", Some(b"\xe4\xd6")),
            (b"x\r\nCall-ID: a\xd7\r\n", None),
        ];
        for (message, want) in cases {
            check(message, want);
        }
    }

    #[test]
    fn lengths() {
        for len in [1, 254, 255, 256, 257, 1000] {
            let value = vec![b'a'; len];
            let message = [&b"x\r\nCall-ID: "[..], &value, b"\r\n"].concat();
            check(&message, (len <= 255).then_some(&value));
            for cut in 0..message.len() {
                let whole = message.get(..cut).unwrap();
                check(
                    whole,
                    (len <= 255 && cut == message.len() - 1).then_some(&value),
                );
            }
        }
    }

    #[test]
    fn bytes_of_words() {
        let words: Vec<u8> = (0..=255).filter(|byte| is_word(*byte)).collect();
        let ascii = words.iter().filter(|byte| byte.is_ascii()).count();
        assert_eq!(ascii, 26 + 26 + 10 + 23);
        for byte in *b" \t\r\n@,;=&$#|^\0\x7f" {
            assert!(!is_word(byte));
        }
    }
}
