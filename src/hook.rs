// SPDX-License-Identifier: GPL-2.0

//! The netfilter hooks: the path of a packet through IPVS.
//!
//! C version: `ip_vs_in_hook()`, `ip_vs_out_hook()`, `ip_vs_forward_icmp()`
//! [net/netfilter/ipvs/ip_vs_core.c].
//!
//! C registers two hooks at each hook point, one for packets from dests and one for packets to
//! services. Here there is one, since a single conn lookup also determines the packet's direction.

mod decap;
mod fullnat;
mod icmp;
mod initiated;
mod persist;
mod related;
mod schedule;

use crate::{
    addr::Family,
    conn::{
        Conn,
        ConnRef, //
    },
    dest::Dest,
    netns::Netns,
    oot::net::{
        filter::{
            DefragUser,
            Hook,
            HookNum,
            HookOps,
            HookSkb,
            Registration,
            Verdict,
            PRI_NAT_DST,
            PRI_NAT_SRC, //
        },
        nf_proto::NfProto,
        pernet::PerNet,
        skbuff::Skb, //
    },
    oot::sync::{
        rcu::Section,
        RcuRef, //
    },
    packet::{
        nf_proto,
        Extent,
        Packet, //
    },
    proto::{
        direction::Direction,
        sctp::states::Event,
        Proto,
        Signal, //
    },
    uapi::{
        IPPROTO_ICMP,
        IPPROTO_ICMPV6, //
    },
    xmit, //
};
use core::marker::PhantomData;
use kernel::{
    prelude::*,
    sync::rcu, //
};

/// The hooks for IPv4.
static INET: [HookOps<PerNet<Netns>>; 3] = hooks::<false>();

/// The hooks for IPv6.
static INET6: [HookOps<PerNet<Netns>>; 3] = hooks::<true>();

const fn hooks<const IS_INET6: bool>() -> [HookOps<PerNet<Netns>>; 3] {
    [
        // After packet filtering, so that its rules apply to services.
        HookOps::new::<At<LocalIn, IS_INET6>>(PRI_NAT_SRC - 2),
        // For clients and dests on this host.
        HookOps::new::<At<LocalOut, IS_INET6>>(PRI_NAT_DST + 1),
        // Replies that this host forwards, and ICMP errors about packets of conns.
        HookOps::new::<At<Forward, IS_INET6>>(PRI_FORWARD),
    ]
}

/// Registers the hooks of `family` when a network namespace gets its first service of that family.
/// Does nothing if they are registered already.
///
/// # Errors
///
/// `ENOENT` if the namespace is being destroyed; otherwise those of [`Registration::new`].
pub(crate) fn enable(netns: &PerNet<Netns>, family: Family) -> Result {
    let ops = match family {
        Family::Inet => &INET,
        Family::Inet6 => &INET6,
    };
    let mut registrations = netns.registrations.lock();
    if registrations.are_closed {
        return Err(ENOENT);
    }
    let hooks = registrations.hooks(family);
    if hooks.is_none() {
        let netns = netns.get_ref().ok_or(ENOENT)?;
        *hooks = Some(Registration::new(netns, ops)?);
    }
    Ok(())
}

/// Unregisters the hooks of `family` after the last service of that family was removed from the
/// network namespace.
pub(crate) fn disable(netns: &PerNet<Netns>, family: Family) {
    *netns.registrations.lock().hooks(family) = None;
}

/// The priority of the forward hooks, as in C: after packet filtering.
const PRI_FORWARD: i32 = 99;

/// A place where IPVS has a hook.
trait Place: 'static {
    const NUM: HookNum;
}

struct LocalIn;
struct LocalOut;
struct Forward;

impl Place for LocalIn {
    const NUM: HookNum = HookNum::LocalIn;
}

impl Place for LocalOut {
    const NUM: HookNum = HookNum::LocalOut;
}

impl Place for Forward {
    const NUM: HookNum = HookNum::Forward;
}

/// The hook function at a place.
struct At<P: Place, const IS_INET6: bool>(PhantomData<P>);

impl<P: Place, const IS_INET6: bool> At<P, IS_INET6> {
    const ADDR_FAMILY: Family = match IS_INET6 {
        true => Family::Inet6,
        false => Family::Inet,
    };
}

impl<P: Place, const IS_INET6: bool> Hook for At<P, IS_INET6> {
    type Context = PerNet<Netns>;

    const FAMILY: NfProto = nf_proto(Self::ADDR_FAMILY);
    const HOOKNUM: HookNum = P::NUM;

