// SPDX-License-Identifier: GPL-2.0

//! The structures that are the values of socket options.
//!
//! Numbers are in host byte order, addresses and ports in network byte order. Padding between
//! fields and at the end is declared as fields. It is 0 unless it was copied from a request.
//!
//! C version: [include/uapi/linux/ip_vs.h].

use crate::addr::{Addr, Family, Port};
use crate::spec::{
    DestId,
    DestSpec,
    FlagsEdit,
    ServiceId,
    ServiceSpec,
    Timeouts,
    Tunnel, //
};
use crate::sync::config::{Config, DaemonSpec, IfName, Role};
use crate::uapi::*;
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The first fields of `struct ip_vs_service_user`, `ip_vs_service_entry` and `ip_vs_get_dests`.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
struct ServiceName {
    protocol: u16,
    padding: [u8; 2],
    addr: [u8; 4],
    port: Port,
    padding_of_port: [u8; 2],
    fwmark: u32,
}

impl ServiceName {
    /// Returns the name. The address of a fwmark service is copied, but not significant.
    fn id(&self) -> ServiceId {
        ServiceId {
            family: Family::Inet,
            protocol: self.protocol,
            addr: Addr::from_v4(self.addr),
            port: self.port,
            fwmark: self.fwmark,
        }
    }

    fn set(&mut self, id: &ServiceId) {
        self.protocol = id.protocol;
        self.addr = id.addr.v4();
        self.port = id.port;
        self.fwmark = id.fwmark;
    }
}

/// `struct ip_vs_service_user`
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(crate) struct ServiceUser {
    name: ServiceName,
    sched_name: [u8; IP_VS_SCHEDNAME_MAXLEN],
    flags: u32,
    timeout: u32,
    netmask: u32,
}

impl ServiceUser {
    /// Returns the name of the service.
    pub(crate) fn id(&self) -> ServiceId {
        self.name.id()
    }

    /// Returns the specification of the service; `None` if the name of the scheduler lacks a NUL.
    pub(crate) fn spec(&self) -> Option<ServiceSpec<'_>> {
        let len = self.sched_name.iter().position(|byte| *byte == 0)?;
        Some(ServiceSpec {
            sched_name: self.sched_name.get(..len)?,
            pe_name: b"",
            flags: FlagsEdit {
                flags: self.flags,
                mask: u32::MAX,
            },
            timeout: self.timeout,
            netmask: self.netmask,
        })
    }
}

/// `struct ip_vs_dest_user`
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(crate) struct DestUser {
    addr: [u8; 4],
    port: Port,
    padding: [u8; 2],
    conn_flags: u32,
    weight: i32,
    u_threshold: u32,
    l_threshold: u32,
}

impl DestUser {
    /// Returns the name of the dest.
    pub(crate) fn id(&self) -> DestId {
        DestId {
            family: Family::Inet,
            addr: Addr::from_v4(self.addr),
            port: self.port,
        }
    }

    /// Returns the specification of the dest.
    pub(crate) fn spec(&self) -> DestSpec {
        DestSpec {
            conn_flags: self.conn_flags,
            weight: self.weight,
            u_threshold: self.u_threshold,
            l_threshold: self.l_threshold,
            tunnel: Tunnel::default(),
        }
    }
}

/// `struct ip_vs_svcdest_user`
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(crate) struct ServiceDestUser {
    pub(crate) service: ServiceUser,
    pub(crate) dest: DestUser,
}

/// `struct ip_vs_timeout_user`
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(crate) struct TimeoutUser {
    tcp: u32,
    tcp_fin: u32,
    udp: u32,
}

impl TimeoutUser {
    /// Returns the timeouts, in seconds.
    pub(crate) fn timeouts(&self) -> Timeouts {
        Timeouts {
            tcp: self.tcp,
            tcp_fin: self.tcp_fin,
            udp: self.udp,
        }
    }

    /// Encodes timeouts in seconds.
    pub(crate) fn of(timeouts: Timeouts) -> Self {
        Self {
            tcp: timeouts.tcp,
            tcp_fin: timeouts.tcp_fin,
            udp: timeouts.udp,
        }
    }
}

/// `struct ip_vs_daemon_user`; all fields are 0 for a daemon that does not run.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(crate) struct DaemonUser {
    /// `IP_VS_STATE_MASTER` or `IP_VS_STATE_BACKUP`.
    pub(crate) state: u32,
    mcast_ifn: [u8; IP_VS_IFNAME_MAXLEN],
    sync_id: u32,
}

