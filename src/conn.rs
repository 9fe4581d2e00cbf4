// SPDX-License-Identifier: GPL-2.0

//! Conns: each maps the packets of a connection to a dest and tracks its state.
//!
//! C version: [net/netfilter/ipvs/ip_vs_conn.c].
//!
//! # Vocabulary
//!
//! - A conn's [`life`] is what packets and the timer change: the state, the timeout and the time of
//!   the last packet.
//! - A conn is *dead* once its removal from the table has begun. Packets do not use a dead conn.
//! - A conn may *control* others. It does not expire before them.
//! - A [*template*](template) is a conn that matches no packet. It controls the conns of a client
//!   to a persistent service.

pub(crate) mod app;
mod control;
mod cport;
mod drop_entry;
mod expiry;
mod ext;
mod fullnat;
pub(crate) mod handshake;
mod hash;
mod life;
pub(crate) mod local;
mod params;
mod step;
mod sync;
pub(crate) mod table;
pub(crate) mod template;
mod todrop;

use crate::{
    addr::{
        Addr,
        Family,
        Port, //
    },
    dest::Dest,
    forward::{
        self,
        Forward, //
    },
    oot::{
        net::conntrack,
        sync::{
            impl_has_hash_links,
            impl_has_timer,
            HashLinks,
            RcuArc,
            RcuArcCell,
            RcuBox,
            RcuCell,
            RcuHash,
            RcuRef,
            Timer,
            TimerCallback, //
        },
        time::jiffies, //
    },
    packet::{
        nf_proto,
        Packet, //
    },
    pe::Engine,
    proto::Proto,
    shim::Word32,
    sync::due::Sent,
    uapi::*, //
};
use app::Counts;
use ext::Ext;
use handshake::Handshake;
use kernel::{
    prelude::*,
    sync::{
        rcu,
        Arc, //
    },
};
use life::{
    Death,
    Expiry,
    Life,
    INACTIVE,
    NO_OUTPUT,
    UNBOUND, //
};
pub(crate) use params::Params;
use pin_init::init;

/// A reference to a conn, valid in an RCU read-side critical section.
pub(crate) type ConnRef<'g> = RcuRef<'g, Conn>;

/// Internal flag, not uapi: a template of a fwmark service; `vaddr` holds the mark.
const BY_FWMARK: u32 = 1 << 31;

/// Internal flag, not uapi: the conn has a local end, see [`Conn::local`].
const HAS_LOCAL: u32 = 1 << 30;

/// Internal flag, not uapi: the protocol is neither TCP nor UDP.
const IS_RARE: u32 = 1 << 29;

/// Internal flag, not uapi: the conn is bound to an application, see [`app`].
const HAS_APP: u32 = 1 << 28;

/// Internal flag, not uapi: the conn keeps the local end of a former one from others, see
/// [`fullnat`].
const RESERVED: u32 = 1 << 27;

/// One end of a connection: address and port.
pub(crate) type End<'a> = (&'a Addr, Port);

/// A conn (C: `struct ip_vs_conn`). Times are the low 32 bits of jiffies.
#[repr(C)]
pub(crate) struct Conn {
    links: HashLinks<Self>,
    timer: Timer<Self>,
    /// The client's address.
    pub(crate) caddr: Addr,
    /// The service's address or, in a template of a fwmark service, the mark.
    pub(crate) vaddr: Addr,
    /// The dest's address.
    pub(crate) daddr: Addr,
    /// The client's port, 0 in a template.
    pub(crate) cport: Port,
    /// The service's port, 0 in a template for all ports.
    pub(crate) vport: Port,
    /// The dest's port.
    pub(crate) dport: Port,
    pub(crate) proto: Proto,
    /// The family of the client's and the service's addresses.
    pub(crate) family: Family,
    life: Life,
    /// The state of the conn for the master daemon.
    sent: Sent,
    /// `IP_VS_CONN_F_*`, except those that change with the state. Sync messages change them.
    flags: Word32,
    fwmark: u32,
    /// Empty if the dest is not configured; packets are sent to `daddr` and `dport` all the same.
    dest: RcuArcCell<Dest>,
    /// The conn that controls this one and counts it (C: `control`).
    control: Option<RcuArc<Conn>>,
    /// The fields that few conns need.
    ext: RcuCell<Ext>,
}

