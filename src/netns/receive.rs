// SPDX-License-Identifier: GPL-2.0

//! Conns that a backup daemon receives.
//!
//! C version: `ip_vs_proc_conn()` [net/netfilter/ipvs/ip_vs_sync.c], `ip_vs_find_dest()`
//! [net/netfilter/ipvs/ip_vs_ctl.c].

use super::Netns;
use crate::{
    addr::Port,
    conn::{
        local::Local,
        table::{
            Birth,
            Received, //
        },
        template,
        Conn,
        ConnRef,
        Params, //
    },
    dest::Dest,
    oot::{
        net::pernet::{
            PerNet,
            Ref, //
        },
        sync::{
            bh,
            RcuRef, //
        },
        time::HZ, //
    },
    pe::Engine,
    proto::Proto,
    spec::{
        DestId,
        ServiceId, //
    },
    sync::{
        message::{
            PeData,
            Record, //
        },
        Receive, //
    },
    uapi::*, //
};
use kernel::sync::rcu;

/// The timeout in seconds of a received template whose message has none.
const TEMPLATE_TIMEOUT: u32 = 3 * 60;

impl Receive for Ref<Netns> {
    fn states(protocol: u8) -> Option<u16> {
        Proto::of(protocol).map(Proto::states)
    }

    /// As in C, a conn of a dest that is not configured is added without the dest. It gets the dest
    /// with the first message after the dest was added.
    ///
    /// A conn of an unknown persistence engine and a template of an unsupported protocol are
    /// ignored.
    fn receive(&self, record: &Record<'_>) {
        let Some(params) = params(self, record) else {
            return;
        };
        let received = Received {
            state: record.state as u8,
            is_inactive: record.flags & IP_VS_CONN_F_INACTIVE != 0,
            timeout: timeout(self, record, params.proto),
            packets: self.sysctl.sync_threshold(),
            seq_flags: record.flags & IP_VS_CONN_F_SEQ_MASK,
            seq: record.seq,
            idle: record.idle.map_or(0, ms_to_jiffies),
        };
        if received.idle > 0 && received.idle >= received.timeout {
            return;
        }
        let guard = rcu::read_lock();
        match find(self, record, &params, &guard) {
            Found::Ignored => (),
            Found::Conn(conn) if Conn::update(conn, received, &guard) => (),
            Found::Conn(_) | Found::None => {
                let dest = find_dest(self, record, &guard);
                let birth = Birth::Received(received);
                let added = self.conns.add(&guard, &params, dest, None, birth);
                let added = added.filter(|conn| !has_double(self, *conn, &guard));
                if let (Some(conn), 1..) = (added, received.idle) {
                    Conn::start_timer(conn);
                }
            }
        }
    }
}

/// Whether a conn that was added has the local end of another one that is not received. Then it is
/// killed. If the other one is received, the master has ended that without a message.
fn has_double(netns: &Netns, conn: ConnRef<'_>, guard: &rcu::Guard) -> bool {
    if !conn.has_local() {
        return false;
    }
    let Some(other) = netns.conns.double_of(guard, conn) else {
        return false;
    };
    let is_ours = !other.is_received();
    Conn::kill(if is_ours { conn } else { other }, guard);
    is_ours
}

/// A time in jiffies.
fn ms_to_jiffies(ms: u32) -> u32 {
    u64::from(ms).wrapping_mul(HZ as u64).div_ceil(1000) as u32
}

/// The parameters of a conn. `None` if its protocol or persistence engine is not supported.
fn params<'a>(netns: &Netns, record: &'a Record<'_>) -> Option<Params<'a>> {
    let mut flags = record.flags;
    if netns.sysctl.conntrack() {
        flags |= IP_VS_CONN_F_NFCT;
    }
    let proto = match record.protocol {
        0 if record.is_template() => {
            flags |= template::BY_MARK;
            Proto::Tcp
        }
        protocol => Proto::of(protocol)?,
    };
    let pe = match record.pe {
        Some(PeData { name, data }) => Some((Engine::by_name(name)?, data)),
        None => None,
    };
    Some(Params {
        family: record.family,
        proto,
        caddr: &record.caddr,
        cport: record.cport,
        vaddr: &record.vaddr,
        vport: record.vport,
        daddr: &record.daddr,
        dport: record.dport,
        local: local(record),
        pe,
        fwmark: record.fwmark,
        flags,
        hash: None,
    })
}