impl DaemonUser {
    /// Returns the specification of the daemon; `None` if the device name is empty or lacks a NUL.
    pub(crate) fn spec(&self) -> Option<DaemonSpec> {
        let ifn = IfName::new(&self.mcast_ifn)?;
        (!ifn.bytes().is_empty()).then(|| DaemonSpec::new(ifn, self.sync_id))
    }

    /// Encodes a running daemon.
    pub(crate) fn of(role: Role, config: &Config) -> Self {
        Self {
            state: role.state(),
            mcast_ifn: config.ifn.padded(),
            sync_id: config.sync_id,
        }
    }
}

/// `struct ip_vs_getinfo`
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(crate) struct GetInfo {
    /// `IP_VS_VERSION_CODE`.
    pub(crate) version: u32,
    /// The number of buckets of the conn table.
    pub(crate) size: u32,
    pub(crate) num_services: u32,
}

/// `struct ip_vs_stats_user`
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(crate) struct StatsUser {
    pub(crate) conns: u32,
    pub(crate) inpkts: u32,
    pub(crate) outpkts: u32,
    pub(crate) padding: u32,
    pub(crate) inbytes: u64,
    pub(crate) outbytes: u64,
    pub(crate) cps: u32,
    pub(crate) inpps: u32,
    pub(crate) outpps: u32,
    pub(crate) inbps: u32,
    pub(crate) outbps: u32,
    pub(crate) padding_at_end: u32,
}

/// `struct ip_vs_service_entry`
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(crate) struct ServiceEntry {
    name: ServiceName,
    sched_name: [u8; IP_VS_SCHEDNAME_MAXLEN],
    pub(crate) flags: u32,
    /// In seconds.
    pub(crate) timeout: u32,
    pub(crate) netmask: u32,
    pub(crate) num_dests: u32,
    pub(crate) stats: StatsUser,
}

impl ServiceEntry {
    /// Sets the name of the service and the name of its scheduler, truncated if necessary. Padding
    /// and the bytes after the scheduler's NUL are unchanged.
    pub(crate) fn set(&mut self, id: &ServiceId, sched_name: &str) {
        self.name.set(id);
        let room = self.sched_name.len().saturating_sub(1);
        let name = Iterator::chain(sched_name.bytes().take(room), [0]);
        for (to, from) in self.sched_name.iter_mut().zip(name) {
            *to = from;
        }
    }

    /// Returns the name of the service.
    pub(crate) fn id(&self) -> ServiceId {
        self.name.id()
    }
}

/// `struct ip_vs_dest_entry`
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(crate) struct DestEntry {
    addr: [u8; 4],
    port: Port,
    padding: [u8; 2],
    pub(crate) conn_flags: u32,
    pub(crate) weight: i32,
    pub(crate) u_threshold: u32,
    pub(crate) l_threshold: u32,
    pub(crate) activeconns: u32,
    pub(crate) inactconns: u32,
    pub(crate) persistconns: u32,
    padding_of_stats: u32,
    pub(crate) stats: StatsUser,
}

impl DestEntry {
    /// Returns an entry with the name of a dest; other fields are 0.
    pub(crate) fn new(id: &DestId) -> Self {
        Self {
            addr: id.addr.v4(),
            port: id.port,
            ..Self::default()
        }
    }
}

/// `struct ip_vs_get_services` without the entries that follow it.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(crate) struct GetServices {
    pub(crate) num_services: u32,
    padding: u32,
}

impl GetServices {
    /// The size in bytes, including the entries.
    pub(crate) fn size(&self) -> usize {
        struct_size::<Self, ServiceEntry>(self.num_services)
    }
}

/// `struct ip_vs_get_dests` without the entries that follow it.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(crate) struct GetDests {
    name: ServiceName,
    pub(crate) num_dests: u32,
    padding: u32,
}

impl GetDests {
    /// Returns the name of the service.
    pub(crate) fn id(&self) -> ServiceId {
        self.name.id()
    }

    /// The size in bytes, including the entries.
    pub(crate) fn size(&self) -> usize {
        struct_size::<Self, DestEntry>(self.num_dests)
    }
}

