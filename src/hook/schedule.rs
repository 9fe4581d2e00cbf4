// SPDX-License-Identifier: GPL-2.0

//! Packets that start a conn.
//!
//! C version: `ip_vs_try_to_schedule()`, `ip_vs_schedule()`, `ip_vs_leave()`
//! [net/netfilter/ipvs/ip_vs_core.c].

use super::Call;
use crate::{
    addr::{
        Family,
        Port, //
    },
    conn::{
        table::Table,
        Conn,
        ConnRef,
        Params, //
    },
    ctl::request::ServiceId,
    oot::net::{
        filter::{
            HookSkb,
            Verdict, //
        },
        ip,
        skbuff::Skb, //
    },
    packet::{
        Packet,
        Ports, //
    },
    proto::{
        direction::Direction,
        tcp::states::may_start_conn,
        Proto, //
    },
    sched::Flow,
    service::Service,
    wire::{
        icmp,
        icmpv6, //
    }, //
};

const FTPPORT: Port = Port::new(21);
const FTPDATA: Port = Port::new(20);

/// What came of looking for a dest.
enum Outcome<'g> {
    /// A conn to one.
    Scheduled(ConnRef<'g>),
    /// The packet is none of the service's business.
    NotMine,
    /// The service has no dest for it.
    NoDest,
    /// Too many conns, or no memory.
    Failed,
}

impl<'a> Call<'a> {
    /// A packet without conn: to a service it starts one, if it is of that kind.
    pub(super) fn schedule<'h>(
        self,
        skb: HookSkb<'h>,
        packet: &Packet,
        ports: &Ports,
        proto: Proto,
    ) -> Verdict<'h> {
        if packet.is_later_fragment {
            return skb.accept();
        }
        match (proto, ports.flags) {
            (_, None) if !ports.is_whole => return skb.drop(),
            (Proto::Tcp, Some(flags)) if !may_start_conn(flags, self.netns.sysctl.sloppy_tcp()) => {
                return skb.accept()
            }
            _ => (),
        }
        let Some(service) = self.service(&skb, packet, ports) else {
            return skb.accept();
        };
        match self.choose(&skb, service, packet, ports, proto) {
            Outcome::Scheduled(conn) => self.first(skb, service, conn, packet, ports),
            Outcome::NotMine => skb.accept(),
            Outcome::NoDest => self.leave(skb, service, packet, ports),
            Outcome::Failed => skb.drop(),
        }
    }

    fn service(self, skb: &Skb, packet: &Packet, ports: &Ports) -> Option<&'a Service> {
        let id = ServiceId {
            family: self.family,
            protocol: packet.protocol.into(),
            addr: packet.daddr,
            port: ports.dest,
            fwmark: skb.mark(),
        };
        self.netns.services.find(self.rcu, self.netns.net(), id)
    }

    /// Finds a dest and makes a conn to it (C: `ip_vs_schedule()`).
    fn choose(
        self,
        skb: &Skb,
        service: &'a Service,
        packet: &Packet,
        ports: &Ports,
        proto: Proto,
    ) -> Outcome<'a> {
        if ports.source == FTPDATA || self.is_local_reply(skb, packet, ports) {
            return Outcome::NotMine;
        }
        if service.id.fwmark == 0 && ports.dest != service.id.port {
            // Only a persistent service may leave the port to its clients.
            return Outcome::NoDest;
        }
        let flow = Flow {
            family: packet.family,
            caddr: &packet.saddr,
            cport: ports.source,
            vaddr: &packet.daddr,
            vport: ports.dest,
            is_inverse: false,
            flags: service.flags(),
        };
        let Some(dest) = service.schedule(self.rcu, &flow) else {
            return Outcome::NoDest;
        };
        let params = Params {
            family: packet.family,
            proto,
            caddr: &packet.saddr,
            cport: ports.source,
            vaddr: &packet.daddr,
            vport: ports.dest,
            dport: if dest.port.is_zero() {
                ports.dest
            } else {
                dest.port
            },
            fwmark: skb.mark(),
        };
        match self.netns.conns.add(self.rcu, &params, dest) {
            Some(conn) => Outcome::Scheduled(conn),
            None => Outcome::Failed,
        }
    }

    /// Whether it is a reply, from a dest on this host, to a client on this host.
    fn is_local_reply(self, skb: &Skb, packet: &Packet, ports: &Ports) -> bool {
        if skb.has_dev() && !skb.dev_is_loopback() {
            return false;
        }
        let ports = ports.swapped();
        let swapped = Packet {
            saddr: packet.daddr,
            daddr: packet.saddr,
            ..*packet
        };
        self.netns
            .conns
            .find_in(self.rcu, &swapped, &ports)
            .is_some()
    }

    /// Sends the packet that started a conn.
    fn first<'h>(
        self,
        skb: HookSkb<'h>,
        service: &Service,
        conn: ConnRef<'a>,
        packet: &Packet,
        ports: &Ports,
    ) -> Verdict<'h> {
        let _ = service;
        conn.dest.stats.count_conn();
        self.netns.stats.count_conn();
        Conn::touch(
            conn,
            self.rcu,
            &self.netns.timeouts,
            Direction::Input,
            ports,
        );
        Table::started(conn);
        self.count_in(conn, &skb);
        self.transmit(skb, conn, packet, ports)
    }

    /// The service has no dest for the packet: its sender is told (C: `ip_vs_leave()`).
    #[cold]
    fn leave<'h>(
        self,
        mut skb: HookSkb<'h>,
        service: &Service,
        packet: &Packet,
        ports: &Ports,
    ) -> Verdict<'h> {
        // A virtual FTP service is found for other ports as well, which are not its own.
        if service.id.port == FTPPORT && ports.dest != FTPPORT {
            return skb.accept();
        }
        if packet.in_icmp {
            return skb.drop();
        }
        match self.family {
            Family::Inet => ip::icmp_send(&mut skb, icmp::DEST_UNREACH, icmp::PORT_UNREACH, 0),
            Family::Inet6 => {
                skb.set_loopback_dev_if_none(self.netns.net());
                ip::icmpv6_send(&mut skb, icmpv6::DEST_UNREACH, icmpv6::PORT_UNREACH, 0);
            }
        }
        skb.drop()
    }
}
