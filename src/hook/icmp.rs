// SPDX-License-Identifier: GPL-2.0

//! ICMP errors about the packets of conns.
//!
//! C version: `ip_vs_in_icmp()`, `ip_vs_out_icmp()`, and their like for IPv6
//! [net/netfilter/ipvs/ip_vs_core.c].
//!
//! An error carries the start of the packet that caused it, which went the other way. It is parsed
//! as if it went the error's way, so that it is looked up as any packet.
//!
//! # Not supported
//!
//! `schedule_icmp`: an error about a packet without conn goes on its way.

use super::{
    Call,
    Place, //
};
use crate::{
    addr::Family,
    conn::ConnRef,
    forward::Forward,
    oot::net::{
        filter::{
            HookSkb,
            Verdict, //
        },
        ip,
        skbuff::Skb,
        tunnel, //
    },
    packet::Packet,
    proto::{
        direction::Direction,
        Proto,
        IPPROTO_ICMP,
        IPPROTO_ICMPV6, //
    },
    uapi::IP_VS_CONN_F_TUNNEL_TYPE_IPIP,
    wire::{
        icmp,
        icmpv6,
        ipv4,
        ipv6, //
    },
    xmit::{
        self,
        nat::End, //
    }, //
};

/// The length of the header of an ICMP error, before the packet that it is about.
const ICMP_LEN: u32 = size_of::<icmp::Header>() as u32;

/// The least MTU that a client is told of, as C has it.
const MIN_MTU: u32 = 68;

