// SPDX-License-Identifier: GPL-2.0

//! Text in a packet's payload, and addresses in it.
//!
//! C version: `in4_pton()`, `in6_pton()` [net/core/utils.c].

/// A position in a packet's payload.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) data: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Text<'a> {
    /// The text after `word`, in upper or lower case, at the start of `data`.
    pub(super) fn after(data: &'a [u8], word: &[u8]) -> Option<Self> {
        let start = data.get(..word.len())?;
        let at = word.len();
        start
            .eq_ignore_ascii_case(word)
            .then_some(Self { data, at })
    }

    /// The byte at the position; `None` at the end of the packet.
    pub(super) fn peek(&self) -> Option<u8> {
        self.data.get(self.at).copied()
    }

    pub(super) fn step(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    /// Returns the byte at the position and moves past it.
    pub(super) fn take(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.step();
        Some(byte)
    }

    /// Moves past the byte at the position, which must be `wanted`.
    pub(super) fn expect(&mut self, wanted: u8) -> Option<()> {
        (self.take()? == wanted).then_some(())
    }

    /// The kind of the byte at the position, in an address that `delimiter` ends (C:
    /// `xdigit2bin()`).
    fn kind(&self, delimiter: u8) -> Kind {
        match self.peek() {
            None | Some(0) => Kind::End,
            Some(byte) if byte == delimiter => Kind::End,
            Some(b':') => Kind::Colon,
            Some(b'.') => Kind::Dot,
            Some(byte) => match (byte as char).to_digit(16) {
                Some(digit) => Kind::Digit(digit as u8),
                None => Kind::Other,
            },
        }
    }

    /// Reads an IPv4 address (C: `in4_pton()`).
    pub(super) fn v4(&mut self, delimiter: u8) -> Option<[u8; 4]> {
        let mut addr = [0; 4];
        let mut parts = addr.iter_mut().peekable();
        let mut value: Option<u8> = None;
        loop {
            let kind = self.kind(delimiter);
            match kind {
                Kind::Digit(digit @ 0..=9) => {
                    let more = value.unwrap_or(0).checked_mul(10)?.checked_add(digit)?;
                    value = Some(more);
                }
                Kind::Dot | Kind::End | Kind::Colon => {
                    *parts.next()? = value.take()?;
                    match (kind, parts.peek().is_some()) {
                        (Kind::Dot, true) => (),
                        (Kind::End | Kind::Colon, false) => return Some(addr),
                        _ => return None,
                    }
                }
                _ => return None,
            }
            self.step();
        }
    }

    /// Reads an IPv6 address (C: `in6_pton()`).
    pub(super) fn v6(&mut self, delimiter: u8) -> Option<[u8; 16]> {
        let mut words = Words::default();
        let mut state = Expected {
            digit: true,
            second_colon: false,
            colon: Colon::Both,
            dot: false,
            end: false,
            is_edge: true,
        };
        let mut value = 0u16;
        // The start of the current word.
        let mut word = *self;
        loop {
            match self.kind(delimiter) {
                kind @ (Kind::End | Kind::Colon) => {
                    let is_expected = match kind {
                        Kind::End => state.end,
                        _ => state.second_colon || state.colon != Colon::None,
                    };
                    if !is_expected {
                        return None;
                    }
                    if !state.is_edge {
                        words.push(value)?;
                    }
                    value = 0;
                    if kind == Kind::End {
                        break;
                    }
                    state = state.after_colon(&mut words);
                    word = *self;
                    word.step();
                }
                Kind::Dot if state.dot => {
                    *self = word;
                    words.push_v4(self.v4(delimiter)?)?;
                    break;
                }
                Kind::Digit(digit) if state.digit => {
                    value = value << 4 | u16::from(digit);
                    state = Expected::after_digit(value, &words);
                }
                _ => return None,
            }
            state.limit(&words);
            self.step();
        }
        Some(words.addr())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Digit(u8),
    Colon,
    Dot,
    /// The delimiter, a NUL, or the end of the packet.
    End,
    Other,
}

/// Which colons may follow, of which `::` is two (C: `IN6PTON_COLON_MASK`).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Colon {
    None,
    /// One, followed by digits.
    One,
    /// One, or two.
    OneOrTwo,
    /// Two.
    Both,
}

/// The bytes that may follow in an IPv6 address (C: `state`).
#[derive(Clone, Copy)]
struct Expected {
    digit: bool,
    /// The second colon of `::`.
    second_colon: bool,
    colon: Colon,
    dot: bool,
    end: bool,
    /// No word ends at the next colon or delimiter (C: `IN6PTON_NULL`).
    is_edge: bool,
}

