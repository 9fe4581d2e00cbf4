// SPDX-License-Identifier: GPL-2.0

//! Netfilter hooks.
//!
//! A hook gets its packet as [`HookSkb`] and must answer with a [`Verdict`], which it can only make
//! from that packet: accepted, dropped, or stolen, in which case the packet is the hook's own.
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

/// The places of the IP stack where hooks run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum HookNum {
    /// On the way to this host.
    LocalIn,
    /// On the way through this host.
    Forward,
    /// From this host.
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

/// Where source NAT runs (`NF_IP_PRI_NAT_SRC`).
pub(crate) const PRI_NAT_SRC: i32 = bindings::nf_ip_hook_priorities_NF_IP_PRI_NAT_SRC;
/// Where destination NAT runs (`NF_IP_PRI_NAT_DST`).
pub(crate) const PRI_NAT_DST: i32 = bindings::nf_ip_hook_priorities_NF_IP_PRI_NAT_DST;

/// One of those for which fragments are put together, each apart from the others'
/// (C: `enum ip_defrag_users`).
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

/// The packet of a hook's call.
///
/// # Invariants
///
/// `skb` is live and lent to this call, and its data begin with a linear IP header of `family`. The
/// RCU read lock is held for `'h`.
pub(crate) struct HookSkb<'h> {
    skb: NonNull<bindings::sk_buff>,
    family: NfProto,
    _call: Invariant<'h>,
}

/// What becomes of the packet of a hook's call.
pub(crate) struct Verdict<'h>(u32, Invariant<'h>);

impl<'h> HookSkb<'h> {
    fn verdict(self, verdict: u32) -> Verdict<'h> {
        Verdict(verdict, PhantomData)
    }

    /// Which protocol's the hook is.
    #[inline(always)]
    pub(super) fn family(&self) -> NfProto {
        self.family
    }

    /// The packet goes on its way (`NF_ACCEPT`).
    #[inline(always)]
    pub(crate) fn accept(self) -> Verdict<'h> {
        self.verdict(bindings::NF_ACCEPT)
    }

    /// Netfilter drops the packet (`NF_DROP`): a local sender's system call fails with `EPERM`.
    pub(crate) fn drop_eperm(self) -> Verdict<'h> {
        self.verdict(bindings::NF_DROP)
    }

    /// The packet becomes the hook's own (`NF_STOLEN`).
    #[inline(always)]
    pub(crate) fn steal(self) -> (SkBuff<'h>, Verdict<'h>) {
        // SAFETY: With this verdict netfilter leaves the packet to us, as it is by the type
        // invariant.
        let skb = unsafe { SkBuff::from_raw(self.skb, self.family) };
        (skb, self.verdict(bindings::NF_STOLEN))
    }

    /// The packet is freed (`NF_STOLEN`): a local sender's system call succeeds.
    #[cold]
    pub(crate) fn drop_silently(self) -> Verdict<'h> {
        let (skb, verdict) = self.steal();
        drop(skb);
        verdict
    }

    /// Hands an IPv4 packet to reassembly for `user`. Returns it whole and with a right header
    /// checksum.
    ///
    /// # Errors
    ///
    /// The verdict, if the packet is kept until the other fragments come. A packet of IPv6, and one
    /// without device and route, is dropped.
    pub(crate) fn defrag4(self, net: &Net, user: DefragUser) -> Result<Self, Verdict<'h>> {
        if self.family != NfProto::Ipv4 || !(self.has_dev() || self.has_dst()) {
            return Err(self.drop_eperm());
        }
        let _bh = crate::oot::sync::bh::Disabled::new();
        // SAFETY: The packet is an IPv4 one, and has what its device can be learnt from; what is
        // kept is C's from then on.
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
        // SAFETY: It is live and lent to us by the type invariant.
        unsafe { Skb::from_raw(self.skb) }
    }
}

impl DerefMut for HookSkb<'_> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Skb {
        // SAFETY: It is live and lent to us by the type invariant.
        unsafe { Skb::from_raw_mut(self.skb) }
    }
}

