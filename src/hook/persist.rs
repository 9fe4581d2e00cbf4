// SPDX-License-Identifier: GPL-2.0

//! Scheduling of packets to persistent services.
//!
//! C version: `ip_vs_sched_persist()` [net/netfilter/ipvs/ip_vs_core.c].

use super::{
    schedule::{
        Choice,
        Outcome, //
    },
    HookCtx, //
};
use crate::{
    addr::{
        Addr,
        Port, //
    },
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
    spec::FTPPORT,
    wire::udp, //
};

/// A packet without the data that the service's persistence engine needs.
pub(super) struct NoData;

/// The persistence engine of the service and the data that it finds in the packet; `None` if the
/// service has no engine.
///
/// # Errors
///
/// [`NoData`] if the engine finds none, or if memory is short.
pub(super) fn pe_data<'s>(
    skb: &'s mut Skb,
    service: &Service,
    packet: &Packet,
) -> Result<Option<(Engine, &'s [u8])>, NoData> {
    match service.engine() {
        Some(engine) => data_for(engine, skb, packet).map(Some).ok_or(NoData),
        None => Ok(None),
    }
}

#[cold]
fn data_for<'s>(engine: Engine, skb: &'s mut Skb, packet: &Packet) -> Option<(Engine, &'s [u8])> {
    if packet.protocol != engine.protocol() || packet.is_in_icmp() {
        return None;
    }
    let start = packet
        .transport
        .checked_add(size_of::<udp::Header>() as u32)?;
    let payload = skb.linearized()?.get(start as usize..)?;
    Some((engine, engine.data(payload)?))
}

impl<'a> HookCtx<'a> {
    /// Chooses the dest of the client's template. If there is no template, creates one to the dest
    /// that the scheduler chooses.
    pub(super) fn persist(
        self,
        skb: &mut Skb,
        service: &'a Service,
        packet: &Packet,
        proto: Proto,
    ) -> Outcome<'a> {
        let fwmark = skb.mark();
        let Ok(pe) = pe_data(skb, service, packet) else {
            return Outcome::Failed;
        };
        let caddr = packet.saddr.masked(packet.family, service.netmask());
        let mark = Addr::from_v4(service.id.fwmark.to_be_bytes());
        let is_port = packet.dport == service.id.port;
        // The template of an FTP service covers all ports, for the data connections.
        let names_port = is_port && service.id.port != FTPPORT;
        let is_by_mark = !is_port && service.id.fwmark != 0;
        let mut params = Params {
            // A fwmark service is for all protocols.
            proto: if is_by_mark { Proto::Tcp } else { proto },
            caddr: &caddr,
            cport: Port::ZERO,
            vaddr: if is_by_mark { &mark } else { &packet.daddr },
            vport: if names_port { packet.dport } else { Port::ZERO },
            pe,
            flags: if is_by_mark {
                template::BY_MARK
            } else {
                template::BY_ADDRESS
            },
            ..Params::to_service(packet, proto, fwmark)
        };
        let template = match self.good_template(&params) {
            Some(template) => {
                Conn::renew(template);
                template
            }
            None => {
                let Some(dest) = self.choose_by_scheduler(service, packet) else {
                    return Outcome::NoDest;
                };
                params.daddr = &dest.get().addr;
                if names_port {
                    params.dport = dest.port;
                }
                match self.new_template(service, &params, dest) {
                    Some(template) => template,
                    None => return Outcome::Failed,
                }
            }
        };
        let Some(dest) = template.get().dest_ref(self.rcu()) else {
            return Outcome::NoDest;
        };
        Outcome::Chosen(Choice {
            dest,
            dport: if is_port && !dest.port.is_zero() {
                dest.port
            } else {
                packet.dport
            },
            template: Some(template),
        })
    }

    /// Returns the template, if its dest may be used. Otherwise invalidates the template
    /// (C: `ip_vs_check_template()`).
    pub(super) fn good_template(self, params: &Params<'_>) -> Option<ConnRef<'a>> {
        let template = self.netns.conns.find_template(self.rcu(), params)?;
        let dest = template.get().dest(self.rcu())?;
        let is_quiescent = dest.weight() == 0 && self.netns.sysctl.expire_quiescent_template();
        if !dest.is_available() || is_quiescent {
            template.invalidate();
            return None;
        }
        Some(template)
    }

    pub(super) fn new_template(
        self,
        service: &Service,
        params: &Params<'_>,
        dest: RcuRef<'_, Dest>,
    ) -> Option<ConnRef<'a>> {
        let birth = Birth::Template(service.timeout());
        self.netns
            .conns
            .add(self.rcu(), params, Some(dest), None, birth)
    }

    /// Creates a conn that `template` controls, and sends the packet.
    pub(super) fn begin_after<'h>(
        self,
        skb: HookSkb<'h>,
        params: &Params<'_>,
        dest: RcuRef<'a, Dest>,
        template: ConnRef<'a>,
        packet: &Packet,
    ) -> Verdict<'h> {
        let (conns, birth) = (&self.netns.conns, self.birth(packet));
        let conn = conns.add_controlled(self.rcu(), params, Some(dest), Some(template), birth);
        self.added(skb, params, conn, packet)
    }
}