/// The size in bytes of a `Head` followed by `count` entries. Saturates.
fn struct_size<Head, Entry>(count: u32) -> usize {
    size_of::<Entry>()
        .saturating_mul(count as usize)
        .saturating_add(size_of::<Head>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::{align_of, offset_of};
    use zerocopy::{FromBytes, IntoBytes};

    const NAME: [u8; 16] = [6, 0, 0, 0, 192, 168, 1, 110, 0, 80, 0, 0, 7, 0, 0, 0];

    fn id() -> ServiceId {
        ServiceId {
            family: Family::Inet,
            protocol: 6,
            addr: Addr::from_v4([192, 168, 1, 110]),
            port: Port::new(80),
            fwmark: 7,
        }
    }

    #[test]
    fn sizes() {
        let sizes = [
            (size_of::<ServiceUser>(), 44),
            (size_of::<DestUser>(), 24),
            (size_of::<ServiceDestUser>(), 68),
            (size_of::<TimeoutUser>(), 12),
            (size_of::<DaemonUser>(), 24),
            (size_of::<GetInfo>(), 12),
            (size_of::<StatsUser>(), 56),
            (size_of::<ServiceEntry>(), 104),
            (size_of::<DestEntry>(), 96),
            (size_of::<GetServices>(), 8),
            (size_of::<GetDests>(), 24),
            (offset_of!(StatsUser, inbytes), 16),
            (offset_of!(ServiceEntry, stats), 48),
            (offset_of!(DestEntry, stats), 40),
            (align_of::<ServiceDestUser>(), 4),
        ];
        for (got, want) in sizes {
            assert_eq!(got, want);
        }
    }

    #[test]
    fn tables() {
        let services = |num_services| {
            GetServices {
                num_services,
                padding: 0,
            }
            .size()
        };
        assert_eq!((services(0), services(3)), (8, 8 + 3 * 104));
        assert_eq!(services(u32::MAX), 8 + 104 * u32::MAX as usize);
        let dests = GetDests {
            num_dests: 2,
            ..GetDests::default()
        };
        assert_eq!(dests.size(), 24 + 2 * 96);
    }

    #[test]
    fn service() {
        let mut bytes = [0; 44];
        bytes[..16].copy_from_slice(&NAME);
        bytes[16..20].copy_from_slice(b"wlc\0");
        bytes[32..44].copy_from_slice(&[5, 0, 0, 0, 44, 1, 0, 0, 255, 255, 255, 0]);
        let user = ServiceUser::read_from_bytes(&bytes).unwrap();
        assert_eq!(user.id(), id());
        let spec = user.spec().unwrap();
        assert_eq!((spec.sched_name, spec.timeout), (&b"wlc"[..], 300));
        assert_eq!(spec.netmask.to_ne_bytes(), [255, 255, 255, 0]);
        assert_eq!(spec.flags.apply(u32::MAX), 5 | IP_VS_SVC_F_HASHED);
        bytes[16..32].fill(b'x');
        assert!(ServiceUser::read_from_bytes(&bytes)
            .unwrap()
            .spec()
            .is_none());
    }

    #[test]
    fn dest() {
        let bytes = [
            10, 1, 1, 11, 0x1f, 0x90, 0, 0, 3, 0, 0, 0, 255, 255, 255, 255, 9, 0, 0, 0, 4, 0, 0, 0,
        ];
        let user = DestUser::read_from_bytes(&bytes).unwrap();
        let (id, spec) = (user.id(), user.spec());
        assert_eq!(
            (id.addr, id.port),
            (Addr::from_v4([10, 1, 1, 11]), Port::new(8080))
        );
        assert_eq!((spec.conn_flags, spec.weight), (3, -1));
        assert_eq!((spec.u_threshold, spec.l_threshold), (9, 4));
        let entry = DestEntry::new(&id);
        assert_eq!(entry.as_bytes()[..8], bytes[..8]);
    }

    #[test]
    fn daemon() {
        let mut bytes = [0; 24];
        bytes[0] = 1;
        bytes[4..9].copy_from_slice(b"eth0\0");
        bytes[20] = 9;
        let user = DaemonUser::read_from_bytes(&bytes).unwrap();
        let config = user.spec().unwrap().settle(Role::Master, 1500);
        assert_eq!((config.ifn.bytes(), config.sync_id), (&b"eth0"[..], 9));
        assert_eq!(DaemonUser::of(Role::Master, &config).as_bytes(), bytes);
        bytes[4] = 0;
        assert!(DaemonUser::read_from_bytes(&bytes)
            .unwrap()
            .spec()
            .is_none());
        bytes[4..20].fill(b'x');
        assert!(DaemonUser::read_from_bytes(&bytes)
            .unwrap()
            .spec()
            .is_none());
    }

    #[test]
    fn service_entries() {
        let entry = |name| {
            let mut entry = ServiceEntry::default();
            entry.set(&id(), name);
            entry
        };
        let long = entry("a name of more than 15 bytes");
        let entry = entry("lblcr");
        assert_eq!(entry.id(), id());
        let bytes = entry.as_bytes();
        assert_eq!(bytes[..16], NAME);
        assert_eq!(bytes[16..32], *b"lblcr\0\0\0\0\0\0\0\0\0\0\0");
        assert_eq!(long.as_bytes()[16..32], *b"a name of more \0");
    }
}