    #[inline(always)]
    fn run<'h>(netns: &PerNet<Netns>, skb: HookSkb<'h>, rcu: &'h rcu::Guard) -> Verdict<'h> {
        HookCtx::new(netns, rcu, P::NUM).run(skb, Self::ADDR_FAMILY)
    }
}

/// The context of one hook call. It is small enough to be passed in registers.
#[derive(Clone, Copy)]
struct HookCtx<'a> {
    netns: &'a PerNet<Netns>,
    section: Section<'a>,
    place: HookNum,
}

impl<'a> HookCtx<'a> {
    #[inline(always)]
    fn new(netns: &'a PerNet<Netns>, rcu: &'a rcu::Guard, place: HookNum) -> Self {
        Self {
            netns,
            section: Section::of(rcu),
            place,
        }
    }

    /// The RCU read-side critical section in which the hook runs.
    #[inline(always)]
    fn rcu(self) -> &'a rcu::Guard {
        self.section.guard()
    }

    #[inline(always)]
    fn run<'h>(self, skb: HookSkb<'h>, family: Family) -> Verdict<'h> {
        if skb.ipvs_property() || !skb.has_dst() || self.is_raw_socket(&skb, family) {
            return skb.accept();
        }
        let mut packet = Packet::new(family);
        if !packet.parse_common(&skb) {
            return skb.accept();
        }
        match packet.proto {
            Some(proto) => self.balance::<false>(skb, &mut packet, proto),
            None if is_icmp(&packet) => self.icmp(skb, &mut packet),
            None => self.balance_rare(skb, &mut packet),
        }
    }

    /// Whether a local socket with `IP_NODEFRAG` has sent the packet (C: `NODEFRAG`). Fragments
    /// from such a socket must not be reassembled.
    #[inline(always)]
    fn is_raw_socket(self, skb: &HookSkb<'_>, family: Family) -> bool {
        self.place == HookNum::LocalOut && family == Family::Inet && skb.is_from_nodefrag_socket()
    }

    /// Handles a packet of a protocol other than TCP, UDP and ICMP.
    #[cold]
    fn balance_rare<'h>(self, skb: HookSkb<'h>, packet: &mut Packet) -> Verdict<'h> {
        packet.read_rare(&skb);
        match packet.proto {
            Some(proto) => self.balance::<true>(skb, packet, proto),
            None if packet.is_ipsec() => self.related(skb, packet),
            None => self.pass(skb),
        }
    }

    /// Accepts a packet of a protocol that is not supported. With the sysctl `ignore_tunneled`, a
    /// packet inside it is not handled either.
    #[cold]
    fn pass<'h>(self, mut skb: HookSkb<'h>) -> Verdict<'h> {
        if self.may_request(&skb) && self.netns.sysctl.ignore_tunneled() {
            skb.set_ipvs_property();
        }
        skb.accept()
    }

    /// Handles a packet of a supported protocol. `IS_RARE`: it is neither TCP nor UDP.
    #[inline(always)]
    fn balance<'h, const IS_RARE: bool>(
        self,
        mut skb: HookSkb<'h>,
        packet: &mut Packet,
        proto: Proto,
    ) -> Verdict<'h> {
        if packet.is_fragment && packet.family == Family::Inet {
            skb = match self.defrag(skb, packet) {
                Ok(skb) => skb,
                Err(verdict) => return verdict,
            };
        }
        if packet.header == Extent::Nothing {
            return self.without_ports(skb);
        }
        packet.hash = Some(self.netns.conns.hash_of_packet(packet));
        match self.netns.conns.find(self.rcu(), packet) {
            Some((Direction::Output, conn)) => self.response::<IS_RARE>(skb, conn, packet),
            Some((_, conn)) if self.may_request(&skb) => self.request::<IS_RARE>(skb, conn, packet),
            None => self.without_conn(skb, packet, proto),
            _ => skb.accept(),
        }
    }

    /// Handles a packet that belongs to no conn.
    #[inline]
    fn without_conn<'h>(self, mut skb: HookSkb<'h>, packet: &Packet, proto: Proto) -> Verdict<'h> {
        if proto == Proto::Udp && self.netns.services.starts_from_dest(packet.family) {
            skb = match self.initiated(skb, packet) {
                Ok(verdict) => return verdict,
                Err(skb) => skb,
            };
        }
        if self.netns.sysctl.nat_icmp_send() && self.is_unknown_reply(packet) {
            return self.refuse(skb, packet.family);
        }
        match self.may_request(&skb) {
            true => self.begin_or_fill(skb, packet, proto),
            false => skb.accept(),
        }
    }

    /// Whether a packet comes from a dest with NAT and does not end a connection itself: the dest
    /// gets an ICMP error.
    #[cold]
    fn is_unknown_reply(self, packet: &Packet) -> bool {
        let ends = match packet.signal {
            Signal::Segment(flags) => flags.rst(),
            Signal::Chunks(event) => event == Event::Abort,
            Signal::Nothing | Signal::Datagram => false,
        };
        !ends && self.real_server(packet).is_some()
    }

    /// The dest with NAT that the packet comes from.
    fn real_server(self, packet: &Packet) -> Option<RcuRef<'a, Dest>> {
        let source = (&packet.saddr, packet.sport);
        self.netns
            .reals
            .find(self.rcu(), packet.family, packet.protocol, source)
    }

    /// Handles a packet that is too short to have ports. It belongs to no conn and cannot start
    /// one.
    #[cold]
    fn without_ports<'h>(self, skb: HookSkb<'h>) -> Verdict<'h> {
        match self.may_request(&skb) && !self.netns.sync.is_backup_only() {
            true => skb.drop_eperm(),
            false => skb.accept(),
        }
    }

    /// Reassembles an IPv4 packet and parses the result. The error is the verdict on a packet that
    /// is still incomplete or cannot be parsed.
    #[cold]
    fn defrag<'h>(self, skb: HookSkb<'h>, packet: &mut Packet) -> Result<HookSkb<'h>, Verdict<'h>> {
        let user = match self.place {
            HookNum::LocalIn => DefragUser::VS_IN,
            HookNum::Forward => DefragUser::VS_FWD,
            HookNum::LocalOut => DefragUser::VS_OUT,
        };
        let skb = skb.defrag4(self.netns.net(), user)?;
        *packet = Packet::new(packet.family);
        match packet.parse(&skb) {
            true => Ok(skb),
            false => Err(skb.accept()),
        }
    }

    /// Whether the packet may be a request to a service: it was sent to this host (`PACKET_HOST`)
    /// or by this host.
    #[inline(always)]
    fn may_request(self, skb: &HookSkb<'_>) -> bool {
        match self.place {
            HookNum::LocalIn => skb.is_to_host(),
            HookNum::LocalOut => true,
            HookNum::Forward => false,
        }
    }

    /// Handles a packet of a conn from the client to the dest.
    #[inline(always)]
    fn request<'h, const IS_RARE: bool>(
        self,
        skb: HookSkb<'h>,
        conn: ConnRef<'a>,
        packet: &Packet,
    ) -> Verdict<'h> {
        if self.netns.sync.concerns_packets() {
            return self.request_synced::<IS_RARE>(skb, conn, packet);
        }
        self.serve::<IS_RARE, false>(skb, conn, packet)
    }

    /// Handles such a packet while a sync daemon concerns packets.
    #[inline(never)]
    fn request_synced<'h, const IS_RARE: bool>(
        self,
        skb: HookSkb<'h>,
        conn: ConnRef<'a>,
        packet: &Packet,
    ) -> Verdict<'h> {
        match self.netns.sync.is_backup_only() {
            true => skb.accept(),
            false => self.serve::<IS_RARE, true>(skb, conn, packet),
        }
    }

    /// Sends such a packet to the dest. `IS_SYNCED`: the conn may have to be sent to backup
    /// directors.
    #[inline(always)]
    fn serve<'h, const IS_RARE: bool, const IS_SYNCED: bool>(
        self,
        skb: HookSkb<'h>,
        conn: ConnRef<'a>,
        packet: &Packet,
    ) -> Verdict<'h> {
        if proto_of::<IS_RARE>(conn).is_start(packet.signal) && self.starts_anew(&skb, conn) {
            return self.schedule_anew(skb, conn, packet);
        }
        let dest = conn.get().dest(self.rcu());
        if dest.is_some_and(|dest| !dest.is_available()) {
            if !self.netns.sysctl.expire_nodest_conn() {
                return skb.drop_eperm();
            }
            return self.schedule_anew(skb, conn, packet);
        }
        if !self.touch::<IS_RARE>(conn, Direction::Input, packet) {
            return self.schedule(skb, packet, conn.proto);
        }
        if IS_SYNCED {
            self.netns.sync_conn(conn.get(), self.rcu());
        }
        if let Some(dest) = dest {
            self.count_in(dest, &skb);
        }
        xmit::transmit(self.context(conn.get(), dest, packet), skb)
    }

    /// Handles a packet of a conn from the dest to the client. With NAT, it gets the service's
    /// address and port (C: `handle_response()`).
    #[inline(always)]
    fn response<'h, const IS_RARE: bool>(
        self,
        mut skb: HookSkb<'h>,
        conn: ConnRef<'a>,
        packet: &Packet,
    ) -> Verdict<'h> {
        conn.seen();
        if conn.has_local() {
            return self.response_to_local(skb, conn, packet);
        }
        let context = self.context_of(conn, packet);
        if xmit::reply::translate(context, &mut skb).is_none() {
            return skb.drop_silently();
        }
        self.count_out(context.dest, &skb);
        self.touch::<IS_RARE>(conn, Direction::Output, packet);
        xmit::reply::send(context, skb)
    }

    /// Updates the state and the timeout of the conn. Returns false if the conn is dead.
    #[inline(always)]
    fn touch<const IS_RARE: bool>(
        self,
        conn: ConnRef<'a>,
        direction: Direction,
        packet: &Packet,
    ) -> bool {
        Conn::touch(
            conn,
            proto_of::<IS_RARE>(conn),
            self.rcu(),
            &self.netns.protocols,
            direction,
            packet.signal,
        )
    }

    /// Schedules a new conn for a packet of `old`, then kills `old`, unless it controls others. As in
    /// C, `old` is still counted for its dest while the scheduler runs.
    ///
    /// An old conntrack entry of the packet, which cannot lead to another dest, is replaced. C drops
    /// the packet, so that the client must send it again.
    #[cold]
    fn schedule_anew<'h>(
        self,
        mut skb: HookSkb<'h>,
        old: ConnRef<'a>,
        packet: &Packet,
    ) -> Verdict<'h> {
        let family = nf_proto(packet.family);
        if skb.has_confirmed_conntrack()
            && !skb.renew_conntrack(self.netns.net(), family, self.place)
        {
            return skb.drop_eperm();
        }
        // The entry belongs to the new conn.
        old.leave_conntrack();
        let verdict = self.schedule(skb, packet, old.proto);
        if !old.is_in_control() {
            self.rest(old);
            Conn::kill(old, self.rcu());
        }
        verdict
    }

    /// The transmitter's context for a packet of a conn to `dest`.
    #[inline(always)]
    fn context<'b>(
        self,
        conn: &'b Conn,
        dest: Option<&'b Dest>,
        packet: &'b Packet,
    ) -> xmit::Context<'b>
    where
        'a: 'b,
    {
        xmit::Context {
            netns: self.netns,
            rcu: self.rcu(),
            place: self.place,
            conn,
            dest,
            packet,
        }
    }

    /// As [`context`](Self::context), for a conn in the table and its dest.
    #[inline(always)]
    fn context_of<'b>(self, conn: ConnRef<'a>, packet: &'b Packet) -> xmit::Context<'b>
    where
        'a: 'b,
    {
        let conn = conn.get();
        self.context(conn, conn.dest(self.rcu()), packet)
    }

    /// Whether a packet that starts a connection may replace this conn (C: in `ip_vs_in_hook()`).
    #[cold]
    fn starts_anew(self, skb: &Skb, conn: ConnRef<'a>) -> bool {
        let sysctl = &self.netns.sysctl;
        let dest = conn.get().dest(self.rcu());
        if sysctl.expire_nodest_conn() && dest.is_some_and(|dest| dest.weight() == 0) {
            return true;
        }
        // The entry of a control connection belongs to its data connections as well.
        let keeps_entry =
            || conn.is_in_control() && conn.is_tracked() && skb.has_confirmed_conntrack();
        conn.is_reusable(sysctl.conn_reuse_mode()) && !keeps_entry()
    }

    /// Counts a packet to `dest`.
    #[inline(always)]
    fn count_in(self, dest: &Dest, skb: &Skb) {
        dest.stats.count_in(skb.len().into());
        self.netns.stats().count_in(skb.len().into());
    }

    /// Counts a packet from `dest`, if the dest is available.
    #[inline(always)]
    fn count_out(self, dest: Option<&Dest>, skb: &Skb) {
        if let Some(dest) = dest.filter(|dest| dest.is_available()) {
            dest.stats.count_out(skb.len().into());
            self.netns.stats().count_out(skb.len().into());
        }
    }
}

/// The protocol of a conn. Unless it `IS_RARE`, it is TCP or UDP by its type's form, without a test.
#[inline(always)]
fn proto_of<const IS_RARE: bool>(conn: ConnRef<'_>) -> Proto {
    match IS_RARE {
        true => conn.proto,
        false => conn.proto.tcp_or_udp(),
    }
}

fn is_icmp(packet: &Packet) -> bool {
    packet.protocol
        == match packet.family {
            Family::Inet => IPPROTO_ICMP,
            Family::Inet6 => IPPROTO_ICMPV6,
        }
}
