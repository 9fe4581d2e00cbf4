// SPDX-License-Identifier: GPL-2.0

//! Conns: which dest a client's packets go to, and how far the two have come.
//!
//! C version: [net/netfilter/ipvs/ip_vs_conn.c].
//!
//! # Vocabulary
//!
//! - A conn's [`life`] is what packets and its timer change: its state, its timeout, the time of its
//!   last packet.
//! - A conn is *dead* once it is out of the table, or about to leave it. No packet uses it then.
//! - A conn may *control* others, which it outlives.
//! - A [*template*](template) is a conn that no packet belongs to, but which controls those of a
//!   client.

mod control;
mod expiry;
mod ext;
mod life;
mod step;
pub(crate) mod table;
pub(crate) mod template;

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
    packet::Packet,
    proto::Proto,
    shim::Word32,
    uapi::*, //
};
use ext::Ext;
use kernel::{
    prelude::*,
    sync::rcu, //
};
use life::{
    Expiry,
    Life,
    INACTIVE,
    NO_OUTPUT, //
};
use pin_init::init;

/// A conn in the table, during an RCU read-side section.
pub(crate) type ConnRef<'g> = RcuRef<'g, Conn>;

/// Internal flag, beside `IP_VS_CONN_F_*`: a template of a fwmark service; `vaddr` holds the mark.
const BY_FWMARK: u32 = 1 << 31;

/// Internal flag, beside `IP_VS_CONN_F_*`: the conn has a local end, see [`Conn::local`].
const HAS_LOCAL: u32 = 1 << 30;

/// An end of a conversation: address and port.
pub(crate) type End<'a> = (&'a Addr, Port);

/// What a conn is made of.
pub(crate) struct Params<'a> {
    pub(crate) family: Family,
    pub(crate) proto: Proto,
    pub(crate) caddr: &'a Addr,
    pub(crate) cport: Port,
    pub(crate) vaddr: &'a Addr,
    pub(crate) vport: Port,
    pub(crate) daddr: &'a Addr,
    /// The port of the dest, which may leave it to the client.
    pub(crate) dport: Port,
    /// The end that the dest sees in place of the client; `None` if it sees the client.
    pub(crate) local: Option<End<'a>>,
    pub(crate) fwmark: u32,
    /// `IP_VS_CONN_F_*`, beside those that the dest gives.
    pub(crate) flags: u32,
}

/// A conn. Times are in jiffies, of which 32 bits are kept.
#[repr(C)]
pub(crate) struct Conn {
    links: HashLinks<Self>,
    timer: Timer<Self>,
    pub(crate) caddr: Addr,
    pub(crate) vaddr: Addr,
    pub(crate) daddr: Addr,
    pub(crate) cport: Port,
    pub(crate) vport: Port,
    pub(crate) dport: Port,
    pub(crate) proto: Proto,
    pub(crate) family: Family,
    life: Life,
    /// `IP_VS_CONN_F_*`, but for those that change with the state. Atomic, as the fwmark is, for sync
    /// messages, which do not set them yet.
    flags: Word32,
    fwmark: Word32,
    /// Empty if the dest is not configured; daddr and dport lead to it all the same.
    dest: RcuArcCell<Dest>,
    /// The conn that controls it and counts it.
    control: Option<RcuArc<Conn>>,
    /// What few conns have.
    ext: RcuCell<Ext>,
}

