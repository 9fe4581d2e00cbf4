// SPDX-License-Identifier: GPL-2.0

//! Netfilter hooks.
//!
//! A hook gets its packet as [`HookSkb`] and returns a [`Verdict`], which can only be made from
//! that packet: accept, drop, or stolen. The hook owns a stolen packet.
//!
//! C header: [`include/linux/netfilter.h`](srctree/include/linux/netfilter.h)

use core::{
    marker::PhantomData,
    ops::{
        Deref,
        DerefMut, //
    },
    ptr::NonNull, //
};
use kernel::{
    error::to_result,
    prelude::*,
    sync::rcu, //
};

use crate::oot::{
    bindings,
    sync::{
        rcu::assume_read_locked,
        RcuBox,
        RcuCell, //
    }, //
};

use super::{
    namespace::{
        Net,
        NetRef, //
    },
    nf_proto::NfProto,
    skbuff::{
        SkBuff,
        Skb, //
    }, //
};

/// The hook points used by this module (`NF_INET_*`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum HookNum {
    /// Packets delivered to this host.
    LocalIn,
    /// Packets forwarded by this host.
    Forward,
    /// Packets sent by this host.
    LocalOut,
}

impl HookNum {
    fn as_raw(self) -> u32 {
        match self {
            Self::LocalIn => bindings::nf_inet_hooks_NF_INET_LOCAL_IN,
            Self::Forward => bindings::nf_inet_hooks_NF_INET_FORWARD,
            Self::LocalOut => bindings::nf_inet_hooks_NF_INET_LOCAL_OUT,
        }
    }
}

/// The priority of source NAT (`NF_IP_PRI_NAT_SRC`).
pub(crate) const PRI_NAT_SRC: i32 = bindings::nf_ip_hook_priorities_NF_IP_PRI_NAT_SRC;
/// The priority of destination NAT (`NF_IP_PRI_NAT_DST`).
pub(crate) const PRI_NAT_DST: i32 = bindings::nf_ip_hook_priorities_NF_IP_PRI_NAT_DST;

/// A user of fragment reassembly (C: `enum ip_defrag_users`). Fragments of different users are
/// reassembled separately.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct DefragUser(u32);

impl DefragUser {
    /// `IP_DEFRAG_VS_IN`
    pub(crate) const VS_IN: Self = Self(bindings::ip_defrag_users_IP_DEFRAG_VS_IN);
    /// `IP_DEFRAG_VS_OUT`
    pub(crate) const VS_OUT: Self = Self(bindings::ip_defrag_users_IP_DEFRAG_VS_OUT);
    /// `IP_DEFRAG_VS_FWD`
    pub(crate) const VS_FWD: Self = Self(bindings::ip_defrag_users_IP_DEFRAG_VS_FWD);
}

type Invariant<'h> = PhantomData<fn(&'h ()) -> &'h ()>;

/// The packet of a hook call.
///
/// # Invariants
///
/// `skb` is live and borrowed for this call, and its data begin with a linear IP header of
/// `family`. The RCU read lock is held for `'h`.
pub(crate) struct HookSkb<'h> {
    skb: NonNull<bindings::sk_buff>,
    family: NfProto,
    _call: Invariant<'h>,
}

/// The verdict of a hook on its packet.
pub(crate) struct Verdict<'h>(u32, Invariant<'h>);

impl<'h> HookSkb<'h> {
    fn verdict(self, verdict: u32) -> Verdict<'h> {
        Verdict(verdict, PhantomData)
    }

    /// The protocol that the hook is registered for.
    #[inline(always)]
    pub(super) fn family(&self) -> NfProto {
        self.family
    }

    /// Lets the packet pass (`NF_ACCEPT`).
    #[inline(always)]
    pub(crate) fn accept(self) -> Verdict<'h> {
        self.verdict(bindings::NF_ACCEPT)
    }

    /// Drops the packet (`NF_DROP`). For a local sender the system call fails with `EPERM`.
    pub(crate) fn drop_eperm(self) -> Verdict<'h> {
        self.verdict(bindings::NF_DROP)
    }

    /// Takes ownership of the packet (`NF_STOLEN`).
    #[inline(always)]
    pub(crate) fn steal(self) -> (SkBuff<'h>, Verdict<'h>) {
        // SAFETY: With this verdict netfilter passes ownership of the packet to us. The other
        // requirements hold by the type invariant.
        let skb = unsafe { SkBuff::from_raw(self.skb, self.family) };
        (skb, self.verdict(bindings::NF_STOLEN))
    }

    /// Frees the packet (`NF_STOLEN`). For a local sender the system call succeeds.
    #[cold]
    pub(crate) fn drop_silently(self) -> Verdict<'h> {
        let (skb, verdict) = self.steal();
        drop(skb);
        verdict
    }

    /// Passes an IPv4 packet to reassembly for `user` (`ip_defrag()`). Returns the reassembled
    /// packet with a correct header checksum.
    ///
    /// # Errors
    ///
    /// A verdict. `NF_STOLEN` if reassembly keeps the packet until the other fragments arrive.
    /// `NF_DROP` for an IPv6 packet, and for a packet without device and route.
    pub(crate) fn defrag4(self, net: &Net, user: DefragUser) -> Result<Self, Verdict<'h>> {
        if self.family != NfProto::Ipv4 || !(self.has_dev() || self.has_dst()) {
            return Err(self.drop_eperm());
        }
        let _bh = crate::oot::sync::bh::Disabled::new();
        // SAFETY: The packet is an IPv4 one, and has a device or a route, from which C takes its
        // device. If the call fails, C owns the packet.
        if unsafe { bindings::ip_defrag(net.as_raw(), self.skb.as_ptr(), user.0) } != 0 {
            return Err(self.verdict(bindings::NF_STOLEN));
        }
        // SAFETY: The IP header is linear after reassembly.
        unsafe { bindings::oot_ip_send_check(self.skb.as_ptr()) };
        Ok(self)
    }
}