impl<'a> Call<'a> {
    /// An ICMP packet: an error is translated if it is about a conn's packet.
    #[cold]
    pub(super) fn icmp<'h>(self, mut skb: HookSkb<'h>, mut outer: Packet) -> Verdict<'h> {
        if outer.is_fragment && self.family == Family::Inet {
            skb = match self.defrag(skb) {
                Ok(skb) => skb,
                Err(verdict) => return verdict,
            };
            match Packet::parse(&skb, self.family, 0) {
                Some(whole) => outer = whole,
                None => return skb.accept(),
            }
        }
        match self.is_error(&skb, &outer) {
            Some(true) => (),
            Some(false) => return skb.accept(),
            None => return skb.drop(),
        }
        // IPv6: an error is never sent in fragments.
        if outer.is_fragment {
            return skb.drop();
        }
        let start = outer.transport.wrapping_add(ICMP_LEN);
        if let Some((inner, proto)) = self.packet_inside(&skb, start) {
            return self.translate(skb, &outer, inner, proto);
        }
        match self.family {
            Family::Inet if self.place == Place::LocalIn => self.tunnel_error(skb, &outer, start),
            _ => skb.accept(),
        }
    }

    /// Whether it is an error; `None` if it has no whole ICMP header.
    fn is_error(self, skb: &Skb, outer: &Packet) -> Option<bool> {
        match self.family {
            Family::Inet => {
                let header: icmp::Header = skb.read(outer.transport)?;
                Some(header.is_error())
            }
            Family::Inet6 => {
                let header: icmpv6::Header = skb.read(outer.transport)?;
                Some(!header.is_info())
            }
        }
    }

    /// The packet at `start`, of a protocol that is balanced, if it has its ports.
    fn packet_inside(self, skb: &Skb, start: u32) -> Option<(Packet, Proto)> {
        let inner = Packet::parse(skb, self.family, start)?.inside_icmp();
        let proto = Proto::of(inner.protocol)?;
        let is_sound = match self.family {
            Family::Inet => {
                let header: ipv4::Header = skb.read(start)?;
                header.version() == 4 && header.len() >= ipv4::MIN_LEN
            }
            Family::Inet6 => skb.read::<ipv6::Header>(start)?.version() == 6,
        };
        if !is_sound {
            return None;
        }
        (!inner.is_later_fragment).then_some((inner, proto))
    }

    /// An error about a packet of TCP or UDP.
    fn translate<'h>(
        self,
        skb: HookSkb<'h>,
        outer: &Packet,
        inner: Packet,
        proto: Proto,
    ) -> Verdict<'h> {
        let Some(ports) = inner.ports(&skb, proto) else {
            return skb.accept();
        };
        let (inner, ports) = (inner.swapped(), ports.swapped());
        match self.netns.conns.find(self.rcu, &inner, &ports) {
            Some((Direction::Output, conn)) => self.icmp_out(skb, outer, &inner, conn),
            Some((_, conn)) if self.may_translate_in(&skb) => {
                self.icmp_in(skb, outer, &inner, conn)
            }
            _ => skb.accept(),
        }
    }

    /// Errors to dests are handled on their way through, too.
    fn may_translate_in(self, skb: &HookSkb<'_>) -> bool {
        self.place == Place::Forward || self.may_request(skb)
    }

    /// An error from a dest, or a router near it, to a client.
    fn icmp_out<'h>(
        self,
        mut skb: HookSkb<'h>,
        outer: &Packet,
        inner: &Packet,
        conn: ConnRef<'a>,
    ) -> Verdict<'h> {
        if conn.forward() == Forward::Masq {
            if !self.has_valid_checksum(&mut skb, outer)
                || xmit::icmp::rewrite(conn.get(), outer, inner, End::Source, &mut skb).is_none()
                || self.reroute(&mut skb).is_none()
            {
                return skb.drop();
            }
        }
        self.count_out(conn, &skb);
        skb.set_ipvs_property();
        skb.notrack();
        skb.accept()
    }

    /// An error from a client, or a router near it, to a dest.
    fn icmp_in<'h>(
        self,
        mut skb: HookSkb<'h>,
        outer: &Packet,
        inner: &Packet,
        conn: ConnRef<'a>,
    ) -> Verdict<'h> {
        if conn.forward() == Forward::Masq && !self.has_valid_checksum(&mut skb, outer) {
            return skb.drop();
        }
        self.count_in(&conn, &skb);
        let context = self.context(conn, inner);
        xmit::icmp::transmit(context, outer, self.place == Place::Forward, skb)
    }

    fn has_valid_checksum(self, skb: &mut HookSkb<'_>, outer: &Packet) -> bool {
        let proto = match self.family {
            Family::Inet => IPPROTO_ICMP,
            Family::Inet6 => IPPROTO_ICMPV6,
        };
        skb.has_valid_checksum(outer.transport, proto, self.family.af() as u8)
    }

    /// An error about a packet that we put into a tunnel: its own sender is told, as if the error
    /// were about that.
    fn tunnel_error<'h>(self, skb: HookSkb<'h>, outer: &Packet, start: u32) -> Verdict<'h> {
        let Some(tunnel) = Packet::parse(&skb, self.family, start) else {
            return skb.accept();
        };
        let known = tunnel.protocol == tunnel::IPPROTO_IPIP
            && !tunnel.is_later_fragment
            && skb.dst().is_some_and(|dst| dst.is_local4());
        if !known {
            return skb.accept();
        }
        let Some((inner, proto)) = self.packet_inside(&skb, tunnel.transport) else {
            return skb.accept();
        };
        let Some(ports) = inner.ports(&skb, proto) else {
            return skb.accept();
        };
        let Some(conn) = self.netns.conns.find_in(self.rcu, &inner, &ports) else {
            return skb.accept();
        };
        let is_ours = conn.forward() == Forward::Tunnel
            && conn.daddr == tunnel.daddr
            && conn.dest.tunnel().kind == IP_VS_CONN_F_TUNNEL_TYPE_IPIP;
        if !is_ours {
            return skb.accept();
        }
        self.relay_tunnel_error(skb, outer, &tunnel, &inner, conn)
    }

    fn relay_tunnel_error<'h>(
        self,
        mut skb: HookSkb<'h>,
        outer: &Packet,
        tunnel: &Packet,
        inner: &Packet,
        conn: ConnRef<'a>,
    ) -> Verdict<'h> {
        if !self.has_valid_checksum(&mut skb, outer) {
            return skb.drop();
        }
        let Some(header) = skb.read::<icmp::Header>(outer.transport) else {
            return skb.accept();
        };
        let (mut skb, verdict) = skb.steal();
        if self
            .send_inner_error(&mut skb, header, tunnel, inner, conn)
            .is_some()
        {
            let len = skb.len().into();
            if conn.dest.is_available() {
                conn.dest.stats.count_out(len);
                self.netns.stats().count_out(len);
            }
        }
        skb.consume();
        verdict
    }

    fn send_inner_error(
        self,
        skb: &mut Skb,
        header: icmp::Header,
        tunnel: &Packet,
        inner: &Packet,
        conn: ConnRef<'a>,
    ) -> Option<()> {
        let net = self.netns.net();
        let overhead = inner.start.checked_sub(tunnel.start)?;
        let mut info = u32::from(header.id.get()) << 16 | u32::from(header.mtu.get());
        let mut pulled = 0;
        if header.is_frag_needed() {
            let mut mtu = u32::from(header.mtu.get());
            skb.pull_to_network(tunnel.start).ok()?;
            pulled = tunnel.start;
            if !skb.may_pull(overhead) {
                return None;
            }
            ip::update_pmtu4(net, skb, mtu);
            // A client that does not look for the path MTU is not told.
            if !inner.is_dont_fragment {
                return None;
            }
            if let Some(known) = conn.dest.route.mtu(self.rcu) {
                mtu = known;
            }
            if mtu > MIN_MTU.saturating_add(overhead) {
                mtu = mtu.saturating_sub(overhead);
            }
            info = mtu;
        }
        skb.pull_to_network(inner.start.checked_sub(pulled)?).ok()?;
        skb.clear_ip_options();
        let len = inner.transport.checked_sub(inner.start)?;
        if !skb.may_pull(len) {
            return None;
        }
        skb.set_transport_header(len);
        // The header may have been read from a page that others can write.
        if skb.read::<ipv4::Header>(0)?.len() as u32 != len {
            return None;
        }
        ip::icmp_send(skb, header.kind, header.code, info);
        Some(())
    }
}