impl Conn {
    /// Initializes a conn in place. `dest` does not count it yet; `control`, which controls it,
    /// does.
    #[inline(always)]
    fn init<'a>(
        params: &'a Params<'_>,
        dest: Option<RcuArc<Dest>>,
        flags: u32,
        control: Option<RcuArc<Conn>>,
        ext: Option<RcuBox<Ext>>,
    ) -> impl Init<Self> + use<'a> {
        let flags = match params.local {
            Some(_) => flags | HAS_LOCAL,
            None => flags,
        };
        let flags = match params.proto.is_rare() {
            true => flags | IS_RARE,
            false => flags,
        };
        let mut word = 0;
        if flags & IP_VS_CONN_F_INACTIVE != 0 {
            word |= INACTIVE;
        }
        if flags & IP_VS_CONN_F_NOOUTPUT != 0 {
            word |= NO_OUTPUT;
        }
        if dest.is_none() {
            word |= UNBOUND;
        }
        let now = now();
        let is_unanswered = control.is_some() && params.proto.is_assured_by_output();
        init!(Self {
            links: HashLinks::new(),
            timer: Timer::new(),
            caddr: *params.caddr,
            vaddr: *params.vaddr,
            daddr: *params.daddr,
            cport: params.cport,
            vport: params.vport,
            dport: params.dport,
            proto: params.proto,
            family: params.family,
            life: Life::new(word, now, is_unanswered),
            sent: Sent::new(now),
            flags: Word32::new(flags),
            fwmark: params.fwmark,
            dest: RcuArcCell::new(dest),
            control,
            ext: RcuCell::new(ext),
        })
    }

    /// A conn for a single packet, which is never in the table (C: `IP_VS_CONN_F_ONE_PACKET`).
    ///
    /// # Errors
    ///
    /// `ENOMEM` if memory is short.
    pub(crate) fn one_packet<'a>(
        params: &'a Params<'_>,
        dest: Option<RcuArc<Dest>>,
        counts: &Arc<Counts>,
    ) -> Result<impl Init<Self> + use<'a>> {
        let flags = params.flags | IP_VS_CONN_F_ONE_PACKET;
        let flags = flags | dest.as_ref().map_or(0, |dest| dest.conn_flags());
        // No application is for UDP.
        let ext = Ext::of(params, None, counts)?;
        Ok(Self::init(params, dest, flags, None, ext))
    }

    #[inline(always)]
    fn flags(&self) -> u32 {
        self.flags.get()
    }

    /// The dest; `None` if it is not configured.
    #[inline(always)]
    pub(crate) fn dest<'g>(&'g self, guard: &'g rcu::Guard) -> Option<&'g Dest> {
        self.dest.get(guard).map(RcuRef::get)
    }

    /// As [`dest`](Self::dest), as a reference that can be upgraded to a counted one.
    pub(crate) fn dest_ref<'g>(&'g self, guard: &'g rcu::Guard) -> Option<RcuRef<'g, Dest>> {
        self.dest.get(guard)
    }

    /// The family of the dest's address. In a tunnel it may differ from the client's.
    pub(crate) fn dest_family(&self, guard: &rcu::Guard) -> Family {
        self.dest(guard).map_or(self.family, |dest| dest.family)
    }

    /// The client's address and port.
    #[inline(always)]
    pub(crate) fn client(&self) -> End<'_> {
        (&self.caddr, self.cport)
    }

    /// The service's address and port.
    #[inline(always)]
    pub(crate) fn service(&self) -> End<'_> {
        (&self.vaddr, self.vport)
    }

    /// The dest's address and port.
    #[inline(always)]
    pub(crate) fn dest_end(&self) -> End<'_> {
        (&self.daddr, self.dport)
    }

    /// Whether a local end replaces the client's in packets to the dest.
    #[inline(always)]
    pub(crate) fn has_local(&self) -> bool {
        self.flags() & HAS_LOCAL != 0
    }

    /// Whether packets need more than the translation of one end of a TCP or UDP packet.
    #[inline(always)]
    pub(crate) fn is_translated_rarely(&self) -> bool {
        self.flags() & (HAS_LOCAL | IS_RARE | HAS_APP) != 0
    }

    /// The local end, which replaces the client's in packets to the dest, if there is one.
    #[inline]
    pub(crate) fn local<'g>(&'g self, guard: &'g rcu::Guard) -> Option<End<'g>> {
        Some(self.ext.get(guard)?.local.as_ref()?.end())
    }

    /// The start of the connection, if its first segments to the dest have the TOA option.
    #[inline]
    pub(crate) fn handshake<'g>(&'g self, guard: &'g rcu::Guard) -> Option<&'g Handshake> {
        self.ext.get(guard)?.handshake.as_ref()
    }

    /// The persistence engine of a template and its data (C: `pe`, `pe_data`).
    pub(crate) fn pe<'g>(&'g self, guard: &'g rcu::Guard) -> Option<(Engine, &'g [u8])> {
        let (engine, data) = self.ext.get(guard)?.pe.as_ref()?;
        Some((*engine, data))
    }

    /// A hash of the client and the service, with a secret. 0 if the conn was in no table.
    pub(crate) fn flow_hash(&self) -> u32 {
        self.links.hash()
    }

    /// Whether the forwarding method is NAT.
    #[inline(always)]
    pub(crate) fn is_masqueraded(&self) -> bool {
        forward::number(self.flags()) == IP_VS_CONN_F_MASQ
    }

    /// Whether replies have other addresses or ports than requests.
    fn has_other_reply(&self) -> bool {
        self.is_masqueraded() || self.has_local()
    }

    /// The source and destination of a packet from the dest, by which replies are looked up.
    #[inline(always)]
    fn reply<'g>(&'g self, guard: &'g rcu::Guard) -> (End<'g>, End<'g>) {
        (self.reply_source(), self.reply_destination(guard))
    }

    #[inline(always)]
    fn reply_source(&self) -> End<'_> {
        match self.is_masqueraded() {
            true => self.dest_end(),
            false => self.service(),
        }
    }

    #[inline(always)]
    fn reply_destination<'g>(&'g self, guard: &'g rcu::Guard) -> End<'g> {
        match self.has_local() {
            true => self.local(guard).unwrap_or(self.client()),
            false => self.client(),
        }
    }

    /// The forwarding method.
    #[inline(always)]
    pub(crate) fn forward(&self) -> Forward {
        Forward::of(self.flags())
    }

    /// Whether `packet` goes from the client to the service.
    #[inline(always)]
    fn is_in(&self, packet: &Packet) -> bool {
        self.cport == packet.sport
            && self.vport == packet.dport
            && self.caddr == packet.saddr
            && self.vaddr == packet.daddr
            && self.proto as u8 == packet.protocol
            && self.family == packet.family
    }

    /// Whether `packet` goes to the client from the dest or, if the dest replies with the service's
    /// address, from the service.
    #[inline(always)]
    fn is_out(&self, guard: &rcu::Guard, packet: &Packet) -> bool {
        let is_to = |(addr, port): End<'_>| port == packet.dport && *addr == packet.daddr;
        let is_from = |(addr, port): End<'_>| port == packet.sport && *addr == packet.saddr;
        is_to(self.reply_destination(guard))
            && is_from(self.reply_source())
            && self.proto as u8 == packet.protocol
            && self.family == packet.family
    }

    /// The name of the state (C: `ip_vs_state_name()`).
    pub(crate) fn state_name(&self) -> &'static str {
        if self.is_template() {
            template::state_name(self.life.state())
        } else {
            self.proto.state_name(self.life.state())
        }
    }

    /// The name of the protocol, "IP" for a template of a fwmark service.
    pub(crate) fn proto_name(&self) -> &'static str {
        if self.flags() & BY_FWMARK != 0 {
            "IP"
        } else {
            self.proto.name()
        }
    }

    /// The port of the dest in /proc, [`template::NO_PORT`] for an invalid template.
    pub(crate) fn shown_dport(&self) -> Port {
        if self.life.is_invalid() {
            template::NO_PORT
        } else {
            self.dport
        }
    }

    /// The time in jiffies until the conn expires if no packet arrives.
    pub(crate) fn expires_in(&self) -> u32 {
        self.life.left(now(), self.timeout())
    }

    /// The idle timeout in jiffies.
    fn timeout(&self) -> u32 {
        if self.is_template() {
            self.life.lifetime()
        } else {
            self.life.timeout()
        }
    }

    /// Whether a packet that starts a connection may replace this conn
    /// (C: `is_new_conn_expected()`). `reuse_mode` is the sysctl `conn_reuse_mode`.
    pub(crate) fn is_reusable(&self, reuse_mode: i32) -> bool {
        self.control.is_none()
            && reuse_mode != 0
            && self
                .proto
                .is_over(self.life.state(), self.life.has_no_output(), reuse_mode)
    }

    /// Stores the time of a packet, so that the conn does not expire while the packet is
    /// translated.
    #[inline(always)]
    pub(crate) fn seen(&self) {
        self.life.seen(now());
    }

    /// Marks the conn as dead and removes it from the table. Returns false if it was dead already.
    pub(crate) fn kill(this: ConnRef<'_>, guard: &rcu::Guard) -> bool {
        match this.life.kill() {
            Some(death) => {
                Self::unlink(this, guard, death);
                true
            }
            None => false,
        }
    }

    /// Removes a dead conn from the table and from the counts of its dest and its controlling conn.
    fn unlink(this: ConnRef<'_>, guard: &rcu::Guard, death: Death) {
        if let Some(dest) = this.dest.get(guard).filter(|_| death.was_bound) {
            dest.conn_unbound(guard, this.flags_with(death.was_inactive));
        }
        if let Some(control) = &this.control {
            control.uncontrol();
        }
        if this.is_tracked() {
            Self::drop_conntrack(this, guard);
        }
        if this.flags() & (HAS_APP | HAS_LOCAL | IP_VS_CONN_F_NO_CPORT) != 0 {
            Self::release_local(this, guard);
            this.count_portless(guard, -1);
            this.unbind_app(guard);
        }
        drop(RcuHash::unlink(this, guard));
    }

    /// Whether connection tracking follows its packets (C: `IP_VS_CONN_F_NFCT`).
    #[inline(always)]
    pub(crate) fn is_tracked(&self) -> bool {
        self.flags() & IP_VS_CONN_F_NFCT != 0
    }

    /// The service's port of the conn that controls it.
    pub(crate) fn control_vport(&self) -> Option<Port> {
        Some(self.control.as_ref()?.vport)
    }

    /// The number of the forwarding method.
    pub(crate) fn forward_number(&self) -> u32 {
        forward::number(self.flags())
    }

    /// Whether it is for a single packet.
    pub(crate) fn is_one_packet(&self) -> bool {
        self.flags() & IP_VS_CONN_F_ONE_PACKET != 0
    }

    /// Keeps the conntrack entry from being changed or deleted: another conn uses it from now on.
    pub(crate) fn leave_conntrack(&self) {
        self.flags.update(|flags| flags & !IP_VS_CONN_F_NFCT);
    }

    /// Deletes the conntrack entry (C: `ip_vs_conn_drop_conntrack()`).
    #[cold]
    fn drop_conntrack(this: ConnRef<'_>, guard: &rcu::Guard) {
        if this.cport.is_zero() {
            return;
        }
        if let Some(owner) = RcuHash::owner(this, guard) {
            let [client, service] = [this.get().client(), this.get().service()].map(tuple_end);
            let family = nf_proto(this.family);
            let tuple = conntrack::Tuple::original(family, this.proto as u8, client, service);
            conntrack::delete(owner.net(), &tuple);
        }
    }

    /// The number of the state.
    pub(crate) fn state(&self) -> u8 {
        self.life.state()
    }

    /// The flags, `IP_VS_CONN_F_*`, with `IP_VS_CONN_F_INACTIVE` if `is_inactive`.
    fn flags_with(&self, is_inactive: bool) -> u32 {
        let flags = self.flags() & !IP_VS_CONN_F_INACTIVE;
        match is_inactive {
            true => flags | IP_VS_CONN_F_INACTIVE,
            false => flags,
        }
    }
}

/// Converts an address and a port to an end of a conntrack tuple.
pub(crate) fn tuple_end((addr, port): End<'_>) -> conntrack::End {
    (*addr.bytes(), port.bytes())
}

/// The low 32 bits of jiffies.
#[inline(always)]
fn now() -> u32 {
    jiffies() as u32
}

impl_has_hash_links! {
    impl HasHashLinks<KBox<dyn table::Owner>> for Conn { self.links }
}

impl_has_timer! {
    impl HasTimer for Conn { self.timer }
}

impl TimerCallback for Conn {
    fn run(this: ConnRef<'_>, guard: &rcu::Guard) -> Option<usize> {
        // The conn is not in the table yet: another CPU may run the timers of the CPU that adds it
        // (`timer_expire_remote()`).
        if this.links.is_pending() {
            return Some(1);
        }
        match this.life.fired(now(), this.timeout()) {
            Expiry::Over => None,
            Expiry::Again(delay) => Some(delay as usize),
            Expiry::Controls(delay) => {
                if let Some(owner) = RcuHash::owner(this, guard) {
                    owner.expire_later(this.get(), guard);
                }
                Some(delay as usize)
            }
            Expiry::Died(death) => {
                Self::unlink(this, guard, death);
                None
            }
        }
    }
}
