// SPDX-License-Identifier: GPL-2.0

//! The route to a dest, which the dest caches as long as it is valid.
//!
//! C version: `struct ip_vs_dest_dst` [include/net/ip_vs.h], `__ip_vs_dst_set()`,
//! `__ip_vs_dst_check()` [net/netfilter/ipvs/ip_vs_xmit.c].
//!
//! # Locking
//!
//! Packets read the route under RCU. It is replaced under `lock`.

use crate::{
    addr::Addr,
    oot::{
        net::{
            device::Device,
            dst::Dst,
            skbuff::SkbRoute, //
        },
        sync::{
            bh,
            RcuBox,
            RcuCell, //
        },
    },
};
use kernel::{
    new_spinlock,
    prelude::*,
    sync::{
        rcu,
        SpinLock, //
    },
};

/// A route and its source address.
pub(crate) struct Route {
    pub(crate) dst: Dst,
    /// The cookie for `dst_check()`; 0 for IPv4.
    pub(crate) cookie: u32,
    pub(crate) saddr: Addr,
}

/// The cached route to a dest. It is looked up on first use, and again when it is no longer valid.
#[pin_data]
pub(crate) struct DestRoute {
    cached: RcuCell<Route>,
    #[pin]
    lock: SpinLock<()>,
}

impl DestRoute {
    /// An empty cache.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init::pin_init!(Self {
            cached: RcuCell::new(None),
            lock <- new_spinlock!(()),
        })
    }

    /// Drops the cached route (C: `__ip_vs_dst_cache_reset()`).
    pub(crate) fn reset(&self) {
        let _bh = bh::Disabled::new();
        let _lock = self.lock.lock();
        drop(self.cached.replace(None));
    }

    /// Drops the cached route if it uses `device`, which goes down (C: `ip_vs_forget_dev()`).
    pub(crate) fn forget(&self, device: &Device) {
        let _bh = bh::Disabled::new();
        let _lock = self.lock.lock();
        let is_by = self
            .cached
            .get(&rcu::read_lock())
            .is_some_and(|cached| cached.dst.as_ref().is_by(device));
        if is_by {
            drop(self.cached.replace(None));
        }
    }

    /// The path MTU of the cached route in bytes, if there is one.
    pub(crate) fn mtu(&self, guard: &rcu::Guard) -> Option<u32> {
        Some(self.cached.get(guard)?.dst.as_ref().mtu())
    }

    /// The cached route, if it is valid (C: `__ip_vs_dst_check()`).
    #[inline(always)]
    pub(crate) fn get<'g>(&'g self, guard: &'g rcu::Guard) -> Option<&'g Route> {
        let cached = self.cached.get(guard)?;
        cached
            .dst
            .as_ref()
            .is_valid(cached.cookie)
            .then_some(cached)
    }

    /// Looks up the route, and caches it if `may_keep` returns true. Both are called with the lock
    /// held.
    ///
    /// Returns `None` if there is no route, or no memory to cache it.
    #[cold]
    pub(crate) fn refresh<'g>(
        &'g self,
        guard: &'g rcu::Guard,
        look_up: impl FnOnce() -> Result<Route>,
        may_keep: impl FnOnce(&Route) -> bool,
    ) -> Option<(SkbRoute<'g>, Addr)> {
        let _bh = bh::Disabled::new();
        let _lock = self.lock.lock();
        let Ok(route) = look_up() else {
            drop(self.cached.replace(None));
            return None;
        };
        let saddr = route.saddr;
        if !may_keep(&route) {
            return Some((SkbRoute::Owned(route.dst), saddr));
        }
        let cached = RcuBox::new(route, kernel::alloc::flags::GFP_ATOMIC).ok()?;
        drop(self.cached.replace(Some(cached)));
        let cached = self.cached.get(guard)?;
        Some((SkbRoute::NoRef(cached.dst.as_ref()), saddr))
    }
}
