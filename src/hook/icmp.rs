// SPDX-License-Identifier: GPL-2.0

//! ICMP errors about the packets of conns.
//!
//! C version: `ip_vs_in_icmp()`, `ip_vs_out_icmp()`, and the IPv6 variants
//! [net/netfilter/ipvs/ip_vs_core.c].
//!
//! An error quotes the start of the packet that caused it, which went in the opposite direction.
//! After parsing, source and destination of the quoted packet are exchanged, so that the conn
//! lookup is the same as for other packets. With the sysctl `schedule_icmp`, an error about a
//! packet from a service that belongs to no conn starts one.

use super::{
    decap::Tunnelled,
    HookCtx, //
};
use crate::{
    addr::Family,
    conn::{
        Conn,
        ConnRef, //
    },
    forward::Forward,
    oot::net::{
        filter::{
            HookNum,
            HookSkb,
            Verdict, //
        },
        ip::{
            self,
            IcmpError, //
        },
        skbuff::{
            SkBuff,
            Skb, //
        }, //
    },
    packet::{
        Extent,
        Packet, //
    },
    proto::{
        direction::Direction,
        Proto, //
    },
    uapi::{
        IPPROTO_ICMP,
        IPPROTO_ICMPV6, //
    },
    wire::{
        icmp,
        icmpv6,
        ipv4, //
    },
    xmit, //
};

/// The length in bytes of the header of an ICMP or ICMPv6 error. The quoted packet follows.
const ICMP_LEN: u32 = size_of::<icmp::Header>() as u32;

/// The smallest MTU in bytes that is reported to a client, as in C.
const MIN_MTU: u32 = 68;

/// An ICMP error about a packet that was sent through a tunnel.
struct TunnelError<'p> {
    /// The ICMP header, as read when it was checked.
    header: icmp::Header,
    /// The type of the error.
    error: IcmpError,
    /// The packet that carries the error.
    outer: &'p Packet,
    /// The quoted outer header, which the tunnel added.
    tunnel: &'p Packet,
    /// The quoted inner packet.
    inner: Packet,
}

