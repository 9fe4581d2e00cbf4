// SPDX-License-Identifier: GPL-2.0

//! The specification of a sync daemon and its default values.
//!
//! C version: `struct ipvs_sync_daemon_cfg` [include/net/ip_vs.h], `start_sync_thread()`
//! [net/netfilter/ipvs/ip_vs_sync.c].

use crate::uapi::*;

/// The role of a daemon. In each network namespace at most one daemon runs per role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Sends conns to other directors.
    Master,
    /// Receives conns from other directors.
    Backup,
}

impl Role {
    /// Both roles, in the order in which daemons are listed.
    pub(crate) const ALL: [Self; 2] = [Self::Master, Self::Backup];

    /// Returns the role for an `IP_VS_STATE_*` number, if it is one.
    pub(crate) const fn from_state(state: u32) -> Option<Self> {
        match state {
            IP_VS_STATE_MASTER => Some(Self::Master),
            IP_VS_STATE_BACKUP => Some(Self::Backup),
            _ => None,
        }
    }

    /// The role's `IP_VS_STATE_*` number.
    pub(crate) const fn state(self) -> u32 {
        match self {
            Self::Master => IP_VS_STATE_MASTER,
            Self::Backup => IP_VS_STATE_BACKUP,
        }
    }
}

/// The name of a device, padded with at least one NUL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IfName([u8; IP_VS_IFNAME_MAXLEN]);

impl IfName {
    /// Returns the name in `bytes`, up to the first NUL; `None` if it is longer than 15 bytes.
    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        let len = bytes.iter().position(|byte| *byte == 0);
        let len = len.unwrap_or(bytes.len());
        if len >= IP_VS_IFNAME_MAXLEN {
            return None;
        }
        let mut name = [0; IP_VS_IFNAME_MAXLEN];
        for (to, from) in name.iter_mut().zip(bytes).take(len) {
            *to = *from;
        }
        Some(Self(name))
    }

    /// The name, without a NUL.
    pub(crate) fn bytes(&self) -> &[u8] {
        let len = self.0.iter().position(|byte| *byte == 0);
        len.and_then(|len| self.0.get(..len)).unwrap_or(&self.0)
    }

    /// The name and one NUL.
    pub(crate) fn with_nul(&self) -> &[u8] {
        let len = self.bytes().len().saturating_add(1);
        self.0.get(..len).unwrap_or(&self.0)
    }

    /// The name, padded with NULs.
    pub(crate) fn padded(&self) -> [u8; IP_VS_IFNAME_MAXLEN] {
        self.0
    }
}

/// The multicast group of sync messages, in network byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    V4([u8; 4]),
    V6([u8; 16]),
}

impl Group {
    /// The default group, 224.0.0.81.
    pub(crate) const DEFAULT: Self = Self::V4([224, 0, 0, 81]);

    /// Whether the address is multicast.
    pub(crate) fn is_multicast(&self) -> bool {
        match self {
            Self::V4([first, ..]) => matches!(first, 224..=239),
            Self::V6([first, ..]) => *first == 0xff,
        }
    }

    /// The length of the IP and UDP headers of a message, in bytes.
    fn header_len(&self) -> u16 {
        match self {
            Self::V4(_) => 20 + 8,
            Self::V6(_) => 40 + 8,
        }
    }
}

/// The specification of a daemon, as requested.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DaemonSpec {
    pub(crate) ifn: IfName,
    pub(crate) sync_id: u32,
    /// The maximum length of a message in bytes, without its IP and UDP headers; 0 for the default,
    /// which depends on the MTU.
    pub(crate) maxlen: u16,
    /// `None` for the default.
    pub(crate) group: Option<Group>,
    /// In host byte order; 0 for the default.
    pub(crate) port: u16,
    /// 0 for the default, 1.
    pub(crate) ttl: u8,
}

impl DaemonSpec {
    /// A daemon with default values for all other settings, as socket options start it.
    pub(crate) fn new(ifn: IfName, sync_id: u32) -> Self {
        Self {
            ifn,
            sync_id,
            maxlen: 0,
            group: None,
            port: 0,
            ttl: 0,
        }
    }

    /// Returns the configuration of the daemon in `role` on a device with the MTU `mtu`: fills in
    /// default values and limits `maxlen`.
    pub(crate) fn settle(&self, role: Role, mtu: u32) -> Config {
        let group = self.group.unwrap_or(Group::DEFAULT);
        Config {
            ifn: self.ifn,
            sync_id: self.sync_id,
            maxlen: self.settle_maxlen(role, mtu, group.header_len()),
            group,
            port: match self.port {
                0 => IP_VS_SYNC_PORT,
                port => port,
            },
            ttl: self.ttl.max(1),
        }
    }