impl Deref for HookSkb<'_> {
    type Target = Skb;

    #[inline(always)]
    fn deref(&self) -> &Skb {
        // SAFETY: By the type invariant the packet is live and borrowed for this call.
        unsafe { Skb::from_raw(self.skb) }
    }
}

impl DerefMut for HookSkb<'_> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Skb {
        // SAFETY: By the type invariant the packet is live and borrowed for this call.
        unsafe { Skb::from_raw_mut(self.skb) }
    }
}

/// A function that netfilter calls on packets of a namespace.
pub(crate) trait Hook: 'static {
    /// The data of the hook.
    type Context: Sync + 'static;

    /// The protocol of the packets that the hook is called for.
    const FAMILY: NfProto;

    /// The place where it is called.
    const HOOKNUM: HookNum;

    /// Handles a packet and returns its verdict. Called in softirq context or, at LOCAL_OUT, in
    /// process context.
    fn run<'h>(context: &Self::Context, skb: HookSkb<'h>, rcu: &'h rcu::Guard) -> Verdict<'h>;
}

/// A hook, its hook point and its priority.
pub(crate) struct HookOps<C> {
    function: bindings::nf_hookfn,
    family: NfProto,
    hooknum: HookNum,
    priority: i32,
    _context: PhantomData<fn(C)>,
}

impl<C: Sync + 'static> HookOps<C> {
    /// Describes `H` with `priority`.
    pub(crate) const fn new<H: Hook<Context = C>>(priority: i32) -> Self {
        Self {
            function: Some(run::<H>),
            family: H::FAMILY,
            hooknum: H::HOOKNUM,
            priority,
            _context: PhantomData,
        }
    }
}

/// The C hook function.
///
/// # Safety
///
/// To be called only by netfilter, with the `priv` that [`Registration::new`] set.
unsafe extern "C" fn run<H: Hook>(
    context: *mut c_void,
    skb: *mut bindings::sk_buff,
    _state: *const bindings::nf_hook_state,
) -> u32 {
    // SAFETY: The registration's reference keeps the context live until a grace period after the
    // registration is dropped, and netfilter calls hooks in an RCU read-side critical section.
    let context = unsafe { &*context.cast::<H::Context>() };
    // SAFETY: Netfilter calls hooks in an RCU read-side critical section.
    let rcu = unsafe { assume_read_locked() };
    // SAFETY: Netfilter passes a packet, which is not null.
    let skb = unsafe { NonNull::new_unchecked(skb) };
    // INVARIANT: The packet is borrowed for this call. The IP layer linearised its header before it
    // called the hooks of `FAMILY`.
    let skb = HookSkb {
        skb,
        family: H::FAMILY,
        _call: PhantomData,
    };
    H::run(context, skb, rcu).0
}

/// The operations of a [`Registration`].
struct Ops(KVec<bindings::nf_hook_ops>);

// SAFETY: The operations are only passed to C, for registering and unregistering.
unsafe impl Send for Ops {}

// SAFETY: The operations are only passed to C, for registering and unregistering.
unsafe impl Sync for Ops {}

/// A set of hooks in a namespace, unregistered on drop. Calls in progress may last for another
/// grace period.
///
/// As for all registrations of the kernel crate, a leaked one (`core::mem::forget()`) stays
/// registered. Its context stays valid, but its functions are module code: the module must not be
/// unloaded then.
///
/// # Invariants
///
/// `ops` are registered in the namespace of `context`.
pub(crate) struct Registration<R: NetRef> {
    /// nfnetlink_hook reads the operations under RCU, even after they were unregistered, so they
    /// are freed only after a grace period.
    ops: RcuCell<Ops>,
    context: R,
}

impl<R: NetRef> Registration<R> {
    /// Registers `ops`, with the value of `context`, in its namespace.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or the error of `nf_register_net_hooks()`.
    pub(crate) fn new(context: R, ops: &[HookOps<R::Target>]) -> Result<Self>
    where
        R::Target: Sized,
    {
        let mut raw = KVec::with_capacity(ops.len(), GFP_KERNEL)?;
        for op in ops {
            let op = bindings::nf_hook_ops {
                hook: op.function,
                priv_: core::ptr::from_ref(&*context).cast_mut().cast(),
                pf: op.family.as_raw(),
                hooknum: op.hooknum.as_raw(),
                priority: op.priority,
                ..Default::default()
            };
            raw.push(op, GFP_KERNEL)?;
        }
        let (ops, len) = (raw.as_ptr(), raw.len() as u32);
        // Moving the vector does not move its elements.
        let raw = RcuCell::new(Some(RcuBox::new(Ops(raw), GFP_KERNEL)?));
        // SAFETY: The operations are valid. They and the context stay in place until a grace period
        // after the operations are unregistered, or after this call fails.
        to_result(unsafe { bindings::nf_register_net_hooks(context.net().as_raw(), ops, len) })?;
        // INVARIANT: The operations were just registered.
        Ok(Self { ops: raw, context })
    }
}

impl<R: NetRef> Drop for Registration<R> {
    fn drop(&mut self) {
        let guard = rcu::read_lock();
        let Some(Ops(ops)) = self.ops.get(&guard) else {
            return;
        };
        let (ops, len) = (ops.as_ptr(), ops.len() as u32);
        // Unregistering sleeps. The operations stay valid until the cell is dropped.
        drop(guard);
        let net = self.context.net().as_raw();
        // SAFETY: By the type invariant the operations are registered in this namespace.
        unsafe { bindings::nf_unregister_net_hooks(net, ops, len) };
    }
}
