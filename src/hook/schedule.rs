// SPDX-License-Identifier: GPL-2.0

//! Scheduling of packets that start a conn.
//!
//! C version: `ip_vs_try_to_schedule()`, `ip_vs_schedule()`, `ip_vs_leave()`
//! [net/netfilter/ipvs/ip_vs_core.c].

use super::HookCtx;
use crate::{
    addr::{
        Family,
        Port, //
    },
    conn::{
        local::Local,
        table::{
            upgrade,
            Birth, //
        },
        Conn,
        ConnRef,
        Params, //
    },
    dest::Dest,
    netns::Netns,
    oot::{
        net::{
            addrconf,
            filter::{
                HookSkb,
                Verdict, //
            },
            ip::{
                self,
                IcmpError,
                Icmpv6Error, //
            },
            skbuff::Skb, //
        },
        sync::RcuRef, //
    },
    packet::Packet,
    proto::{
        Proto,
        Signal, //
    },
    sched::Flow,
    service::{
        log_port_zero,
        Service, //
    },
    spec::{
        ServiceId,
        FTPDATA,
        FTPPORT, //
    },
    uapi::*,
    wire::{
        icmp,
        icmpv6, //
    },
    xmit, //
};

/// The result of the search for a dest.
pub(super) enum Outcome<'g> {
    /// A dest was found.
    Chosen(Choice<'g>),
    /// IPVS does not handle the packet.
    NotForIpvs,
    /// The service has no dest for the packet.
    NoDest,
    /// There are too many conns, or memory is short.
    Failed,
}

/// The dest of a new conn.
pub(super) struct Choice<'g> {
    pub(super) dest: RcuRef<'g, Dest>,
    pub(super) dport: Port,
    /// The template that is to control the conn, if the service is persistent.
    pub(super) template: Option<ConnRef<'g>>,
}

