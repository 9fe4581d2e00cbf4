// SPDX-License-Identifier: GPL-2.0

//! Conns that a packet from a dest starts, if the persistence engine of the service supports that.
//! The client's answers then go to that dest.
//!
//! C version: `__ip_vs_rs_conn_out()`, `ip_vs_new_conn_out()`
//! [net/netfilter/ipvs/ip_vs_core.c].

use super::{
    persist::pe_data,
    HookCtx, //
};
use crate::{
    addr::Port,
    conn::{
        table::Birth,
        template,
        Conn,
        ConnRef,
        Params, //
    },
    dest::Dest,
    oot::{
        net::{
            filter::{
                HookNum,
                HookSkb,
                Verdict, //
            },
            skbuff::Skb, //
        },
        sync::RcuRef, //
    },
    packet::Packet,
    pe::Engine,
    proto::Proto,
    service::Service,
    xmit, //
};

/// The service that a packet from a dest belongs to.
struct Origin<'g> {
    service: &'g Service,
    dest: RcuRef<'g, Dest>,
}

impl<'a> HookCtx<'a> {
    /// Handles a UDP packet that belongs to no conn. Returns the packet as the error if it starts
    /// none.
    #[cold]
    pub(super) fn initiated<'h>(
        self,
        mut skb: HookSkb<'h>,
        packet: &Packet,
    ) -> Result<Verdict<'h>, HookSkb<'h>> {
        let Some(origin) = self.origin(packet) else {
            return Err(skb);
        };
        let service = origin.service;
        let template = match service.is_persistent() {
            true => match self.template_to(&origin, &mut skb, packet) {
                Some(template) => Some(template),
                None => return Err(skb),
            },
            false => None,
        };
        let params = Params {
            caddr: &packet.daddr,
            cport: packet.dport,
            vaddr: &service.id.addr,
            vport: service.id.port,
            daddr: &packet.saddr,
            dport: packet.sport,
            flags: self.conntrack_flag(),
            ..Params::to_service(packet, Proto::Udp, 0)
        };
        if service.is_one_packet() {
            return self.single_reply(skb, &params, origin.dest, template, packet);
        }
        let (conns, dest) = (&self.netns.conns, Some(origin.dest));
        match conns.add_controlled(self.rcu(), &params, dest, template, Birth::Stateless) {
            Some(conn) => {
                self.count_conn(&origin.dest);
                Ok(self.response::<false>(skb, conn, packet))
            }
            None => Err(skb),
        }
    }

    /// The dest that the packet comes from, and its service, if packets from dests start conns of
    /// that service.
    fn origin(self, packet: &Packet) -> Option<Origin<'a>> {
        if self.place == HookNum::LocalIn {
            return None;
        }
        let dest = self.real_server(packet)?;
        let service = self.netns.services.get(self.rcu(), &dest.get().vip)?;
        let is_known = service.id.fwmark == 0
            && !service.id.port.is_zero()
            && !packet.sport.is_zero()
            && service.engine().is_some_and(Engine::starts_from_dest);
        is_known.then_some(Origin { service, dest })
    }

    /// The template for the packet's receiver to the dest, which is created if there is none.
    fn template_to(
        self,
        origin: &Origin<'a>,
        skb: &mut Skb,
        packet: &Packet,
    ) -> Option<ConnRef<'a>> {
        let Origin { service, dest } = *origin;
        let caddr = packet.daddr.masked(packet.family, service.netmask());
        let params = Params {
            caddr: &caddr,
            cport: Port::ZERO,
            vaddr: &service.id.addr,
            vport: service.id.port,
            daddr: &packet.saddr,
            dport: packet.sport,
            pe: pe_data(skb, service, packet).ok()?,
            flags: template::BY_ADDRESS,
            ..Params::to_service(packet, Proto::Udp, 0)
        };
        if let Some(template) = self.good_template(&params) {
            let to = template.get().dest(self.rcu());
            if to.is_some_and(|to| core::ptr::eq(to, dest.get())) {
                Conn::renew(template);
                return Some(template);
            }
            template.invalidate();
        }
        self.new_template(service, &params, dest)
    }

    /// Translates a packet from a dest with a conn that exists only for this packet.
    fn single_reply<'h>(
        self,
        mut skb: HookSkb<'h>,
        params: &Params<'_>,
        dest: RcuRef<'a, Dest>,
        template: Option<ConnRef<'a>>,
        packet: &Packet,
    ) -> Result<Verdict<'h>, HookSkb<'h>> {
        let Some(held) = dest.upgrade().filter(|_| !self.netns.conns.is_full()) else {
            return Err(skb);
        };
        let Ok(conn) = Conn::one_packet(params, Some(held), &self.netns.conns.counts) else {
            return Err(skb);
        };
        pin_init::stack_pin_init!(let conn = conn);
        self.count_conn(&dest);
        let context = self.context(&conn, Some(dest.get()), packet);
        if xmit::reply::translate(context, &mut skb).is_none() {
            return Ok(skb.drop_silently());
        }
        self.count_out(context.dest, &skb);
        if let Some(template) = template {
            template.assured();
        }
        Ok(xmit::reply::send(context, skb))
    }

    /// Counts a new conn (C: `ip_vs_conn_stats()`).
    fn count_conn(self, dest: &Dest) {
        self.netns.stats().count_conn();
        dest.stats.count_conn();
    }
}
