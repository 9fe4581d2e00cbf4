// SPDX-License-Identifier: GPL-2.0

//! Replacement of conns: a client reuses a port, or the dest is no longer available.
//!
//! The conntrack entry of the old connection cannot lead to another dest. C lets the conn expire
//! with its entry and drops the packet, so that the client must send it again, a second later. Here
//! the entry is deleted, and a packet that starts a connection traverses all hooks once more, like
//! the packet that the client would send again. So the rules for new connections apply to it, and
//! the scheduler does not count the old conn any more.
//!
//! C version: `ip_vs_in_hook()`, `ip_vs_conn_uses_old_conntrack()`
//! [net/netfilter/ipvs/ip_vs_core.c].

use super::HookCtx;
use crate::{
    conn::{
        Conn,
        ConnRef, //
    },
    oot::net::{
        filter::{
            HookNum,
            HookSkb,
            Verdict, //
        },
        ip,
        skbuff::Skb, //
    },
    packet::Packet, //
};

impl<'a> HookCtx<'a> {
    /// Whether a packet that starts a connection may replace this conn.
    #[cold]
    pub(super) fn starts_anew(self, skb: &Skb, conn: ConnRef<'a>) -> bool {
        let sysctl = &self.netns.sysctl;
        let dest = conn.get().dest(self.rcu());
        if sysctl.expire_nodest_conn() && dest.is_some_and(|dest| dest.weight() == 0) {
            return true;
        }
        // The entry of a control connection belongs to its data connections as well.
        let keeps_entry = || conn.is_in_control() && skb.has_confirmed_conntrack();
        conn.is_reusable(sysctl.conn_reuse_mode()) && !keeps_entry()
    }

    /// Schedules a new conn for a packet of `old`, then kills `old`, unless it controls others. As
    /// in C, `old` is still counted for its dest while the scheduler runs.
    #[cold]
    pub(super) fn schedule_anew<'h>(
        self,
        skb: HookSkb<'h>,
        old: ConnRef<'a>,
        packet: &Packet,
    ) -> Verdict<'h> {
        if skb.has_confirmed_conntrack() {
            return self.without_old_entry(skb, old, packet);
        }
        // The entry belongs to the new conn.
        old.leave_conntrack();
        let verdict = self.schedule(skb, packet, old.proto);
        self.kill_unless_in_control(old);
        verdict
    }

    /// Handles a packet of `old` that has a conntrack entry. The packet is dropped as in C if it
    /// does not start a connection, if other connections belong to the entry, or if the entry has
    /// replaced its destination.
    fn without_old_entry<'h>(
        self,
        mut skb: HookSkb<'h>,
        old: ConnRef<'a>,
        packet: &Packet,
    ) -> Verdict<'h> {
        if old.is_in_control() || !old.proto.may_start(packet.signal, false) {
            self.kill_unless_in_control(old);
            return skb.drop_eperm();
        }
        let is_redirected = skb.has_dnat_conntrack();
        skb.delete_conntrack();
        // The entry may exist again. It belongs to another conn then.
        old.leave_conntrack();
        self.kill_unless_in_control(old);
        // Each pass through the hooks ends a conn.
        if is_redirected || old.is_in_control() {
            return skb.drop_eperm();
        }
        let (skb, verdict) = skb.steal();
        match self.place {
            HookNum::LocalOut => ip::local_out_again(self.netns.net(), skb),
            _ => ip::receive_again(skb),
        }
        verdict
    }

    fn kill_unless_in_control(self, old: ConnRef<'a>) {
        if !old.is_in_control() {
            self.reserve(old);
            Conn::kill(old, self.rcu());
        }
    }
}
