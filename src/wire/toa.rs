// SPDX-License-Identifier: GPL-2.0

//! The TCP option with the client's address and port, TOA, and the MSS option (RFC 9293, section
//! 3.7.1).
//!
//! The format is that of the modules that read the option on a real server: the number 254, the
//! length of the option, the port, and an IPv4 or IPv6 address.

use super::{
    csum::Delta,
    tcp, //
};
use crate::addr::{
    Addr,
    Family,
    Port, //
};
use zerocopy::FromBytes;

/// The number of the option.
const TOA: u8 = 254;

/// The maximum length of a TCP header with options, in bytes.
const MAX_HEADER: usize = 60;

// Numbers of other options.
const END: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;

/// The least MSS that is lowered, in bytes (RFC 879).
const LEAST_MSS: u16 = 536;

/// The length of the option in bytes, a multiple of 4.
pub(crate) const fn len(family: Family) -> usize {
    match family {
        Family::Inet => 8,
        Family::Inet6 => 20,
    }
}

/// Whether the option of this family fits into a header of `header` bytes with options.
pub(crate) const fn fits(family: Family, header: usize) -> bool {
    header.saturating_add(len(family)) <= MAX_HEADER
}

/// Completes a TCP header after room for the option was made behind the 20 bytes without options.
/// Returns the effect on the checksum, except that on the pseudo-header. `None` if the header is
/// too short or too long for the option.
pub(crate) fn write(
    segment: &mut [u8],
    family: Family,
    (addr, port): (&Addr, Port),
) -> Option<Delta> {
    let (header, options) = tcp::Header::mut_from_prefix(segment).ok()?;
    let option = options.get_mut(..len(family))?;
    let [a, b] = port.bytes();
    let head = [TOA, len(family) as u8, a, b];
    let addr = addr.bytes().iter();
    for (to, from) in option.iter_mut().zip(head.iter().chain(addr)) {
        *to = *from;
    }
    let mut delta = Delta::NONE;
    for word in option.chunks_exact(4) {
        // 0 is as good as what was there: it was not covered.
        delta = delta.replace_u32([0; 4], word.try_into().ok()?);
    }
    let before = header.offset_and_flags();
    let total = header.len().checked_add(len(family))?;
    if total > MAX_HEADER {
        return None;
    }
    header.set_len(total);
    Some(delta.replace_u16(before, header.offset_and_flags()))
}

/// Lowers the MSS in the options of a header by `by` bytes, but not below [`LEAST_MSS`]. Returns
/// the effect on the checksum, [`Delta::NONE`] if there is no such option.
pub(crate) fn lower_mss(segment: &mut [u8], by: u16) -> Delta {
    let Some(at) = find_mss(segment) else {
        return Delta::NONE;
    };
    // Two words at even offsets that contain the value: it is their second one, or in their middle.
    let start = at.wrapping_sub(2).wrapping_add(at & 1);
    let place = segment.get_mut(start..);
    let Some(words) = place.and_then(|rest| rest.first_chunk_mut::<4>()) else {
        return Delta::NONE;
    };
    let before = *words;
    let lowered = |mss| {
        let mss = u16::from_be_bytes(mss);
        mss.saturating_sub(by).max(LEAST_MSS).min(mss).to_be_bytes()
    };
    let [a, b, c, d] = before;
    *words = match at & 1 {
        0 => {
            let [high, low] = lowered([c, d]);
            [a, b, high, low]
        }
        _ => {
            let [high, low] = lowered([b, c]);
            [a, high, low, d]
        }
    };
    Delta::NONE.replace_u32(before, *words)
}

/// Whether a header has a TOA option.
pub(crate) fn is_in(segment: &[u8]) -> bool {
    find(segment, TOA).is_some()
}

/// The offset of the value of the MSS option.
fn find_mss(segment: &[u8]) -> Option<usize> {
    let at = find(segment, MSS)?;
    match segment.get(at..)? {
        [MSS, 4, _, _, ..] => at.checked_add(2),
        _ => None,
    }
}

