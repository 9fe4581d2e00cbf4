// SPDX-License-Identifier: GPL-2.0

//! Formats lines of the files in /proc. A file may have a million lines, and [`core::fmt`] takes
//! several times as long.

use crate::addr::{
    Addr,
    Family, //
};

/// A line under construction. Bytes beyond 256 are dropped; no line of these files is that long.
pub(super) struct Line {
    bytes: [u8; 256],
    len: usize,
}

impl Line {
    /// An empty line.
    pub(super) fn new() -> Self {
        Self {
            bytes: [0; 256],
            len: 0,
        }
    }

    /// Empties the line.
    pub(super) fn clear(&mut self) -> &mut Self {
        self.len = 0;
        self
    }

    /// The text of the line.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    #[inline]
    fn byte(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len = self.len.wrapping_add(1);
        }
    }

    /// Appends `text`.
    #[inline]
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        text.bytes().for_each(|byte| self.byte(byte));
        self
    }

    /// Appends `text`, padded with spaces on the right to at least `width` bytes.
    #[inline]
    pub(super) fn text_padded(&mut self, text: &str, width: usize) -> &mut Self {
        self.text(text).spaces(width.saturating_sub(text.len()))
    }

    #[inline]
    fn spaces(&mut self, number: usize) -> &mut Self {
        (0..number).for_each(|_| self.byte(b' '));
        self
    }

    /// Appends the low `digits` hexadecimal digits of `value`, in upper case.
    #[inline]
    pub(super) fn hex(&mut self, value: u32, digits: u32) -> &mut Self {
        for place in (0..digits).rev() {
            let nibble = value.wrapping_shr(place.wrapping_mul(4)) as u8 & 0xf;
            let first = if nibble < 10 { b'0' } else { b'A' - 10 };
            self.byte(first.wrapping_add(nibble));
        }
        self
    }

    /// Appends `separator` and a port, in host byte order, as four hexadecimal digits.
    #[inline]
    pub(super) fn port(&mut self, separator: &str, port: u16) -> &mut Self {
        self.text(separator).hex(port.into(), 4)
    }

    /// Appends an address as C writes it: IPv4 as eight hexadecimal digits, IPv6 within `brackets`
    /// as eight groups without compression (C: `%08X`, `%pI6`).
    #[inline]
    pub(super) fn addr(&mut self, family: Family, addr: &Addr, brackets: [&str; 2]) -> &mut Self {
        if let Family::Inet = family {
            return self.hex(u32::from_be_bytes(addr.v4()), 8);
        }
        let [open, close] = brackets;
        self.text(open);
        for (i, byte) in addr.bytes().iter().enumerate() {
            if i != 0 && i % 2 == 0 {
                self.byte(b':');
            }
            for nibble in [byte >> 4, byte & 0xf] {
                let first = if nibble < 10 { b'0' } else { b'a' - 10 };
                self.byte(first.wrapping_add(nibble));
            }
        }
        self.text(close)
    }

    /// Appends a number, padded with spaces on the right to at least `width` bytes.
    #[inline]
    pub(super) fn decimal(&mut self, value: i64, width: usize) -> &mut Self {
        let mut digits = [0; 20];
        let (text, is_negative) = (decimal(value.unsigned_abs(), &mut digits), value < 0);
        if is_negative {
            self.byte(b'-');
        }
        text.iter().for_each(|digit| self.byte(*digit));
        let len = text.len().wrapping_add(usize::from(is_negative));
        self.spaces(width.saturating_sub(len))
    }

    /// Appends a number, padded with spaces on the left to at least `width` bytes.
    #[inline]
    pub(super) fn decimal_right(&mut self, value: u32, width: usize) -> &mut Self {
        let mut digits = [0; 20];
        let text = decimal(value.into(), &mut digits);
        self.spaces(width.saturating_sub(text.len()));
        text.iter().for_each(|digit| self.byte(*digit));
        self
    }
}

/// Writes the digits of a number to the end of `digits` and returns them.
#[inline]
fn decimal(mut value: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut first = digits.len();
    for (i, place) in digits.iter_mut().enumerate().rev() {
        *place = b'0'.wrapping_add((value % 10) as u8);
        first = i;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    digits.get(first..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(write: impl FnOnce(&mut Line) -> &mut Line) -> String {
        String::from_utf8(write(&mut Line::new()).bytes().to_vec()).unwrap()
    }

    #[test]
    fn numbers_are_those_of_the_standard_library() {
        for value in [
            0,
            1,
            9,
            10,
            99,
            100,
            65535,
            -1,
            -10,
            i32::MAX.into(),
            i32::MIN.into(),
            i64::MAX,
            i64::MIN,
        ] {
            assert_eq!(line(|l| l.decimal(value, 6)), format!("{value:<6}"));
        }
        for value in [0, 7, 123_456, 1_234_567, 12_345_678, u32::MAX] {
            assert_eq!(line(|l| l.decimal_right(value, 7)), format!("{value:7}"));
            assert_eq!(line(|l| l.hex(value, 8)), format!("{value:08X}"));
            assert_eq!(
                line(|l| l.port(":", value as u16)),
                format!(":{:04X}", value as u16)
            );
        }
    }

    #[test]
    fn text_is_padded_but_not_cut() {
        assert_eq!(line(|l| l.text_padded("Masq", 7).text("|")), "Masq   |");
        assert_eq!(
            line(|l| l.text_padded("SYNPROXY", 7).text("|")),
            "SYNPROXY|"
        );
    }

    #[test]
    fn addresses_are_as_in_c() {
        let v4 = Addr::from_v4([10, 1, 2, 254]);
        let brackets = ["[", "]"];
        assert_eq!(line(|l| l.addr(Family::Inet, &v4, brackets)), "0A0102FE");
        let v6 = Addr::from_v6([
            0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xab, 0xcd, 0xef, 1,
        ]);
        let text = "2001:0db8:0000:0000:ffff:ffff:abcd:ef01";
        assert_eq!(
            line(|l| l.addr(Family::Inet6, &v6, brackets)),
            format!("[{text}]")
        );
        assert_eq!(line(|l| l.addr(Family::Inet6, &v6, ["", ""])), text);
    }

    #[test]
    fn what_is_too_long_is_cut() {
        assert_eq!(line(|l| l.text(&"x".repeat(1000))), "x".repeat(256));
    }

    #[test]
    fn another_line_begins_anew() {
        assert_eq!(line(|l| l.text("before").clear().text("after")), "after");
    }
}