impl<'a> HookCtx<'a> {
    /// Handles an ICMP packet. An error about a packet of a conn is translated.
    #[cold]
    pub(super) fn icmp<'h>(self, mut skb: HookSkb<'h>, outer: &mut Packet) -> Verdict<'h> {
        if outer.is_fragment && outer.family == Family::Inet {
            skb = match self.defrag(skb, outer) {
                Ok(skb) => skb,
                Err(verdict) => return verdict,
            };
        }
        match outer.family {
            Family::Inet => self.icmp4(skb, outer),
            Family::Inet6 => self.icmp6(skb, outer),
        }
    }

    fn icmp4<'h>(self, skb: HookSkb<'h>, outer: &Packet) -> Verdict<'h> {
        let Some(header) = skb.read::<icmp::Header>(outer.transport) else {
            return skb.drop_eperm();
        };
        let Some(error) = IcmpError::from_type(header.kind) else {
            return self.pass(skb);
        };
        let start = outer.transport.wrapping_add(ICMP_LEN);
        let Some(quoted) = Packet::parse_inside(&skb, outer.family, start) else {
            return skb.accept();
        };
        let tunnelled = self.tunnelled(&skb, &quoted);
        let found = tunnelled
            .as_ref()
            .and_then(|tunnelled| self.conn_of_tunnelled(&skb, &quoted, tunnelled));
        if let Some((conn, inner)) = found {
            let error = TunnelError {
                header,
                error,
                outer,
                tunnel: &quoted,
                inner,
            };
            return self.relay_tunnel_error(skb, &error, conn);
        }
        // The quoted packet is in a tunnel to a dest, so it is not from a service.
        if tunnelled.is_some_and(|tunnelled| self.is_tunnel_to_dest(&quoted, &tunnelled)) {
            return skb.accept();
        }
        self.translate(skb, &quoted.swapped().inside(outer))
    }

    fn icmp6<'h>(self, skb: HookSkb<'h>, outer: &Packet) -> Verdict<'h> {
        let Some(header) = skb.read::<icmpv6::Header>(outer.transport) else {
            return skb.drop_eperm();
        };
        if header.is_info() {
            return self.pass(skb);
        }
        // ICMPv6 errors are never fragmented.
        if outer.is_fragment {
            return skb.drop_eperm();
        }
        let start = outer.transport.wrapping_add(ICMP_LEN);
        match Packet::parse_inside(&skb, outer.family, start) {
            Some(quoted) => self.translate(skb, &quoted.swapped().inside(outer)),
            None => skb.accept(),
        }
    }

    /// Handles an error about a packet.
    fn translate<'h>(self, skb: HookSkb<'h>, inner: &Packet) -> Verdict<'h> {
        if inner.is_ipsec() {
            return self.related_error(skb, inner);
        }
        let Some(proto) = inner.proto.filter(|_| !inner.is_later_fragment) else {
            return skb.accept();
        };
        let conn = match inner.header {
            Extent::Nothing => None,
            Extent::Ports | Extent::Whole => self.netns.conns.find(self.rcu(), inner),
        };
        match conn {
            Some((Direction::Output, conn)) => self.icmp_out(skb, inner, conn),
            _ if !self.may_translate_in(&skb) => skb.accept(),
            Some((_, conn)) => self.icmp_in(skb, inner, conn),
            None => self.without_conn_icmp(skb, inner, proto),
        }
    }

    /// Handles an error to a dest about a packet that matches no conn. It may belong to one without
    /// client port.
    fn without_conn_icmp<'h>(self, skb: HookSkb<'h>, inner: &Packet, proto: Proto) -> Verdict<'h> {
        let conns = &self.netns.conns;
        let has_ports = inner.header != Extent::Nothing;
        if has_ports && conns.has_portless(inner.family) {
            if let Some(conn) = conns.find_portless(self.rcu(), inner) {
                return self.icmp_in(skb, inner, conn);
            }
        }
        match self.netns.sysctl.schedule_icmp() {
            false => skb.accept(),
            true if has_ports => self.start(skb, inner, proto),
            true => skb.drop_eperm(),
        }
    }

    /// Whether an error to a dest is handled at this hook. Unlike requests, errors are handled at
    /// the forward hook, too.
    pub(super) fn may_translate_in(self, skb: &HookSkb<'_>) -> bool {
        (self.place == HookNum::Forward || self.may_request(skb))
            && !self.netns.sync.is_backup_only()
    }

    /// Handles an error from a dest, or a router on the path to it, to a client.
    pub(super) fn icmp_out<'h>(
        self,
        mut skb: HookSkb<'h>,
        inner: &Packet,
        conn: ConnRef<'a>,
    ) -> Verdict<'h> {
        let context = self.context_of(conn, inner);
        if !may_translate(conn.get(), inner, &mut skb) {
            return skb.drop_eperm();
        }
        if conn.has_local() {
            // The error was sent to this host.
            self.count_out(context.dest, &skb);
            return xmit::reply::send_to_client(context, skb);
        }
        if xmit::reply::translate(context, &mut skb).is_none() {
            return skb.drop_eperm();
        }
        self.count_out(context.dest, &skb);
        xmit::reply::send(context, skb)
    }

    /// Handles an error from a client, or a router on the path to it, to a dest.
    pub(super) fn icmp_in<'h>(
        self,
        mut skb: HookSkb<'h>,
        inner: &Packet,
        conn: ConnRef<'a>,
    ) -> Verdict<'h> {
        if !may_translate(conn.get(), inner, &mut skb) {
            return skb.drop_eperm();
        }
        if conn.forward() != Forward::Masq {
            conn.count_packet();
        }
        let context = self.context_of(conn, inner);
        if let Some(dest) = context.dest.filter(|dest| dest.is_available()) {
            self.count_in(dest, &skb);
        }
        xmit::transmit(context, skb)
    }

    /// The tunnel headers of a quoted packet, if it may have been sent through a tunnel by this
    /// host. An error about such a packet is sent to this host.
    fn tunnelled(self, skb: &Skb, quoted: &Packet) -> Option<Tunnelled> {
        if self.place != HookNum::LocalIn || !skb.dst()?.is_local(self.rcu()) {
            return None;
        }
        if self.netns.sync.is_backup_only() {
            return None;
        }
        Tunnelled::read(skb, quoted)
    }

    /// Whether a dest has the tunnel through which a packet was sent. Of the other types, no packet
    /// belongs to a service.
    fn is_tunnel_to_dest(self, quoted: &Packet, tunnelled: &Tunnelled) -> bool {
        tunnelled.gue_port().is_some_and(|port| {
            let end = (&quoted.daddr, port);
            self.netns.reals.has_gue(self.rcu(), quoted.family, end)
        })
    }

    /// The conn and the inner packet of a quoted packet that was sent through a tunnel to a dest.
    fn conn_of_tunnelled(
        self,
        skb: &Skb,
        quoted: &Packet,
        tunnelled: &Tunnelled,
    ) -> Option<(ConnRef<'a>, Packet)> {
        let inner = Packet::parse_inside(skb, quoted.family, tunnelled.inner).filter(has_ports)?;
        let conn = self.netns.conns.find_in(self.rcu(), &inner)?;
        let dest = conn.get().dest(self.rcu())?;
        let is_ours = conn.forward() == Forward::Tunnel
            && dest.family == quoted.family
            && conn.daddr == quoted.daddr
            && tunnelled.is_by(dest.tunnel());
        is_ours.then_some((conn, inner))
    }

    /// Relays an error about a packet that was sent through a tunnel to the sender of the inner
    /// packet, quoting the inner packet.
    fn relay_tunnel_error<'h>(
        self,
        mut skb: HookSkb<'h>,
        error: &TunnelError<'_>,
        conn: ConnRef<'a>,
    ) -> Verdict<'h> {
        if !has_valid_checksum(&mut skb, error.outer.family, error.outer.transport) {
            return skb.drop_eperm();
        }
        let (mut skb, verdict) = skb.steal();
        if self.send_inner_error(&mut skb, error, conn).is_some() {
            self.count_out(conn.get().dest(self.rcu()), &skb);
        }
        skb.consume();
        verdict
    }

    /// Sends the error to the sender of the inner packet. `None` if no error is sent.
    fn send_inner_error(
        self,
        skb: &mut SkBuff<'_>,
        error: &TunnelError<'_>,
        conn: ConnRef<'a>,
    ) -> Option<()> {
        let TunnelError {
            header,
            tunnel,
            inner,
            ..
        } = error;
        let net = self.netns.net();
        let overhead = inner.start.checked_sub(tunnel.start)?;
        let mut info = u32::from(header.id.get()) << 16 | u32::from(header.mtu.get());
        let mut pulled = 0;
        if header.is_frag_needed() {
            let mut mtu = u32::from(header.mtu.get());
            skb.pull_to_network(tunnel.start).ok()?;
            pulled = tunnel.start;
            ip::update_pmtu4(net, skb, mtu);
            // The client does no path MTU discovery.
            if !inner.is_dont_fragment {
                return None;
            }
            let dest = conn.get().dest(self.rcu());
            if let Some(known) = dest.and_then(|dest| dest.route.mtu(self.rcu())) {
                mtu = known;
            }
            if mtu > MIN_MTU.saturating_add(overhead) {
                mtu = mtu.saturating_sub(overhead);
            }
            info = mtu;
        }
        skb.pull_to_network(inner.start.checked_sub(pulled)?).ok()?;
        let len = inner.transport.checked_sub(inner.start)?;
        if !skb.may_pull(len) {
            return None;
        }
        skb.set_transport_header(len).ok()?;
        // Checked again: the header may be in a page that user space can write.
        if skb.read::<ipv4::Header>(0)?.len() as u32 != len {
            return None;
        }
        ip::icmp_send(skb, error.error, header.code, info);
        Some(())
    }
}

/// Whether the conn does not translate errors, or the checksum of this one is valid.
pub(super) fn may_translate(conn: &Conn, inner: &Packet, skb: &mut HookSkb<'_>) -> bool {
    conn.forward() != Forward::Masq || has_valid_checksum(skb, inner.family, inner.network_len())
}

fn has_valid_checksum(skb: &mut HookSkb<'_>, family: Family, transport: u32) -> bool {
    let proto = match family {
        Family::Inet => IPPROTO_ICMP,
        Family::Inet6 => IPPROTO_ICMPV6,
    };
    skb.has_valid_checksum(transport, proto)
}

/// Whether a quoted packet is of a supported protocol and includes the ports.
fn has_ports(packet: &Packet) -> bool {
    !packet.is_later_fragment && packet.header != Extent::Nothing
}