impl Conn {
    /// A conn to `dest`, which does not count it yet, under the control of `control`, which does. It
    /// is made where it is to be.
    #[inline(always)]
    fn init<'a>(
        params: &'a Params<'_>,
        dest: Option<RcuArc<Dest>>,
        flags: u32,
        control: Option<RcuArc<Conn>>,
        ext: Option<RcuBox<Ext>>,
    ) -> impl Init<Self> + use<'a> {
        let flags = match ext {
            Some(_) => flags | HAS_LOCAL,
            None => flags,
        };
        let mut word = 0;
        if flags & IP_VS_CONN_F_INACTIVE != 0 {
            word |= INACTIVE;
        }
        if flags & IP_VS_CONN_F_NOOUTPUT != 0 {
            word |= NO_OUTPUT;
        }
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
            life: Life::new(word, now(), is_unanswered),
            flags: Word32::new(flags),
            fwmark: Word32::new(params.fwmark),
            dest: RcuArcCell::new(dest),
            control,
            ext: RcuCell::new(ext),
        })
    }

    /// A conn for one packet, which is in no table (C: `IP_VS_CONN_F_ONE_PACKET`).
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn one_packet<'a>(
        params: &'a Params<'_>,
        dest: RcuArc<Dest>,
    ) -> Result<impl Init<Self> + use<'a>> {
        let flags = dest.conn_flags() | IP_VS_CONN_F_ONE_PACKET;
        let ext = Ext::of(params)?;
        Ok(Self::init(params, Some(dest), flags, None, ext))
    }

    #[inline(always)]
    fn flags(&self) -> u32 {
        self.flags.get()
    }

    /// The dest, unless it is not configured.
    #[inline(always)]
    pub(crate) fn dest<'g>(&'g self, guard: &'g rcu::Guard) -> Option<&'g Dest> {
        self.dest.get(guard).map(RcuRef::get)
    }

    /// The same, to be stored.
    pub(crate) fn dest_ref<'g>(&'g self, guard: &'g rcu::Guard) -> Option<RcuRef<'g, Dest>> {
        self.dest.get(guard)
    }

    /// The family of the dest's address, which is not the client's in a tunnel of the other family.
    pub(crate) fn dest_family(&self, guard: &rcu::Guard) -> Family {
        self.dest(guard).map_or(self.family, |dest| dest.family)
    }

    /// The client's end.
    #[inline(always)]
    pub(crate) fn client(&self) -> End<'_> {
        (&self.caddr, self.cport)
    }

    /// The service's end.
    #[inline(always)]
    pub(crate) fn service(&self) -> End<'_> {
        (&self.vaddr, self.vport)
    }

    /// The dest's end.
    #[inline(always)]
    pub(crate) fn dest_end(&self) -> End<'_> {
        (&self.daddr, self.dport)
    }

    /// Whether the dest sees a local end in place of the client.
    #[inline(always)]
    pub(crate) fn has_local(&self) -> bool {
        self.flags() & HAS_LOCAL != 0
    }

    /// The end that the dest sees in place of the client, if there is one.
    #[inline]
    pub(crate) fn local<'g>(&'g self, guard: &'g rcu::Guard) -> Option<End<'g>> {
        let Ext { local } = self.ext.get(guard)?;
        Some((&local.0, local.1))
    }

    /// Whether its packets are translated.
    #[inline(always)]
    pub(crate) fn is_masqueraded(&self) -> bool {
        forward::number(self.flags()) == IP_VS_CONN_F_MASQ
    }

    /// Whether replies come between other ends than requests.
    fn has_other_reply(&self) -> bool {
        self.is_masqueraded() || self.has_local()
    }

    /// The ends of a packet from the dest, its source and its destination: what replies are found
    /// by.
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

    /// How its packets reach the dest.
    #[inline(always)]
    pub(crate) fn forward(&self) -> Forward {
        Forward::of(self.flags())
    }

    /// Whether `packet` goes from its client to its service.
    #[inline(always)]
    fn is_in(&self, packet: &Packet) -> bool {
        self.cport == packet.sport
            && self.vport == packet.dport
            && self.caddr == packet.saddr
            && self.vaddr == packet.daddr
            && self.proto as u8 == packet.protocol
            && self.family == packet.family
    }

    /// Whether `packet` goes from its dest, or from its service if the dest answers as that, to
    /// its client.
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

    /// The name of the protocol.
    pub(crate) fn proto_name(&self) -> &'static str {
        if self.flags() & BY_FWMARK != 0 {
            "IP"
        } else {
            self.proto.name()
        }
    }

    /// The port of the dest as files show it.
    pub(crate) fn shown_dport(&self) -> Port {
        if self.life.is_invalid() {
            template::NO_PORT
        } else {
            self.dport
        }
    }

    /// The time until it expires if no packet comes, in jiffies.
    pub(crate) fn expires_in(&self) -> u32 {
        self.life.left(now(), self.timeout())
    }

    /// How long it may stay idle, in jiffies.
    fn timeout(&self) -> u32 {
        if self.is_template() {
            self.life.lifetime()
        } else {
            self.life.timeout()
        }
    }

    /// Whether a packet that starts a new conn means that this one is over
    /// (C: `is_new_conn_expected()`).
    pub(crate) fn is_reusable(&self, reuse_mode: i32) -> bool {
        self.control.is_none()
            && reuse_mode != 0
            && self
                .proto
                .is_over(self.life.state(), self.life.has_no_output(), reuse_mode)
    }

    /// Takes note that a packet was found to be of this conn, which does not expire while the packet
    /// is translated.
    #[inline(always)]
    pub(crate) fn seen(&self) {
        self.life.seen(now());
    }

    /// Makes it dead and takes it out of the table. False if it was dead already.
    pub(crate) fn kill(this: ConnRef<'_>, guard: &rcu::Guard) -> bool {
        match this.life.kill() {
            Some(was_inactive) => {
                Self::unlink(this, guard, was_inactive);
                true
            }
            None => false,
        }
    }

    /// Takes a dead conn out of the table and of the dest's counters.
    fn unlink(this: ConnRef<'_>, guard: &rcu::Guard, was_inactive: bool) {
        if let Some(dest) = this.dest.get(guard) {
            dest.conn_unbound(guard, this.flags_with(was_inactive));
        }
        if let Some(control) = &this.control {
            control.uncontrol();
        }
        drop(RcuHash::unlink(this, guard));
    }

    /// The flags, `IP_VS_CONN_F_*`, with that of an inactive conn or without.
    fn flags_with(&self, is_inactive: bool) -> u32 {
        let flags = self.flags() & !IP_VS_CONN_F_INACTIVE;
        match is_inactive {
            true => flags | IP_VS_CONN_F_INACTIVE,
            false => flags,
        }
    }
}

/// The 32 bits of the time that conns keep.
#[inline(always)]
fn now() -> u32 {
    jiffies() as u32
}

impl_has_hash_links! {
    impl HasHashLinks for Conn { self.links }
}

impl_has_timer! {
    impl HasTimer for Conn { self.timer }
}

impl TimerCallback for Conn {
    fn run(this: ConnRef<'_>, guard: &rcu::Guard) -> Option<usize> {
        // Another CPU may run the timers of the CPU that adds the conn (`timer_expire_remote()`).
        if this.links.is_pending() {
            return Some(1);
        }
        match this.life.fired(now(), this.timeout()) {
            Expiry::Over => None,
            Expiry::Again(delay) => Some(delay as usize),
            Expiry::Died { was_inactive } => {
                Self::unlink(this, guard, was_inactive);
                None
            }
        }
    }
}
