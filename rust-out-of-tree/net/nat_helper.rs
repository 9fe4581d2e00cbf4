// SPDX-License-Identifier: GPL-2.0

//! The helper module for NAT.
//!
//! nf_nat changes the payload of a packet and its sequence numbers. A module that calls functions
//! of nf_nat depends on it. The helper depends on nf_nat and on this module, and passes the
//! functions to this module. So nf_nat is not loaded before the helper is.
//!
//! The helper registers a `struct oot_nat_helper`. Its pointer is read under RCU, and unregistering
//! waits for a grace period.
//!
//! C header: [`nat_helper.h`](srctree/rust-out-of-tree/nat_helper.h),
//! [`include/net/netfilter/nf_nat_helper.h`](srctree/include/net/netfilter/nf_nat_helper.h)

use core::ptr::null_mut;
use kernel::{
    ffi::c_int,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Full, //
        },
        rcu, //
    },
};

use crate::oot::{
    bindings,
    sync::{
        rcu_dereference,
        Once, //
    }, //
};

use super::{
    nf_proto::NfProto,
    skbuff::Skb, //
};

/// The maximum number of ports of a helper.
pub(crate) const MAX_PORTS: usize = bindings::OOT_NAT_HELPER_PORTS as usize;

/// The registered helper, or null. It is valid until a grace period after it was replaced by null.
static REGISTERED: Atomic<*mut bindings::oot_nat_helper> = Atomic::new(null_mut());

/// The registered helper, for a read-side critical section.
#[derive(Clone, Copy)]
pub(crate) struct Helper<'g>(&'g bindings::oot_nat_helper);

impl<'g> Helper<'g> {
    /// Whether a helper is registered.
    #[inline(always)]
    pub(crate) fn exists() -> bool {
        !REGISTERED.read_once().is_null()
    }

    /// The registered helper.
    pub(crate) fn get(_guard: &'g rcu::Guard) -> Option<Self> {
        // SAFETY: The pointer is null, or valid until a grace period after it was replaced.
        unsafe { rcu_dereference(&REGISTERED).as_ref() }.map(Self)
    }

    /// The server ports of the helper, in host byte order.
    pub(crate) fn ports(self) -> &'g [u16] {
        self.0
            .ports
            .get(..self.0.count as usize)
            .unwrap_or_default()
    }

    /// Takes a reference to the helper's module. `None` if it is being unloaded.
    pub(crate) fn hold(self) -> Option<Held> {
        // SAFETY: The helper is registered, so its module is loaded.
        let is_taken = unsafe { bindings::try_module_get(self.0.owner) };
        // INVARIANT: The reference was just taken.
        is_taken.then(|| Held(Atomic::new(self.0.owner)))
    }

    /// Replaces `len` bytes at the offset `at` of the payload of a TCP packet, whose header is at
    /// the offset `transport`, by `text`. Lengths and checksums are updated. If the length changes,
    /// the sequence numbers of later packets are adjusted by connection tracking. Returns false if
    /// the packet has no conntrack entry of its family or no such bytes, or if memory is short.
    pub(crate) fn mangle_tcp(
        self,
        skb: &mut Skb,
        transport: u32,
        at: u32,
        len: u32,
        text: &[u8],
    ) -> bool {
        let Some(mangle) = self.0.mangle_tcp else {
            return false;
        };
        let Some(family) = skb.protocol() else {
            return false;
        };
        if !has_bytes(skb, family, transport, at, len) {
            return false;
        }
        let mut info = 0;
        // SAFETY: The packet is live by the type invariant.
        let ct = unsafe { bindings::oot_nf_ct_get(skb.as_raw(), &mut info) };
        // SAFETY: The pointer is null, or the entry is live, since the packet has a reference to
        // it.
        if ct.is_null() || unsafe { bindings::oot_nf_ct_family(ct) } != family.as_raw() {
            return false;
        }
        // SAFETY: By the type invariant no other code uses the packet. It is of the family of its
        // entry, and linear, and contains the TCP header and the bytes.
        unsafe {
            mangle(
                skb.as_raw(),
                ct,
                info,
                transport,
                at,
                len,
                text.as_ptr().cast(),
                text.len() as u32,
            )
        }
    }
}

/// Makes the packet linear and writable. Returns whether it has a TCP header at the offset
/// `transport`, behind an IP header, with `len` bytes at the offset `at` of the payload.
fn has_bytes(skb: &mut Skb, family: NfProto, transport: u32, at: u32, len: u32) -> bool {
    /// The offset of the byte with the length of the header, and the least length.
    const DATA_OFFSET: u32 = 12;
    const LEAST: u32 = 20;

    let whole = skb.len();
    let network = match family {
        NfProto::Ipv4 => 20,
        NfProto::Ipv6 => 40,
    };
    let Ok(bytes) = skb.writable(whole) else {
        return false;
    };
    let Some(offset) = transport.checked_add(DATA_OFFSET) else {
        return false;
    };
    let Some(words) = bytes.get(offset as usize).map(|byte| byte >> 4) else {
        return false;
    };
    let tcp = u32::from(words) << 2;
    let end = transport
        .checked_add(tcp)
        .and_then(|payload| payload.checked_add(at))
        .and_then(|start| start.checked_add(len));
    network <= transport && tcp >= LEAST && end.is_some_and(|end| end <= whole)
}

/// A reference to the module of a helper.
///
/// # Invariants
///
/// The pointer is null, or this value owns a reference to the module.
pub(crate) struct Held(Atomic<*mut bindings::module>);

// SAFETY: Any thread may put a module reference.
unsafe impl Send for Held {}

// SAFETY: The pointer is read by one atomic operation.
unsafe impl Sync for Held {}

impl Held {
    /// Drops the reference. Returns false if that was done already.
    pub(crate) fn release(&self) -> bool {
        let module = self.0.xchg(null_mut(), Full);
        if module.is_null() {
            return false;
        }
        // SAFETY: By the type invariant the reference was ours, until the exchange.
        unsafe { bindings::module_put(module) };
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}

/// Registers a helper.
///
/// # Errors
///
/// `EEXIST` if there is one.
///
/// # Safety
///
/// `helper` must be valid until it is unregistered.
#[no_mangle]
unsafe extern "C" fn oot_nat_helper_register(helper: *mut bindings::oot_nat_helper) -> c_int {
    match REGISTERED.cmpxchg(null_mut(), helper, Full) {
        Ok(_) => 0,
        Err(_) => EEXIST.to_errno(),
    }
}

/// Unregisters a helper.
///
/// # Safety
///
/// To be called in a context that may sleep.
#[no_mangle]
unsafe extern "C" fn oot_nat_helper_unregister(helper: *mut bindings::oot_nat_helper) {
    if REGISTERED.cmpxchg(helper, null_mut(), Full).is_ok() {
        rcu::synchronize_rcu();
    }
}