/// The local end of a conn. Only one with NAT can have one.
fn local(record: &Record<'_>) -> Option<Local> {
    let (addr, port) = record.local?;
    let is_nat = record.flags & IP_VS_CONN_F_FWD_MASK == IP_VS_CONN_F_MASQ;
    let has_client_port = record.flags & IP_VS_CONN_F_NO_CPORT == 0;
    (is_nat && has_client_port && !record.is_template()).then_some(Local {
        addr,
        port,
        bit: None,
        has_toa: false,
    })
}

/// The timeout in jiffies.
fn timeout(netns: &Netns, record: &Record<'_>, proto: Proto) -> u32 {
    match record.timeout {
        0 if record.is_template() => TEMPLATE_TIMEOUT.saturating_mul(HZ as u32),
        0 => proto.timeout(&netns.protocols, record.state as u8),
        seconds => seconds.saturating_mul(HZ as u32),
    }
}

/// The conn in a message.
enum Found<'g> {
    Conn(ConnRef<'g>),
    None,
    /// The message is older than the conn between the same ends.
    Ignored,
}

/// Finds the conn or template. If it has no dest, but the dest is configured now, binds it to the
/// dest.
fn find<'g>(
    netns: &'g PerNet<Netns>,
    record: &Record<'_>,
    params: &Params<'_>,
    guard: &'g rcu::Guard,
) -> Found<'g> {
    let found = match record.is_template() {
        true => netns.conns.find_template(guard, params),
        false => netns.conns.find_conn(guard, params),
    };
    let Some(conn) = found else {
        return Found::None;
    };
    let is_same = conn.get().dest_end() == (&record.daddr, record.dport)
        && conn.get().local(guard) == params.local.as_ref().map(Local::end);
    // Conns with later packets are newer than those of an answer to a request for all conns.
    if record
        .idle
        .is_some_and(|ms| !conn.is_idle_since(ms_to_jiffies(ms)))
    {
        return Found::Ignored;
    }
    if !record.is_template() && !is_same {
        if record.flags & IP_VS_CONN_F_INACTIVE != 0 {
            return Found::Ignored;
        }
        Conn::kill(conn, guard);
        return Found::None;
    }
    if conn.is_unbound() {
        if let Some(dest) = find_dest(netns, record, guard) {
            return bind(netns, conn, dest, guard);
        }
    }
    Found::Conn(conn)
}

/// Binds a conn without a dest to a dest. If only one of them has NAT, kills the conn instead; the
/// caller adds a new one.
fn bind<'g>(
    netns: &'g PerNet<Netns>,
    conn: ConnRef<'g>,
    dest: RcuRef<'g, Dest>,
    guard: &'g rcu::Guard,
) -> Found<'g> {
    let _bh = bh::Disabled::new();
    let _binding = netns.binding.lock();
    if !conn.may_be_bound(&dest) {
        Conn::kill(conn, guard);
        return Found::None;
    }
    if conn.is_unbound() {
        Conn::bind(conn, dest, guard);
    }
    Found::Conn(conn)
}

/// The dest of a conn, if it is configured. A dest of a fwmark service may have port 0, and the
/// conn the port that the client used.
fn find_dest<'g>(
    netns: &'g PerNet<Netns>,
    record: &Record<'_>,
    guard: &'g rcu::Guard,
) -> Option<RcuRef<'g, Dest>> {
    let id = ServiceId {
        family: record.family,
        protocol: record.protocol.into(),
        addr: record.vaddr,
        port: record.vport,
        fwmark: record.fwmark,
    };
    let service = netns.services.find(guard, netns.net(), id)?;
    let is_nat = record.flags & IP_VS_CONN_F_FWD_MASK == IP_VS_CONN_F_MASQ;
    let any = record.fwmark != 0 && !is_nat;
    let ports = match any {
        true => [Port::ZERO, record.dport],
        false => [record.dport, Port::ZERO],
    };
    let pool = service.pool(guard)?;
    ports.into_iter().find_map(|port| {
        let id = DestId {
            family: record.family,
            addr: record.daddr,
            port,
        };
        let found = pool.dests().iter().find(|dest| dest.is(&id));
        found.map(|dest| dest.as_rcu())
    })
}