/// The offset of the first option with this number.
fn find(segment: &[u8], number: u8) -> Option<usize> {
    let (header, _) = tcp::Header::ref_from_prefix(segment).ok()?;
    let mut at = size_of::<tcp::Header>();
    // At most one option a byte.
    for _ in 0..MAX_HEADER {
        let rest = segment.get(at..header.len())?;
        let step = match *rest {
            [END, ..] => return None,
            [NOP, ..] => 1,
            [kind, ..] if kind == number => return Some(at),
            [_, len, ..] if len >= 2 => len,
            _ => return None,
        };
        at = at.checked_add(step.into())?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::csum::Sum;

    /// A SYN with these options.
    fn syn(options: &[u8]) -> Vec<u8> {
        let mut segment = vec![0; 20];
        segment[..4].copy_from_slice(&[0x9c, 0x41, 0, 80]);
        segment[12] = ((20 + options.len()) / 4) as u8 * 16;
        segment[13] = 2;
        segment.extend(options);
        let check = Sum::ZERO.add_bytes(&segment).checksum();
        segment[16..18].copy_from_slice(&check.bytes());
        segment
    }

    fn update(segment: &mut [u8], delta: Delta) {
        let (header, _) = tcp::Header::mut_from_prefix(segment).unwrap();
        header.check = header.check.update(delta);
        assert!(Sum::ZERO.add_bytes(segment).is_valid());
    }

    fn with_room(mut segment: Vec<u8>, len: usize) -> Vec<u8> {
        segment.splice(20..20, vec![0xee; len]);
        segment
    }

    #[test]
    fn options_of_the_client() {
        let own = [254, 8, 1, 2, 3, 4, 5, 6];
        assert!(is_in(&syn(&own)));
        assert!(is_in(&syn(&[&[2, 4, 5, 0xb4][..], &own].concat())));
        assert!(is_in(&syn(&[1, 1, 1, 254])));
        assert!(!is_in(&syn(&[2, 4, 5, 0xb4])));
        // It is in the payload.
        assert!(!is_in(&[&syn(&[])[..], &own].concat()));
        assert!(!is_in(&syn(&[&[0, 0, 0, 0][..], &own].concat())));
    }

    #[test]
    fn an_ipv4_option() {
        let mut segment = with_room(syn(&[2, 4, 5, 0xb4]), 8);
        let client = Addr::from_v4([198, 51, 100, 7]);
        let end = (&client, Port::new(40001));
        let delta = write(&mut segment, Family::Inet, end).unwrap();
        update(&mut segment, delta);
        assert_eq!(segment[12..14], [0x80, 2]);
        assert_eq!(
            segment[20..],
            [254, 8, 0x9c, 0x41, 198, 51, 100, 7, 2, 4, 5, 0xb4]
        );
    }

    #[test]
    fn an_ipv6_option() {
        let mut segment = with_room(syn(&[]), 20);
        let mut bytes = [0; 16];
        (bytes[0], bytes[15]) = (0xfd, 7);
        let end = (&Addr::from_v6(bytes), Port::new(1));
        let delta = write(&mut segment, Family::Inet6, end).unwrap();
        update(&mut segment, delta);
        assert_eq!(segment[12], 0xa0);
        assert_eq!(segment[20..24], [254, 20, 0, 1]);
        assert_eq!(segment[24..], bytes);
    }

    #[test]
    fn headers_without_room() {
        assert!(fits(Family::Inet, 52) && !fits(Family::Inet, 56));
        assert!(fits(Family::Inet6, 40) && !fits(Family::Inet6, 44));
        let end = (&Addr::ANY, Port::new(1));
        let mut full = with_room(syn(&[1; 36]), 8);
        assert!(write(&mut full, Family::Inet, end).is_none());
        assert!(write(&mut syn(&[1; 4]), Family::Inet, end).is_none());
        assert!(write(&mut [0; 19], Family::Inet, end).is_none());
    }

    #[test]
    fn the_mss_is_lowered() {
        for (options, want) in [
            (&[2, 4, 5, 0xb4][..], &[2, 4, 5, 0xac][..]),
            (&[1, 2, 4, 5, 0xb4, 0, 0, 0], &[1, 2, 4, 5, 0xac, 0, 0, 0]),
            (
                &[
                    4, 2, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1, 1, 1, 2, 4, 0x23, 4,
                ],
                &[
                    4, 2, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1, 1, 1, 2, 4, 0x22, 0xfc,
                ],
            ),
            // Not below 536, nor raised to that.
            (&[2, 4, 2, 0x1a], &[2, 4, 2, 0x18]),
            (&[2, 4, 0, 100], &[2, 4, 0, 100]),
            // None, behind the end, and malformed ones.
            (&[], &[]),
            (&[0, 2, 4, 5, 0xb4, 0, 0, 0], &[0, 2, 4, 5, 0xb4, 0, 0, 0]),
            (&[2, 3, 5, 0], &[2, 3, 5, 0]),
            (&[9, 0, 0, 0], &[9, 0, 0, 0]),
            (&[1, 1, 2, 4], &[1, 1, 2, 4]),
            (&[9, 40, 0, 0], &[9, 40, 0, 0]),
        ] {
            let mut segment = syn(options);
            let delta = lower_mss(&mut segment, 8);
            update(&mut segment, delta);
            assert_eq!(segment[20..], *want);
        }
        assert!(find_mss(&[0; 19]).is_none());
        let mut cut = syn(&[2, 4, 5, 0xb4]);
        cut.truncate(22);
        lower_mss(&mut cut, 8);
    }
}
