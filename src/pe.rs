// SPDX-License-Identifier: GPL-2.0

//! Persistence engines: a persistent service finds the template of a packet by data that the packet
//! contains, in addition to the client's address.
//!
//! C version: `struct ip_vs_pe` [include/net/ip_vs.h], [net/netfilter/ipvs/ip_vs_pe.c].
//!
//! To add an engine, add a file that implements [`PersistenceEngine`] and a line in [`engines!`]
//! below, and its name in `ENGINES` of the Makefile, for `modprobe`.

/// The maximum length in bytes of the data (C: `IP_VS_PEDATA_MAXLEN`).
pub(crate) const MAX_LEN: usize = 255;

/// A persistence engine.
pub(crate) trait PersistenceEngine {
    /// The name, as in `ipvsadm --pe`.
    const NAME: &'static str;

    /// The protocol whose packets have data, `IPPROTO_*`. Others to the service are dropped.
    const PROTOCOL: u8;

    /// Whether a packet of that protocol from a dest may start a conn (C: `conn_out`).
    const STARTS_FROM_DEST: bool;

    /// The data in the payload of a packet, 1 to [`MAX_LEN`] bytes; `None` if there are none. Then
    /// the packet is dropped (C: `fill_param`).
    fn data(payload: &[u8]) -> Option<&[u8]>;
}

/// Declares the engines' modules, and [`Engine`] with a variant for each.
macro_rules! engines {
    ($($file:ident::$name:ident = $number:literal,)+) => {
        $(mod $file;
        use $file::$name;)+

        /// One of the engines, by a number that is not 0.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Engine {
            $($name = $number,)+
        }

        impl Engine {
            /// The engine with this name, as in `ipvsadm --pe`, without a terminating NUL.
            pub(crate) fn by_name(name: &[u8]) -> Option<Self> {
                $(if name == <$name as PersistenceEngine>::NAME.as_bytes() {
                    return Some(Self::$name);
                })+
                None
            }

            /// The engine with this number; `None` for 0.
            pub(crate) fn by_number(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)+
                    _ => None,
                }
            }

            /// See [`PersistenceEngine::NAME`].
            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Self::$name => <$name as PersistenceEngine>::NAME,)+
                }
            }

            /// See [`PersistenceEngine::PROTOCOL`].
            pub(crate) fn protocol(self) -> u8 {
                match self {
                    $(Self::$name => <$name as PersistenceEngine>::PROTOCOL,)+
                }
            }

            /// See [`PersistenceEngine::STARTS_FROM_DEST`].
            pub(crate) fn starts_from_dest(self) -> bool {
                match self {
                    $(Self::$name => <$name as PersistenceEngine>::STARTS_FROM_DEST,)+
                }
            }

            /// See [`PersistenceEngine::data`].
            pub(crate) fn data(self, payload: &[u8]) -> Option<&[u8]> {
                let data = match self {
                    $(Self::$name => <$name as PersistenceEngine>::data(payload),)+
                }?;
                (1..=MAX_LEN).contains(&data.len()).then_some(data)
            }
        }
    };
}

engines! {
    sip::Sip = 1,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        assert_eq!(Engine::by_name(b"sip"), Some(Engine::Sip));
        for name in [&b"SIP"[..], b"", b"si", b"sip2", b"sip\0"] {
            assert_eq!(Engine::by_name(name), None);
        }
        assert_eq!(Engine::by_number(Engine::Sip as u8), Some(Engine::Sip));
        assert_eq!(Engine::by_number(0), None);
        assert_eq!(Engine::Sip.name(), "sip");
    }
}