/// A function that netfilter calls on packets of a namespace.
pub(crate) trait Hook: 'static {
    /// What it works with.
    type Context: Sync + 'static;

    /// Which protocol's packets it is called on.
    const FAMILY: NfProto;

    /// Decides on a packet. Runs in soft interrupt or, at LOCAL_OUT, in process context.
    fn run<'h>(context: &Self::Context, skb: HookSkb<'h>, rcu: &'h rcu::Guard) -> Verdict<'h>;
}

/// A hook and where it goes.
pub(crate) struct HookOps<C> {
    function: bindings::nf_hookfn,
    family: NfProto,
    hooknum: HookNum,
    priority: i32,
    _context: PhantomData<fn(C)>,
}

impl<C: Sync + 'static> HookOps<C> {
    /// `H` at `hooknum`, in the order of `priority`.
    pub(crate) const fn new<H: Hook<Context = C>>(hooknum: HookNum, priority: i32) -> Self {
        Self {
            function: Some(run::<H>),
            family: H::FAMILY,
            hooknum,
            priority,
            _context: PhantomData,
        }
    }
}

/// Netfilter's call of a hook.
///
/// # Safety
///
/// To be called by netfilter, with the `priv` that [`Registration::new`] gave it.
unsafe extern "C" fn run<H: Hook>(
    context: *mut c_void,
    skb: *mut bindings::sk_buff,
    _state: *const bindings::nf_hook_state,
) -> u32 {
    // SAFETY: It is what the registration refers to, which outlives that by a grace period, and
    // netfilter calls hooks within an RCU read-side section.
    let context = unsafe { &*context.cast::<H::Context>() };
    // SAFETY: Netfilter calls hooks within an RCU read-side section.
    let rcu = unsafe { assume_read_locked() };
    // SAFETY: Netfilter gives a packet.
    let skb = unsafe { NonNull::new_unchecked(skb) };
    // INVARIANT: The packet is lent to this call, and the IP layer has made its header linear before
    // it called the hooks of `FAMILY`.
    let skb = HookSkb {
        skb,
        family: H::FAMILY,
        _call: PhantomData,
    };
    H::run(context, skb, rcu).0
}

/// The operations of a [`Registration`].
struct Ops(KVec<bindings::nf_hook_ops>);

// SAFETY: They are only handed to C, on registering and unregistering.
unsafe impl Send for Ops {}

// SAFETY: They are only handed to C, on registering and unregistering.
unsafe impl Sync for Ops {}

/// A set of hooks in a namespace, unregistered on drop. Calls that have begun may go on for a grace
/// period.
///
/// As all registrations of the kernel crate, one that is leaked (`core::mem::forget()`) stays: what
/// it refers to is kept, but the functions are code of the module, which must not be unloaded then.
///
/// # Invariants
///
/// `ops` are registered in the namespace of `context`.
pub(crate) struct Registration<R: NetRef> {
    /// They are also read by the listing of hooks (nfnetlink_hook) under RCU, when they are
    /// unregistered already: they are freed a grace period later.
    ops: RcuCell<Ops>,
    context: R,
}

impl<R: NetRef> Registration<R> {
    /// Registers `ops` in the namespace of `context`, to work with what that refers to.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or an error of `nf_register_net_hooks()`.
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
        // Moving it leaves its elements where they are.
        let raw = RcuCell::new(Some(RcuBox::new(Ops(raw), GFP_KERNEL)?));
        // SAFETY: The operations are valid and stay in place until a grace period after they are
        // unregistered, or after this has failed; so does the context, and it lives as long.
        to_result(unsafe { bindings::nf_register_net_hooks(context.net().as_raw(), ops, len) })?;
        // INVARIANT: They were just registered.
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
        // They live until the cell is dropped, and unregistering sleeps.
        drop(guard);
        let net = self.context.net().as_raw();
        // SAFETY: They are registered in this namespace by the type invariant.
        unsafe { bindings::nf_unregister_net_hooks(net, ops, len) };
    }
}
