// SPDX-License-Identifier: GPL-2.0

//! A list of addresses for local ends, as text: addresses and ranges, separated by commas, such as
//! `10.1.0.50-10.1.0.57,fd02::50`.

use crate::addr::{
    Addr,
    Family, //
};
use core::{
    fmt::{
        self,
        Write, //
    },
    net::{
        IpAddr,
        Ipv4Addr,
        Ipv6Addr, //
    },
    str, //
};

/// The maximum number of addresses and ranges.
const MAX_RANGES: usize = 32;

/// The maximum number of addresses, of both families together.
const MAX_ADDRS: u32 = 4096;

/// An address, or several successive ones.
#[derive(Clone, Copy)]
struct Range {
    family: Family,
    first: Addr,
    /// The number of addresses.
    len: u32,
}

impl Range {
    const EMPTY: Self = Self {
        family: Family::Inet,
        first: Addr::ANY,
        len: 0,
    };

    /// Reads an address, or the first and the last one with a hyphen between. `None` if the text is
    /// not of that form, or the last address is below the first.
    fn parse(text: &[u8]) -> Option<Self> {
        let mut ends = text.split(|byte| *byte == b'-');
        let (family, first) = parse_addr(ends.next()?)?;
        let last = match ends.next() {
            Some(last) => parse_addr(last)?,
            None => (family, first),
        };
        if last.0 != family || ends.next().is_some() {
            return None;
        }
        let more = number(family, &last.1).checked_sub(number(family, &first))?;
        Some(Self {
            family,
            first,
            len: u32::try_from(more).ok()?.checked_add(1)?,
        })
    }

    /// The address with this index, which is below the number of addresses.
    fn at(&self, index: u32) -> Addr {
        of_number(
            self.family,
            number(self.family, &self.first).wrapping_add(index.into()),
        )
    }
}

fn parse_addr(text: &[u8]) -> Option<(Family, Addr)> {
    match str::from_utf8(text.trim_ascii()).ok()?.parse().ok()? {
        IpAddr::V4(addr) => Some((Family::Inet, Addr::from_v4(addr.octets()))),
        IpAddr::V6(addr) => Some((Family::Inet6, Addr::from_v6(addr.octets()))),
    }
}

/// An address as a number, in host byte order.
fn number(family: Family, addr: &Addr) -> u128 {
    match family {
        Family::Inet => u32::from_be_bytes(addr.v4()).into(),
        Family::Inet6 => u128::from_be_bytes(*addr.bytes()),
    }
}

fn of_number(family: Family, number: u128) -> Addr {
    match family {
        Family::Inet => Addr::from_v4((number as u32).to_be_bytes()),
        Family::Inet6 => Addr::from_v6(number.to_be_bytes()),
    }
}

/// A list of addresses.
pub(crate) struct AddrList {
    ranges: [Range; MAX_RANGES],
}

impl AddrList {
    /// Reads a list. White space around addresses is ignored, and so are empty elements. `None` if
    /// an element is malformed or there are too many.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let mut ranges = [Range::EMPTY; MAX_RANGES];
        let mut places = ranges.iter_mut();
        let mut left = MAX_ADDRS;
        let elements = text.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        for element in elements.filter(|element| !element.is_empty()) {
            let range = Range::parse(element)?;
            left = left.checked_sub(range.len)?;
            *places.next()? = range;
        }
        Some(Self { ranges })
    }

    fn ranges(&self) -> impl Iterator<Item = &Range> {
        self.ranges.iter().filter(|range| range.len != 0)
    }

    /// The number of addresses of a family.
    pub(crate) fn len(&self, family: Family) -> u32 {
        let ranges = self.ranges().filter(|range| range.family == family);
        ranges.fold(0, |sum, range| sum.wrapping_add(range.len))
    }

    /// The address of a family with this index.
    pub(crate) fn at(&self, family: Family, mut index: u32) -> Option<Addr> {
        for range in self.ranges().filter(|range| range.family == family) {
            match index.checked_sub(range.len) {
                Some(rest) => index = rest,
                None => return Some(range.at(index)),
            }
        }
        None
    }

    /// All addresses.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Family, Addr)> + '_ {
        self.ranges()
            .flat_map(|range| (0..range.len).map(|index| (range.family, range.at(index))))
    }

    /// Writes the list and a NUL to `buffer`, cut if it is too short. Returns the length without
    /// the NUL.
    pub(crate) fn print(&self, buffer: &mut [u8]) -> usize {
        let mut text = Cut::new(buffer);
        let mut separator = "";
        for range in self.ranges() {
            // Cut text is no error.
            let _ = text.write_str(separator);
            separator = ",";
            text.addr(range.family, &range.first);
            if range.len > 1 {
                let _ = text.write_str("-");
                text.addr(range.family, &range.at(range.len.wrapping_sub(1)));
            }
        }
        text.end()
    }
}

