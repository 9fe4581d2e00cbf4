// SPDX-License-Identifier: GPL-2.0

//! Generic UDP Encapsulation, variant 0 (draft-ietf-intarea-gue), with the remote checksum option
//! (draft-herbert-remotecsumoffload) as the kernel encodes it.
//!
//! C version: `struct guehdr` [include/net/gue.h], `ipvs_gue_encap()`
//! [net/netfilter/ipvs/ip_vs_xmit.c].

use super::{
    csum::Csum16,
    udp, //
};
use crate::addr::Port;
use zerocopy::{
    byteorder::network_endian::{
        U16,
        U32, //
    },
    IntoBytes, //
};
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout,
    Unaligned, //
};

/// `GUE_FLAG_PRIV`: the options begin with private flags.
const PRIVATE: u16 = 1;
/// `GUE_PFLAG_REMCSUM`, a private flag: a [`RemoteChecksum`] follows the private flags.
const REMOTE_CHECKSUM: u32 = 1 << 31;

/// A GUE header without its options.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Header {
    version_control_hlen: u8,
    /// In a data message, the IP protocol number of the payload (C: `proto_ctype`).
    pub(crate) protocol: u8,
    flags: U16,
}

impl Header {
    /// The header of a data message, with `options` bytes of options. The length is a multiple of
    /// 4.
    const fn new(protocol: u8, options: usize, flags: u16) -> Self {
        Self {
            version_control_hlen: (options >> 2) as u8 & 0x1f,
            protocol,
            flags: U16::new(flags),
        }
    }

    /// Whether it is the header of a data message of variant 0.
    #[inline]
    pub(crate) const fn is_data(&self) -> bool {
        self.version_control_hlen >> 5 == 0
    }

    /// The length of the header with options in bytes, 4 to 128.
    #[inline]
    pub(crate) const fn len(&self) -> usize {
        let options = ((self.version_control_hlen & 0x1f) as usize) << 2;
        size_of::<Self>().wrapping_add(options)
    }
}

/// A checksum in the payload that the receiver completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RemoteChecksum {
    /// The offset in the payload from which on the sum is taken, in bytes.
    pub(crate) start: u16,
    /// The offset of the checksum field in the payload, in bytes.
    pub(crate) field: u16,
}

/// The options of a packet with a [`RemoteChecksum`].
#[derive(Clone, Copy, Debug, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct Options {
    private: U32,
    start: U16,
    field: U16,
}

/// The UDP and GUE headers of a packet.
#[derive(Clone, Copy, Debug, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Headers {
    udp: udp::Header,
    gue: Header,
    options: Options,
}

impl Headers {
    /// The length in bytes without options.
    pub(crate) const LEN: usize = size_of::<udp::Header>() + size_of::<Header>();
    /// The length in bytes with a [`RemoteChecksum`].
    pub(crate) const LEN_REMOTE: usize = size_of::<Self>();

    /// The headers of a payload of `len` bytes whose IP protocol number is `protocol`. The UDP
    /// checksum is 0.
    pub(crate) fn new(
        source: Port,
        dest: Port,
        protocol: u8,
        len: u32,
        remote: Option<RemoteChecksum>,
    ) -> Self {
        let (options, flags) = match remote {
            None => (0, 0),
            Some(_) => (size_of::<Options>(), PRIVATE),
        };
        let RemoteChecksum { start, field } =
            remote.unwrap_or(RemoteChecksum { start: 0, field: 0 });
        let len = len
            .saturating_add(Self::LEN as u32)
            .saturating_add(options as u32);
        Self {
            udp: udp::Header {
                source,
                dest,
                // A GSO packet may be too long for the field. Each segment gets its own length.
                len: U16::new(u16::try_from(len).unwrap_or(0)),
                check: Csum16::ZERO,
            },
            gue: Header::new(protocol, options, flags),
            options: Options {
                private: U32::new(REMOTE_CHECKSUM),
                start: U16::new(start),
                field: U16::new(field),
            },
        }
    }
}

impl AsRef<[u8]> for Headers {
    /// The headers, without the options if there are none.
    fn as_ref(&self) -> &[u8] {
        let bytes = self.as_bytes();
        let len = size_of::<udp::Header>().wrapping_add(self.gue.len());
        bytes.get(..len).unwrap_or(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromBytes;

    fn headers(protocol: u8, len: u32, remote: Option<RemoteChecksum>) -> Headers {
        Headers::new(Port::new(0xc001), Port::new(6080), protocol, len, remote)
    }

    #[test]
    fn without_options() {
        let plain = headers(4, 28, None);
        assert_eq!(
            plain.as_ref(),
            [0xc0, 0x01, 0x17, 0xc0, 0, 40, 0, 0, 0, 4, 0, 0]
        );
        assert_eq!(plain.as_ref().len(), Headers::LEN);
    }

    #[test]
    fn with_a_remote_checksum() {
        let remote = RemoteChecksum {
            start: 20,
            field: 36,
        };
        let headers = headers(41, 60, Some(remote));
        assert_eq!(
            headers.as_ref(),
            [0xc0, 0x01, 0x17, 0xc0, 0, 80, 0, 0, 2, 41, 0, 1, 0x80, 0, 0, 0, 0, 20, 0, 36]
        );
        assert_eq!(headers.as_ref().len(), Headers::LEN_REMOTE);
    }

    #[test]
    fn lengths() {
        let remote = Some(RemoteChecksum { start: 0, field: 6 });
        for (len, plain, with_option) in [
            (0, 12, 20),
            (65515, 65527, 65535),
            (65516, 65528, 0),
            (65523, 65535, 0),
            (65524, 0, 0),
            (u32::MAX, 0, 0),
        ] {
            assert_eq!(headers(4, len, None).udp.len.get(), plain, "{len}");
            assert_eq!(headers(4, len, remote).udp.len.get(), with_option, "{len}");
        }
    }

    #[test]
    fn what_is_built_can_be_read() {
        let remote = RemoteChecksum { start: 1, field: 2 };
        for (remote, len) in [(None, 4), (Some(remote), 12)] {
            let headers = headers(4, 0, remote);
            let (udp, rest) = udp::Header::ref_from_prefix(headers.as_ref()).unwrap();
            let (gue, options) = Header::ref_from_prefix(rest).unwrap();
            assert_eq!(usize::from(udp.len.get()), headers.as_ref().len());
            assert!(gue.is_data());
            assert_eq!((gue.protocol, gue.len()), (4, len));
            assert_eq!(options.len(), len - size_of::<Header>());
        }
    }

    #[test]
    fn any_first_byte() {
        for first in 0..=u8::MAX {
            let (gue, _) = Header::read_from_prefix(&[first, 4, 0, 0]).unwrap();
            assert_eq!(gue.is_data(), first < 0x20, "{first:x}");
            assert_eq!(gue.len(), 4 + 4 * usize::from(first % 32), "{first:x}");
        }
    }

    #[test]
    fn truncated() {
        for len in 0..4 {
            assert!(Header::ref_from_prefix(&[0u8; 4][..len]).is_err());
        }
    }
}