impl Expected {
    const NOTHING: Self = Self {
        digit: false,
        second_colon: false,
        colon: Colon::None,
        dot: false,
        end: false,
        is_edge: false,
    };

    fn after_digit(value: u16, words: &Words) -> Self {
        let mut next = Self {
            digit: value & 0xf000 == 0,
            colon: Colon::One,
            end: true,
            ..Self::NOTHING
        };
        if words.gap.is_none() && words.len < 14 {
            next.colon = Colon::OneOrTwo;
            next.end = false;
        }
        if words.len >= 14 {
            next.colon = Colon::None;
        }
        next
    }

    fn after_colon(self, words: &mut Words) -> Self {
        if self.second_colon {
            words.gap = Some(words.len);
            return Self {
                digit: true,
                end: true,
                is_edge: words.len >= 16,
                ..Self::NOTHING
            };
        }
        Self {
            digit: matches!(self.colon, Colon::One | Colon::OneOrTwo),
            second_colon: matches!(self.colon, Colon::OneOrTwo | Colon::Both),
            ..Self::NOTHING
        }
    }

    /// Restricts what may follow to what there is room for.
    fn limit(&mut self, words: &Words) {
        if words.gap.is_some() && words.len < 12 || words.len == 12 {
            self.dot = true;
        }
        if words.len >= 16 {
            self.digit = false;
            self.second_colon = false;
            self.colon = Colon::None;
        }
    }
}

/// The words of an IPv6 address so far.
#[derive(Default)]
struct Words {
    bytes: [u8; 16],
    /// The number of bytes.
    len: usize,
    /// The place of `::`.
    gap: Option<usize>,
}

impl Words {
    fn push(&mut self, word: u16) -> Option<()> {
        self.push_bytes(&word.to_be_bytes())
    }

    fn push_v4(&mut self, addr: [u8; 4]) -> Option<()> {
        self.push_bytes(&addr)
    }

    fn push_bytes(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len.checked_add(bytes.len())?;
        for (to, from) in self.bytes.get_mut(self.len..end)?.iter_mut().zip(bytes) {
            *to = *from;
        }
        self.len = end;
        Some(())
    }

    /// The address, with zeros in place of `::`.
    fn addr(&self) -> [u8; 16] {
        let Some(gap) = self.gap else {
            return self.bytes;
        };
        let mut addr = [0; 16];
        for (to, from) in addr.iter_mut().zip(&self.bytes).take(gap) {
            *to = *from;
        }
        let tail = self.bytes.get(gap..self.len).unwrap_or_default();
        for (to, from) in addr.iter_mut().rev().zip(tail.iter().rev()) {
            *to = *from;
        }
        addr
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        net::Ipv6Addr,
        string::String,
        vec::Vec, //
    };

    /// The parser agrees with that of `std` on each form of an address, except those that C
    /// rejects.
    #[test]
    fn ipv6_addresses() {
        let v6 = |text: &str| {
            let line = std::format!("{text}|");
            let mut text = Text {
                data: line.as_bytes(),
                at: 0,
            };
            let addr = text.v6(b'|')?;
            (text.peek() == Some(b'|')).then(|| Ipv6Addr::from(addr))
        };
        let words = ["0", "1", "ffff", "00ab", ""];
        let mut texts = Vec::new();
        // All addresses of up to nine words, most of the same, with `::` in any place.
        for len in 1..=9 {
            for at in 0..len {
                for word in words {
                    for (last, prefix) in [("", ""), ("1.2.3.4", ""), ("", ":")] {
                        let mut parts = std::vec!["2"; len];
                        parts[at] = word;
                        if !last.is_empty() {
                            parts[len - 1] = last;
                        }
                        texts.push(std::format!("{prefix}{}", parts.join(":")));
                        texts.push(std::format!("{prefix}{}:", parts.join(":")));
                    }
                }
            }
        }
        texts.extend(
            [
                "::",
                ":",
                "1::2::3",
                "fe80::1%eth0",
                "12345::",
                "::1.2.3",
                "1:2",
            ]
            .map(String::from),
        );
        let (mut good, mut refused) = (0, Vec::new());
        for text in &texts {
            match (v6(text), text.parse::<Ipv6Addr>().ok()) {
                (Some(mine), Some(std)) => {
                    assert_eq!(mine, std, "{text}");
                    good += 1;
                }
                (None, Some(_)) => refused.push(text.clone()),
                (Some(mine), None) => panic!("{text} is read as {mine}"),
                (None, None) => (),
            }
        }
        assert!(good > 50, "{good}");
        assert_eq!(refused, Vec::<String>::new());
    }
}