/// Writes an address and a NUL to `buffer`, cut if it is too short. Returns the length without the
/// NUL.
pub(crate) fn print_addr(family: Family, addr: &Addr, buffer: &mut [u8]) -> usize {
    let mut text = Cut::new(buffer);
    text.addr(family, addr);
    text.end()
}

/// Text in a buffer. What does not fit is dropped.
struct Cut<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl<'a> Cut<'a> {
    fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, len: 0 }
    }

    fn addr(&mut self, family: Family, addr: &Addr) {
        // Cut text is no error.
        let _ = match family {
            Family::Inet => write!(self, "{}", Ipv4Addr::from(addr.v4())),
            Family::Inet6 => write!(self, "{}", Ipv6Addr::from(*addr.bytes())),
        };
    }

    /// Appends the NUL and returns the length of the text.
    fn end(self) -> usize {
        let len = self.len.min(self.buffer.len().saturating_sub(1));
        if let Some(end) = self.buffer.get_mut(len) {
            *end = 0;
        }
        len
    }
}

impl Write for Cut<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if let Some(place) = self.buffer.get_mut(self.len) {
                *place = byte;
                self.len = self.len.wrapping_add(1);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(text: &str) -> Option<String> {
        let mut buffer = [0xff; 4096];
        let len = AddrList::parse(text.as_bytes())?.print(&mut buffer);
        assert_eq!(buffer[len], 0);
        Some(String::from_utf8(buffer[..len].to_vec()).unwrap())
    }

    #[test]
    fn text_there_and_back() {
        for (text, shown) in [
            ("", ""),
            ("\n", ""),
            (" , ,\n", ""),
            ("10.1.0.50\n", "10.1.0.50"),
            (
                "10.1.0.50-10.1.0.57,fd02::50",
                "10.1.0.50-10.1.0.57,fd02::50",
            ),
            (" 10.1.0.5 - 10.1.0.5 , fd02:0::1", "10.1.0.5,fd02::1"),
            ("::ffff:10.0.0.1", "::ffff:10.0.0.1"),
            (
                "255.255.255.254-255.255.255.255",
                "255.255.255.254-255.255.255.255",
            ),
        ] {
            assert_eq!(printed(text).as_deref(), Some(shown), "{text:?}");
        }
        for text in [
            "10.1.0",
            "10.1.0.5/24",
            "10.1.0.5 10.1.0.6",
            "10.1.0.5-10.1.0.4",
            "10.1.0.5-fd02::1",
            "10.1.0.1-10.1.0.2-10.1.0.3",
            "10.0.0.0-10.0.16.0",
            "fd02::-fd02::1:0:0:0",
            "fd02::1%eth0",
            "-",
            "\u{e9}",
        ] {
            assert_eq!(printed(text), None, "{text:?}");
        }
        assert!(printed(&["10.0.0.1"; 32].join(",")).is_some());
        assert!(printed(&["10.0.0.1"; 33].join(",")).is_none());
        assert!(printed("10.0.0.0-10.0.15.255").is_some());
        assert!(printed("10.0.0.0-10.0.15.255,fd02::1").is_none());
    }

    #[test]
    fn addresses_by_index() {
        let list = AddrList::parse(b"10.1.0.254-10.1.1.1,fd02::ffff-fd02::1:0,10.2.0.1").unwrap();
        let v4 = [[10, 1, 0, 254], [10, 1, 0, 255], [10, 1, 1, 0]];
        assert_eq!(list.len(Family::Inet), 5);
        assert_eq!(list.len(Family::Inet6), 2);
        for (i, addr) in v4.into_iter().enumerate() {
            assert_eq!(list.at(Family::Inet, i as u32), Some(Addr::from_v4(addr)));
        }
        assert_eq!(list.at(Family::Inet, 4), Some(Addr::from_v4([10, 2, 0, 1])));
        assert_eq!(list.at(Family::Inet, 5), None);
        let mut bytes = [0; 16];
        (bytes[0], bytes[1], bytes[13]) = (0xfd, 2, 1);
        assert_eq!(list.at(Family::Inet6, 1), Some(Addr::from_v6(bytes)));
        assert_eq!(list.iter().count(), 7);
    }

    #[test]
    fn a_short_buffer_cuts() {
        let list = AddrList::parse(b"10.1.0.50").unwrap();
        let mut buffer = [0xff; 5];
        assert_eq!(list.print(&mut buffer), 4);
        assert_eq!(buffer, *b"10.1\0");
        assert_eq!(list.print(&mut []), 0);
    }
}