    fn settle_maxlen(&self, role: Role, mtu: u32, header_len: u16) -> u16 {
        const USUAL_MTU: u16 = 1500;
        let (least, mtu) = match role {
            Role::Master => (1, USUAL_MTU),
            Role::Backup => (1024, u16::try_from(mtu).unwrap_or(u16::MAX).max(USUAL_MTU)),
        };
        match self.maxlen {
            0 => mtu.saturating_sub(header_len),
            maxlen => maxlen.max(least).min(u16::MAX.saturating_sub(header_len)),
        }
    }
}

/// The configuration of a running daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) ifn: IfName,
    pub(crate) sync_id: u32,
    /// The maximum length of a message in bytes, without its IP and UDP headers.
    pub(crate) maxlen: u16,
    pub(crate) group: Group,
    /// In host byte order.
    pub(crate) port: u16,
    pub(crate) ttl: u8,
}

impl Config {
    /// Whether a daemon with this configuration receives or sends the messages of the `other` one.
    pub(super) fn is_on_group_of(&self, other: &Self) -> bool {
        let of = |config: &Self| (config.ifn, config.group, config.port, config.sync_id);
        of(self) == of(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> DaemonSpec {
        DaemonSpec::new(IfName::new(b"eth0").unwrap(), 7)
    }

    #[test]
    fn roles() {
        for role in Role::ALL {
            assert_eq!(Role::from_state(role.state()), Some(role));
        }
        for state in [0, 3, 4, u32::MAX] {
            assert_eq!(Role::from_state(state), None);
        }
    }

    #[test]
    fn names_of_devices() {
        let name = IfName::new(b"eth0\0junk").unwrap();
        assert_eq!(name, IfName::new(b"eth0").unwrap());
        assert_eq!(
            (name.bytes(), name.with_nul()),
            (&b"eth0"[..], &b"eth0\0"[..])
        );
        assert_eq!(name.padded(), *b"eth0\0\0\0\0\0\0\0\0\0\0\0\0");
        assert_eq!(IfName::new(b"").unwrap().with_nul(), b"\0");
        let longest = IfName::new(&[b'x'; 15]).unwrap();
        assert_eq!((longest.bytes().len(), longest.with_nul().len()), (15, 16));
        assert_eq!(IfName::new(&[b'x'; 16]), None);
    }

    #[test]
    fn groups() {
        for (group, is) in [
            (Group::DEFAULT, true),
            (Group::V4([223, 255, 255, 255]), false),
            (Group::V4([239, 1, 1, 1]), true),
            (Group::V4([240, 0, 0, 0]), false),
            (Group::V6([0xff; 16]), true),
            (Group::V6([0xfe; 16]), false),
        ] {
            assert_eq!(group.is_multicast(), is, "{group:?}");
        }
    }

    #[test]
    fn defaults() {
        let config = spec().settle(Role::Master, 9000);
        assert_eq!(config.group, Group::V4([224, 0, 0, 81]));
        assert_eq!((config.port, config.ttl, config.maxlen), (8848, 1, 1472));
        let said = DaemonSpec {
            group: Some(Group::V6([0xff; 16])),
            port: 9,
            ttl: 255,
            ..spec()
        };
        let config = said.settle(Role::Master, 9000);
        assert_eq!((config.port, config.ttl, config.maxlen), (9, 255, 1452));
    }

    #[test]
    fn daemons_on_the_same_group() {
        let config = spec().settle(Role::Master, 1500);
        assert!(config.is_on_group_of(&spec().settle(Role::Backup, 9000)));
        let others = [
            Config { port: 9, ..config },
            Config {
                sync_id: 8,
                ..config
            },
            Config {
                group: Group::V6([0xff; 16]),
                ..config
            },
            Config {
                ifn: IfName::new(b"eth1").unwrap(),
                ..config
            },
        ];
        assert!(others.iter().all(|other| !config.is_on_group_of(other)));
    }

    #[test]
    fn lengths_of_messages() {
        let settle = |role, maxlen, mtu| DaemonSpec { maxlen, ..spec() }.settle(role, mtu).maxlen;
        for (maxlen, want) in [
            (0, 1472),
            (1, 1),
            (1472, 1472),
            (65507, 65507),
            (65508, 65507),
        ] {
            assert_eq!(settle(Role::Master, maxlen, 576), want);
        }
        for (maxlen, want) in [(1, 1024), (1024, 1024), (1025, 1025), (u16::MAX, 65507)] {
            assert_eq!(settle(Role::Backup, maxlen, 576), want);
        }
        for (mtu, want) in [
            (68, 1472),
            (1500, 1472),
            (1501, 1473),
            (65535, 65507),
            (65536, 65507),
        ] {
            assert_eq!(settle(Role::Backup, 0, mtu), want);
        }
    }
}
