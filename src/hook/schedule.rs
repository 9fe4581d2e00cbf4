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
        table::Birth,
        Conn,
        ConnRef,
        Params, //
    },
    dest::Dest,
    oot::{
        net::{
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
    service::Service,
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
    /// The packet is not for IPVS.
    NotMine,
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
        let Some(service) = self.service(&skb, packet) else {
            return skb.accept();
        };
        match self.choose(&skb, service, packet, proto) {
            Outcome::Chosen(choice) => self.begin(skb, service, choice, packet, proto),
            Outcome::NotMine => skb.accept(),
            Outcome::NoDest => self.leave(skb, service, packet),
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
    fn choose(self, skb: &Skb, service: &'a Service, packet: &Packet, proto: Proto) -> Outcome<'a> {
        if packet.sport == FTPDATA || self.is_local_reply(skb, packet) {
            return Outcome::NotMine;
        }
        if service.is_persistent() {
            return self.persist(skb, service, packet, proto);
        }
        if service.id.fwmark == 0 && packet.dport != service.id.port {
            // Only a persistent service accepts packets to other ports than its own.
            return Outcome::NoDest;
        }
        let Some(dest) = self.ask_scheduler(service, packet) else {
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

    /// Returns the dest that the service's scheduler chooses.
    pub(super) fn ask_scheduler(
        self,
        service: &'a Service,
        packet: &Packet,
    ) -> Option<RcuRef<'a, Dest>> {
        let flow = Flow {
            family: packet.family,
            caddr: &packet.saddr,
            cport: packet.sport,
            vaddr: &packet.daddr,
            vport: packet.dport,
            is_inverse: false,
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
        let params = Params {
            family: packet.family,
            proto,
            caddr: &packet.saddr,
            cport: packet.sport,
            vaddr: &packet.daddr,
            vport: packet.dport,
            daddr: &choice.dest.get().addr,
            dport: choice.dport,
            local: None,
            fwmark: skb.mark(),
            flags: match self.netns.sysctl.conntrack() {
                true => IP_VS_CONN_F_NFCT,
                false => 0,
            },
        };
        let Choice { dest, template, .. } = choice;
        if proto == Proto::Udp
            && (service.is_one_packet() || dest.conn_flags() & IP_VS_CONN_F_ONE_PACKET != 0)
        {
            if let Some(template) = template.filter(|_| self.netns.sync.concerns_packets()) {
                self.netns.sync_template(template.get(), self.rcu());
            }
            return self.one_packet(skb, &params, dest, packet);
        }
        let conns = &self.netns.conns;
        let Some(template) = template else {
            let birth = Birth::Packet(&self.netns.protocols, packet.signal);
            return match conns.add(self.rcu(), &params, Some(dest), None, birth) {
                Some(conn) => self.first(skb, conn.get(), packet),
                None => skb.drop_eperm(),
            };
        };
        self.begin_after(skb, &params, dest, template, packet)
    }

    /// Sends a packet with a conn that exists only for this packet
    /// (C: `IP_VS_CONN_F_ONE_PACKET`).
    #[cold]
    fn one_packet<'h>(
        self,
        skb: HookSkb<'h>,
        params: &Params<'_>,
        dest: RcuRef<'a, Dest>,
        packet: &Packet,
    ) -> Verdict<'h> {
        let Some(held) = dest.upgrade().filter(|_| !self.netns.conns.is_full()) else {
            return skb.drop_eperm();
        };
        let flags = dest.conn_flags();
        let Ok(conn) = Conn::one_packet(params, held) else {
            return skb.drop_eperm();
        };
        pin_init::stack_pin_init!(let conn = conn);
        dest.conn_bound(self.rcu(), flags);
        let verdict = self.first(skb, &conn, packet);
        dest.conn_unbound(self.rcu(), flags);
        verdict
    }

    /// Counts a new conn and sends its first packet.
    pub(super) fn first<'h>(self, skb: HookSkb<'h>, conn: &Conn, packet: &Packet) -> Verdict<'h> {
        if self.netns.sync.concerns_packets() {
            self.sync_first(conn);
        }
        let dest = conn.dest(self.rcu());
        self.netns.stats().count_conn();
        if let Some(dest) = dest {
            dest.stats.count_conn();
            if dest.is_available() {
                self.count_in(dest, &skb);
            }
        }
        xmit::transmit(self.context(conn, dest, packet), skb)
    }

    /// Sends a new conn to backup directors, if that is due.
    #[cold]
    fn sync_first(self, conn: &Conn) {
        self.netns.sync_conn(conn, self.rcu());
    }

    /// Drops a packet for which the service has no dest, and sends an ICMP error to the sender
    /// (C: `ip_vs_leave()`).
    #[cold]
    fn leave<'h>(self, mut skb: HookSkb<'h>, service: &Service, packet: &Packet) -> Verdict<'h> {
        // The service lookup also returns an FTP service for packets to other ports.
        if service.id.port == FTPPORT && packet.dport != FTPPORT {
            return skb.accept();
        }
        if packet.is_in_icmp() {
            return skb.drop_eperm();
        }
        match packet.family {
            Family::Inet => ip::icmp_send(&mut skb, IcmpError::DestUnreach, icmp::PORT_UNREACH, 0),
            Family::Inet6 => {
                skb.set_loopback_dev_if_none(self.netns.net());
                ip::icmpv6_send(&mut skb, Icmpv6Error::DestUnreach, icmpv6::PORT_UNREACH, 0);
            }
        }
        skb.drop_eperm()
    }
}
