// SPDX-License-Identifier: GPL-2.0

//! Connection tracking entries.
//!
//! A packet has an entry after a hook of nf_conntrack has handled it. The entry of a new connection
//! is *unconfirmed*, and belongs to the packet alone, until the last hook of the packet's path adds
//! it to the table.
//!
//! C header: [`include/net/netfilter/nf_conntrack.h`](srctree/include/net/netfilter/nf_conntrack.h)

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    error::to_result,
    prelude::*, //
};

use crate::oot::bindings;

use super::{
    namespace::{
        Net,
        NetRef, //
    },
    nf_proto::NfProto,
    skbuff::Skb, //
};

/// An end of a connection: address and port, in network byte order. IPv4 addresses are the first
/// four bytes, followed by zeros.
pub(crate) type End = ([u8; 16], [u8; 2]);

/// The ends of a connection as one direction of its packets has them.
#[derive(Clone, Copy)]
pub(crate) struct Tuple(bindings::nf_conntrack_tuple);

impl Tuple {
    /// The tuple of the packets that start a connection of the transport protocol `protocol`.
    pub(crate) fn original(family: NfProto, protocol: u8, source: End, destination: End) -> Self {
        let mut tuple = Self(bindings::nf_conntrack_tuple::default());
        // SAFETY: The tuple is valid.
        unsafe { bindings::oot_nf_tuple_set_protocols(&mut tuple.0, family.as_raw(), protocol) };
        tuple.set_source(source);
        tuple.set_destination(destination);
        tuple
    }

    /// Sets the source.
    pub(crate) fn set_source(&mut self, (addr, port): End) {
        let port = u16::from_ne_bytes(port);
        // SAFETY: The tuple is valid, and the address has 16 bytes.
        unsafe { bindings::oot_nf_tuple_set_source(&mut self.0, addr.as_ptr(), port) };
    }

    /// Sets the destination.
    pub(crate) fn set_destination(&mut self, (addr, port): End) {
        let port = u16::from_ne_bytes(port);
        // SAFETY: The tuple is valid, and the address has 16 bytes.
        unsafe { bindings::oot_nf_tuple_set_destination(&mut self.0, addr.as_ptr(), port) };
    }

    /// The transport protocol (`IPPROTO_*`).
    pub(crate) fn protocol(&self) -> u8 {
        // SAFETY: The tuple is valid.
        unsafe { bindings::oot_nf_tuple_protocol(&self.0) }
    }
}

/// The entry of a packet.
///
/// # Invariants
///
/// `ct` is live for `'a`, since the packet has a reference to it.
pub(crate) struct NfConn<'a> {
    ct: NonNull<bindings::nf_conn>,
    info: u32,
    _packet: PhantomData<&'a Skb>,
}

impl NfConn<'_> {
    /// Whether the entry is in the table.
    pub(crate) fn is_confirmed(&self) -> bool {
        // SAFETY: The entry is live by the type invariant.
        unsafe { bindings::oot_nf_ct_is_confirmed(self.ct.as_ptr()) }
    }

    /// Whether the packet goes in the direction of replies.
    pub(crate) fn is_reply(&self) -> bool {
        self.info >= bindings::ip_conntrack_info_IP_CT_IS_REPLY
    }

    /// The tuple of the replies.
    fn reply(&self) -> Tuple {
        // SAFETY: The entry is live by the type invariant.
        Tuple(unsafe { *bindings::oot_nf_ct_reply(self.ct.as_ptr()) })
    }

    fn is_dying(&self) -> bool {
        // SAFETY: The entry is live by the type invariant.
        unsafe { bindings::oot_nf_ct_is_dying(self.ct.as_ptr()) }
    }

    /// Whether the packet starts a connection. The entry belongs to the packet alone then.
    fn is_new(&self) -> bool {
        !self.is_confirmed() && !self.is_dying() && !self.is_reply()
    }
}

/// The entry of a connection that a packet starts.
///
/// # Invariants
///
/// The entry is unconfirmed, and only the packet, which is borrowed exclusively, refers to it.
pub(crate) struct NewConn<'a>(NfConn<'a>);

impl NewConn<'_> {
    /// Changes the tuple of the replies.
    pub(crate) fn alter_reply(&mut self, change: impl FnOnce(&mut Tuple)) {
        let mut reply = self.0.reply();
        change(&mut reply);
        // SAFETY: Only this value refers to the entry, by the type invariant.
        unsafe { bindings::oot_nf_conntrack_alter_reply(self.0.ct.as_ptr(), &reply.0) };
    }

    /// Lets the sequence numbers be adjusted later. Returns false if memory is short.
    #[must_use]
    pub(crate) fn allow_seq_adjustment(&mut self) -> bool {
        // SAFETY: Only this value refers to the entry, by the type invariant.
        unsafe { bindings::oot_nf_ct_allow_seqadj(self.0.ct.as_ptr()) }
    }

    /// Keeps the connection out of flowtables, whose packets bypass the other hooks. If memory is
    /// short, a UDP connection is not kept out.
    pub(crate) fn forbid_offload(&mut self) {
        // SAFETY: Only this value refers to the entry, by the type invariant.
        unsafe { bindings::oot_nf_ct_forbid_offload(self.0.ct.as_ptr()) };
    }
}