impl<'a> HookCtx<'a> {
    /// Handles a packet that matches no conn. It may belong to one without client port.
    pub(super) fn begin_or_fill<'h>(
        self,
        skb: HookSkb<'h>,
        packet: &Packet,
        proto: Proto,
    ) -> Verdict<'h> {
        if self.netns.conns.has_portless(packet.family) {
            return self.start_announced(skb, packet, proto);
        }
        self.schedule(skb, packet, proto)
    }

    #[cold]
    fn start_announced<'h>(self, skb: HookSkb<'h>, packet: &Packet, proto: Proto) -> Verdict<'h> {
        let Netns {
            conns, protocols, ..
        } = &**self.netns;
        let found = conns
            .find_portless(self.rcu(), packet)
            .and_then(|old| conns.fill_cport(self.rcu(), old, packet.sport, protocols));
        match found {
            Some(conn) => self.request::<false>(skb, conn, packet),
            None => self.schedule(skb, packet, proto),
        }
    }

    /// Handles a packet that belongs to no conn. A packet to a service starts a conn, if its
    /// protocol allows that.
    pub(super) fn schedule<'h>(
        self,
        skb: HookSkb<'h>,
        packet: &Packet,
        proto: Proto,
    ) -> Verdict<'h> {
        if self.netns.sync.is_backup_only() {
            return skb.accept();
        }
        if packet.signal == Signal::Nothing {
            return skb.drop_eperm();
        }
        let is_sloppy = match proto {
            Proto::Tcp => self.netns.sysctl.sloppy_tcp(),
            Proto::Sctp => self.netns.sysctl.sloppy_sctp(),
            Proto::Udp => false,
        };
        if !proto.may_start(packet.signal, is_sloppy) {
            return skb.accept();
        }
        self.start(skb, packet, proto)
    }

    /// Starts a conn for a packet that may start one, if the packet is sent to a service.
    pub(super) fn start<'h>(
        self,
        mut skb: HookSkb<'h>,
        packet: &Packet,
        proto: Proto,
    ) -> Verdict<'h> {
        let Some(service) = self.service(&skb, packet) else {
            return skb.accept();
        };
        if self.netns.sysctl.packet_drops.take() {
            return skb.drop_eperm();
        }
        match self.choose(&mut skb, service, packet, proto) {
            Outcome::Chosen(choice) => self.begin(skb, service, choice, packet, proto),
            Outcome::NotForIpvs => skb.accept(),
            Outcome::NoDest => self.leave(skb, service, packet, proto),
            Outcome::Failed => skb.drop_eperm(),
        }
    }

    /// The service that the packet is sent to.
    pub(super) fn service(self, skb: &Skb, packet: &Packet) -> Option<&'a Service> {
        let id = ServiceId {
            family: packet.family,
            protocol: packet.protocol.into(),
            addr: packet.daddr,
            port: packet.dport,
            fwmark: skb.mark(),
        };
        self.netns.services.find(self.rcu(), self.netns.net(), id)
    }

    /// Chooses the dest of a new conn (C: `ip_vs_schedule()`).
    fn choose(
        self,
        skb: &mut Skb,
        service: &'a Service,
        packet: &Packet,
        proto: Proto,
    ) -> Outcome<'a> {
        if packet.sport == FTPDATA || self.is_local_reply(skb, packet) {
            return Outcome::NotForIpvs;
        }
        if service.is_persistent() {
            return self.persist(skb, service, packet, proto);
        }
        if service.id.fwmark == 0 && packet.dport != service.id.port {
            // Only a persistent service accepts packets to other ports than its own.
            if service.id.port.is_zero() {
                log_port_zero();
            }
            return Outcome::NoDest;
        }
        let Some(dest) = self.choose_by_scheduler(service, packet) else {
            return Outcome::NoDest;
        };
        Outcome::Chosen(Choice {
            dest,
            dport: if dest.port.is_zero() {
                packet.dport
            } else {
                dest.port
            },
            template: None,
        })
    }

    /// Returns the dest chosen by the service's scheduler.
    pub(super) fn choose_by_scheduler(
        self,
        service: &'a Service,
        packet: &Packet,
    ) -> Option<RcuRef<'a, Dest>> {
        let flow = Flow {
            family: packet.family,
            caddr: &packet.saddr,
            cport: packet.sport,
            vaddr: &packet.daddr,
            is_inverse: packet.is_in_icmp(),
            flags: service.flags(),
        };
        service.schedule(self.rcu(), &flow)
    }

    /// Whether the packet is a reply of a dest on this host to a client on this host.
    fn is_local_reply(self, skb: &Skb, packet: &Packet) -> bool {
        if skb.has_dev() && !skb.dev_is_loopback() {
            return false;
        }
        self.netns
            .conns
            .find_in(self.rcu(), &packet.swapped())
            .is_some()
    }

    /// Creates the conn to the chosen dest and sends the packet.
    fn begin<'h>(
        self,
        skb: HookSkb<'h>,
        service: &Service,
        choice: Choice<'a>,
        packet: &Packet,
        proto: Proto,
    ) -> Verdict<'h> {
        let mut params = Params {
            daddr: &choice.dest.get().addr,
            dport: choice.dport,
            flags: self.conntrack_flag(),
            hash: packet.hash,
            ..Params::to_service(packet, proto, skb.mark())
        };
        let Choice { dest, template, .. } = choice;
        if proto == Proto::Udp
            && (service.is_one_packet() || dest.conn_flags() & IP_VS_CONN_F_ONE_PACKET != 0)
        {
            if let Some(template) = template {
                template.count_packet();
                if self.netns.sync.concerns_packets() {
                    self.netns.sync_template(template.get(), self.rcu());
                }
            }
            return self.one_packet(skb, &params, Some(dest), packet);
        }
        if self.is_fullnat(service, dest.get()) {
            let Some(local) = self.local_end(&params, dest.get()) else {
                return skb.drop_eperm();
            };
            params.local = Some(Local {
                has_toa: self.has_toa(service, proto),
                ..local
            });
        }
        let conns = &self.netns.conns;
        let Some(template) = template else {
            let birth = self.birth(packet);
            let conn = conns.add(self.rcu(), &params, Some(dest), None, birth);
            return self.added(skb, &params, conn, packet);
        };
        self.begin_after(skb, &params, dest, template, packet)
    }

    /// The origin of a conn that `packet` starts.
    pub(super) fn birth(self, packet: &Packet) -> Birth<'a> {
        match packet.is_in_icmp() {
            true => Birth::Stateless,
            false => Birth::Packet(&self.netns.protocols, packet.signal),
        }
    }

    /// Sends a packet with a conn that exists only for this packet
    /// (C: `IP_VS_CONN_F_ONE_PACKET`).
    #[cold]
    fn one_packet<'h>(
        self,
        skb: HookSkb<'h>,
        params: &Params<'_>,
        dest: Option<RcuRef<'a, Dest>>,
        packet: &Packet,
    ) -> Verdict<'h> {
        if self.netns.conns.is_full() {
            return skb.drop_eperm();
        }
        let Some(held) = upgrade(dest) else {
            return skb.drop_eperm();
        };
        let flags = dest.map_or(0, |dest| dest.conn_flags());
        let Ok(conn) = Conn::one_packet(params, held, &self.netns.conns.counts) else {
            return skb.drop_eperm();
        };
        pin_init::stack_pin_init!(let conn = conn);
        let Some(dest) = dest else {
            return xmit::transmit(self.context(&conn, None, packet), skb);
        };
        dest.conn_bound(self.rcu(), flags);
        let verdict = self.first(skb, &conn, packet);
        dest.conn_unbound(self.rcu(), flags);
        verdict
    }

    /// Counts a new conn and sends its first packet, or the ICMP error that quotes it.
    pub(super) fn first<'h>(
        self,
        mut skb: HookSkb<'h>,
        conn: &Conn,
        packet: &Packet,
    ) -> Verdict<'h> {
        if self.netns.sync.concerns_packets() {
            self.sync_first(conn);
        }
        let dest = conn.dest(self.rcu());
        self.netns.stats().count_conn();
        if let Some(dest) = dest {
            dest.stats.count_conn();
        }
        if packet.is_in_icmp() && !super::icmp::may_translate(conn, packet, &mut skb) {
            return skb.drop_eperm();
        }
        if let Some(dest) = dest.filter(|dest| dest.is_available()) {
            self.count_in(dest, &skb);
        }
        xmit::transmit(self.context(conn, dest, packet), skb)
    }

    /// Sends a new conn to backup directors, if that is due.
    #[cold]
    fn sync_first(self, conn: &Conn) {
        self.netns.sync_conn(conn, self.rcu());
    }

    /// Drops a packet for which the service has no dest, and sends an ICMP error to the sender.
    /// With the sysctl `cache_bypass`, a fwmark service sends the packet to its own destination
    /// instead (C: `ip_vs_leave()`).
    #[cold]
    fn leave<'h>(
        self,
        skb: HookSkb<'h>,
        service: &Service,
        packet: &Packet,
        proto: Proto,
    ) -> Verdict<'h> {
        let may_bypass = service.id.fwmark != 0 && !packet.is_in_icmp();
        if may_bypass && self.netns.sysctl.cache_bypass() && self.is_to_unicast(packet) {
            return self.bypass(skb, service, packet, proto);
        }
        // The service lookup also returns an FTP service for packets to other ports.
        if service.id.port == FTPPORT && packet.dport != FTPPORT {
            return skb.accept();
        }
        if packet.is_in_icmp() {
            return skb.drop_eperm();
        }
        self.refuse(skb, packet.family)
    }

    /// Whether a packet goes to the unicast address of another host, or of this one if it is IPv6
    /// (C: `ip_vs_addr_is_unicast()`).
    fn is_to_unicast(self, packet: &Packet) -> bool {
        match packet.family {
            Family::Inet => addrconf::is_unicast4(self.netns.net(), packet.daddr.v4()),
            Family::Inet6 => addrconf::is_unicast6(*packet.daddr.bytes()),
        }
    }

    /// Creates a conn without a dest and sends the packet to its own destination.
    fn bypass<'h>(
        self,
        skb: HookSkb<'h>,
        service: &Service,
        packet: &Packet,
        proto: Proto,
    ) -> Verdict<'h> {
        let params = Params {
            flags: IP_VS_CONN_F_BYPASS | self.conntrack_flag(),
            hash: packet.hash,
            ..Params::to_service(packet, proto, skb.mark())
        };
        if proto == Proto::Udp && service.is_one_packet() {
            return self.one_packet(skb, &params, None, packet);
        }
        let birth = self.birth(packet);
        match self.netns.conns.add(self.rcu(), &params, None, None, birth) {
            Some(conn) => xmit::transmit(self.context(conn.get(), None, packet), skb),
            None => skb.drop_eperm(),
        }
    }

    /// The flag of new conns that are tracked by connection tracking, or 0.
    pub(super) fn conntrack_flag(self) -> u32 {
        match self.netns.sysctl.conntrack() {
            true => IP_VS_CONN_F_NFCT,
            false => 0,
        }
    }

    /// Drops a packet and sends an ICMP error, port unreachable, to the sender.
    pub(super) fn refuse<'h>(self, mut skb: HookSkb<'h>, family: Family) -> Verdict<'h> {
        match family {
            Family::Inet => ip::icmp_send(&mut skb, IcmpError::DestUnreach, icmp::PORT_UNREACH, 0),
            Family::Inet6 => {
                skb.set_loopback_dev_if_none(self.netns.net());
                ip::icmpv6_send(&mut skb, Icmpv6Error::DestUnreach, icmpv6::PORT_UNREACH, 0);
            }
        }
        skb.drop_eperm()
    }
}
