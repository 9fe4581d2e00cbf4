// SPDX-License-Identifier: GPL-2.0

//! The match `ipvs` of iptables (`-m ipvs`): properties of the conn that a packet belongs to.
//!
//! The module xt_ipvs ([src/companion/xt_ipvs.c]) registers it, so that ip_vs does not need
//! x_tables.
//!
//! C version: [net/netfilter/xt_ipvs.c].

use crate::{
    addr::{
        Addr,
        Family,
        Port, //
    },
    conn::Conn,
    netns::Netns,
    oot::net::{
        namespace::Net,
        nf_proto::NfProto,
        pernet::PerNet,
        skbuff::Skb,
        x_tables::{
            export_match,
            Match, //
        },
    },
    packet::{
        Extent,
        Packet, //
    },
};
use kernel::sync::rcu;
use zerocopy_derive::{
    FromBytes,
    Immutable, //
};

/// Bits of `bitmask` and `invert` (`XT_IPVS_*`).
const PROPERTY: u8 = 1 << 0;
const PROTO: u8 = 1 << 1;
const VADDR: u8 = 1 << 2;
const VPORT: u8 = 1 << 3;
const DIR: u8 = 1 << 4;
const METHOD: u8 = 1 << 5;
const VPORTCTL: u8 = 1 << 6;

/// The options of a rule (`struct xt_ipvs_mtinfo`).
#[derive(FromBytes, Immutable)]
#[repr(C)]
pub(crate) struct Options {
    vaddr: Addr,
    vmask: Addr,
    vport: Port,
    l4proto: u8,
    fwd_method: u8,
    vportctl: Port,
    /// Which conditions are inverted.
    invert: u8,
    /// Which conditions there are.
    bitmask: u8,
}

impl Options {
    /// Whether a condition holds, or is not in the rule.
    fn meets(&self, bit: u8, holds: impl FnOnce() -> bool) -> bool {
        self.bitmask & bit == 0 || holds() != (self.invert & bit != 0)
    }

    /// Whether a packet meets the conditions on its conn.
    fn matches_conn(&self, skb: &Skb, family: Family, conn: &Conn) -> bool {
        let masked = |addr: &Addr| {
            let (addr, mask, len) = (addr.bytes(), self.vmask.bytes(), family.addr_len());
            let wanted = self.vaddr.bytes();
            let bytes = addr.iter().zip(wanted).zip(mask).take(len);
            bytes.fold(0, |all, ((a, b), mask)| all | (a ^ b) & mask) == 0
        };
        let direction = || skb.conntrack().map(|entry| entry.is_reply());
        // As in C, a packet without conntrack entry has no direction, so no value of it matches.
        if self.bitmask & DIR != 0 && direction().is_none() {
            return false;
        }
        self.meets(VPORT, || conn.vport == self.vport)
            && self.meets(VPORTCTL, || conn.control_vport() == Some(self.vportctl))
            && self.meets(DIR, || direction() == Some(false))
            && self.meets(METHOD, || conn.forward_number() == self.fwd_method.into())
            && self.meets(VADDR, || masked(&conn.vaddr))
    }
}

/// The match.
pub(crate) struct Ipvs;

impl Match for Ipvs {
    type Options = Options;

    fn matches(options: &Options, net: &Net, proto: NfProto, skb: &Skb, rcu: &rcu::Guard) -> bool {
        if options.bitmask == PROPERTY {
            return options.meets(PROPERTY, || skb.ipvs_property());
        }
        if !skb.ipvs_property() {
            return false;
        }
        let family = match proto {
            NfProto::Ipv4 => Family::Inet,
            NfProto::Ipv6 => Family::Inet6,
        };
        let mut packet = Packet::new(family);
        if !packet.parse(skb) || !options.meets(PROTO, || packet.protocol == options.l4proto) {
            return false;
        }
        // AH and ESP belong to the connection by which the keys are exchanged.
        if packet.is_ipsec() {
            packet = packet.as_isakmp();
        } else if packet.header == Extent::Nothing || packet.is_later_fragment {
            return false;
        }
        let Some(netns) = PerNet::<Netns>::find(net, rcu) else {
            return false;
        };
        // A packet to the dest; replies have the opposite ends.
        let conn = netns.conns.find_out(rcu, &packet.swapped());
        conn.is_some_and(|conn| options.matches_conn(skb, family, conn.get()))
    }
}

export_match!(Ipvs as ip_vs_xt_match, 40);