impl Skb {
    /// The packet's entry.
    pub(crate) fn conntrack(&self) -> Option<NfConn<'_>> {
        let mut info = 0;
        // SAFETY: The packet is live by the type invariant.
        let ct = unsafe { bindings::oot_nf_ct_get(self.as_raw(), &mut info) };
        // INVARIANT: The packet holds a reference to the entry while it is borrowed.
        Some(NfConn {
            ct: NonNull::new(ct)?,
            info,
            _packet: PhantomData,
        })
    }

    /// Whether the packet has an entry that is in the table.
    pub(crate) fn has_confirmed_conntrack(&self) -> bool {
        self.conntrack().is_some_and(|entry| entry.is_confirmed())
    }

    /// The packet's entry, if the packet starts a connection. `None` if it has no entry, a
    /// confirmed one, or is a reply itself.
    pub(crate) fn new_conntrack(&mut self) -> Option<NewConn<'_>> {
        // INVARIANT: The entry is not in the table, so this packet alone, which is borrowed
        // exclusively, refers to it.
        self.conntrack().filter(NfConn::is_new).map(NewConn)
    }

    /// Creates an expectation: a connection from any port of `saddr` to `destination` with the
    /// transport protocol `protocol` becomes related to the packet's. As in C, this has an effect
    /// only if the packet's entry has a conntrack helper.
    pub(crate) fn expect_related(&mut self, protocol: u8, saddr: [u8; 16], destination: End) {
        let (daddr, dport) = destination;
        let dport = u16::from_ne_bytes(dport);
        if let Some(entry) = self.conntrack() {
            // SAFETY: The entry is live by the type invariant, and the addresses have 16 bytes.
            unsafe {
                bindings::oot_nf_ct_expect(
                    entry.ct.as_ptr(),
                    saddr.as_ptr(),
                    daddr.as_ptr(),
                    dport,
                    protocol,
                )
            };
        }
    }

    /// Whether the packet's entry has replaced the destination (`IPS_DST_NAT`).
    pub(crate) fn has_dnat_conntrack(&self) -> bool {
        self.conntrack().is_some_and(|entry| {
            // SAFETY: The entry is live by the type invariant.
            unsafe { bindings::oot_nf_ct_is_dnat(entry.ct.as_ptr()) }
        })
    }

    /// Deletes the packet's entry from the table, if it is there, and detaches it from the packet.
    pub(crate) fn delete_conntrack(&mut self) {
        if let Some(entry) = self.conntrack().filter(NfConn::is_confirmed) {
            // SAFETY: The entry is live by the type invariant, and was added to the table.
            unsafe { bindings::nf_ct_delete(entry.ct.as_ptr(), 0, 0) };
        }
        // SAFETY: By the type invariant no other code uses the packet.
        unsafe { bindings::oot_nf_reset_ct(self.as_raw()) };
    }

    /// Adds the packet's entry to the table, if it has one that is not there yet. Returns false if
    /// the packet must be dropped: another connection has the same tuple.
    #[must_use]
    pub(crate) fn confirm_conntrack(&mut self) -> bool {
        // SAFETY: By the type invariant no other code uses the packet.
        let verdict = unsafe { bindings::oot_nf_conntrack_confirm(self.as_raw()) };
        verdict as u32 == bindings::NF_ACCEPT
    }
}

/// Connection tracking of a family in a namespace, which is on while this value exists. A firewall
/// rule about the state of connections enables it as well.
pub(crate) struct Tracking<N: NetRef> {
    net: N,
    family: NfProto,
}

impl<N: NetRef> Tracking<N> {
    /// Enables connection tracking. May sleep.
    ///
    /// # Errors
    ///
    /// That of `nf_ct_netns_get()`, for example `ENOMEM`.
    pub(crate) fn new(net: N, family: NfProto) -> Result<Self> {
        // SAFETY: The namespace is live.
        to_result(unsafe { bindings::nf_ct_netns_get(net.net().as_raw(), family.as_raw()) })?;
        Ok(Self { net, family })
    }
}

impl<N: NetRef> Drop for Tracking<N> {
    /// May sleep.
    fn drop(&mut self) {
        // SAFETY: The namespace is live, and connection tracking was enabled in `new`.
        unsafe { bindings::nf_ct_netns_put(self.net.net().as_raw(), self.family.as_raw()) };
    }
}

/// Deletes the entry of the connection that packets with `tuple` started, in the default zone.
/// Returns whether there was one.
pub(crate) fn delete(net: &Net, tuple: &Tuple) -> bool {
    // SAFETY: The namespace is live, and nf_conntrack's state of it with it, since this module
    // depends on nf_conntrack. The function returns a reference.
    let ct = unsafe { bindings::oot_nf_conntrack_find_get(net.as_raw(), &tuple.0) };
    let Some(ct) = NonNull::new(ct) else {
        return false;
    };
    // SAFETY: The entry is live, since we own a reference.
    let deleted = unsafe { bindings::nf_ct_delete(ct.as_ptr(), 0, 0) };
    // SAFETY: The reference is ours, and is not used after this.
    unsafe { bindings::oot_nf_ct_put(ct.as_ptr()) };
    deleted
}
