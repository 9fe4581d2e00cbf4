// SPDX-License-Identifier: GPL-2.0

//! Adding, editing and removing the dests of a service.
//!
//! C version: `ip_vs_add_dest()`, `ip_vs_edit_dest()`, `ip_vs_del_dest()`
//! [net/netfilter/ipvs/ip_vs_ctl.c].

use super::{
    enable_defrag,
    Ctl, //
};
use crate::{
    addr::Family,
    dest::{
        trash::Removed,
        Dest, //
    },
    estimator::Source,
    oot::{
        net::addrconf,
        sync::RcuArc, //
    },
    service::{
        Names,
        Pool,
        Service, //
    },
    spec::{
        DestId,
        DestSpec, //
    },
    stats::ServiceStats,
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

impl Ctl<'_> {
    /// Adds a dest named `id` at the head of the service's list: one from the trash if it may come
    /// back to this service, else a new one (C: `ip_vs_add_dest()`).
    ///
    /// # Errors
    ///
    /// In this order: `ERANGE` for a negative weight, or a lower threshold above the upper one;
    /// `EINVAL` for an upper threshold above `i32::MAX`, or a GUE tunnel without port; `EEXIST`;
    /// for a new dest, `EINVAL` if its address is neither unicast nor local, and what IPv6
    /// defragmentation cannot be registered by; `ENOMEM`.
    pub(crate) fn add_dest(&mut self, service: &Service, id: DestId, spec: &DestSpec) -> Result {
        spec.check()?;
        let pool = service.current()?;
        let mut names = service.names();
        if names.find(&pool, &id).is_some() {
            return Err(EEXIST);
        }
        let (dest, is_back) = match self.netns.trash.take(&service.id, &id) {
            Some(removed) => (returned(removed, service), true),
            None => (self.new_dest(service, id)?, false),
        };
        // As in C, the dest is available before it is linked: a packet that finds it in the pool
        // finds it available, and so do from here on the packets of the conns that it still has.
        dest.configure(spec);
        if let Err(error) = self.link(service, &pool, &mut names, &dest) {
            dest.unlinked();
            self.discard(&dest, &service.stats);
            return Err(error);
        }
        if is_back {
            // Those packets may have cached a route before the dest was in a pool, where
            // `DestRoute::forget()` does not reach it: its device may have gone down since. C has
            // the same gap, and keeps such a route until `dst_check()` fails for the next packet.
            // Here it goes now that the pools lead to the dest; a route cached later is in reach.
            dest.route.reset();
        }
        if dest.family != service.id.family {
            self.state.mixed_family_dests = self.state.mixed_family_dests.wrapping_add(1);
        }
        Ok(())
    }

    /// Links the dest into the service and starts its estimator.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; neither was done.
    fn link(
        &self,
        service: &Service,
        pool: &Pool,
        names: &mut Names,
        dest: &RcuArc<Dest>,
    ) -> Result {
        let estimator = &self.netns.estimator;
        estimator.add(Source::Dest(dest.clone(), service.stats.clone()))?;
        service
            .link(pool, names, dest.clone())
            .inspect_err(|_| estimator.remove(&dest.stats.rates, true))
    }

    /// Makes a dest (C: `ip_vs_new_dest()`).
    ///
    /// # Errors
    ///
    /// `EINVAL` if the address is neither unicast nor local; what IPv6 defragmentation cannot be
    /// registered by; `ENOMEM`.
    fn new_dest(&self, service: &Service, id: DestId) -> Result<RcuArc<Dest>> {
        let net = self.netns.net();
        let is_good = match id.family {
            Family::Inet => addrconf::is_unicast_or_local4(net, id.addr.v4()),
            Family::Inet6 => addrconf::is_unicast_or_local6(net, *id.addr.bytes()),
        };
        if !is_good {
            return Err(EINVAL);
        }
        enable_defrag(net, id.family)?;
        RcuArc::new(Dest::new(service.id, id), GFP_KERNEL)
    }

    /// Changes weight, thresholds, forwarding method and tunnel of the dest named `id` to what `spec`
    /// says (C: `ip_vs_edit_dest()`).
    ///
    /// # Errors
    ///
    /// `ERANGE` and `EINVAL` as for [`add_dest`](Self::add_dest), `ENOENT` without such a dest, `ENOMEM`.
    /// The dest is unchanged.
    pub(crate) fn edit_dest(&mut self, service: &Service, id: DestId, spec: &DestSpec) -> Result {
        spec.check()?;
        let pool = service.current()?;
        let dest = service.names().find(&pool, &id).ok_or(ENOENT)?;
        let before = dest.spec();
        dest.configure(spec);
        dest.route.reset();
        // After the dest: the scheduler's next state is built from what the dests say now.
        service
            .edited(&pool)
            .inspect_err(|_| dest.configure(&before))
    }

    /// Moves the dest named `id` from the service to the trash (C: `ip_vs_del_dest()`).
    ///
    /// # Errors
    ///
    /// `ENOENT` without such a dest, `ENOMEM`. The service is unchanged.
    pub(crate) fn del_dest(&mut self, service: &Service, id: DestId) -> Result {
        let pool = service.current()?;
        let mut names = service.names();
        let dest = names.find(&pool, &id).ok_or(ENOENT)?;
        service.unlink(&pool, &mut names, dest)?;
        self.left(service, dest, true);
        self.discard(dest, &service.stats);
        Ok(())
    }

    /// Stops the use of a dest that was unlinked from its service. If the service stays, it takes over
    /// what the dest has counted.
    pub(super) fn left(&mut self, service: &Service, dest: &Dest, service_stays: bool) {
        dest.unlinked();
        self.netns
            .estimator
            .remove(&dest.stats.rates, service_stays);
        if service_stays {
            service.stats.keep(dest.take_counted());
        }
        if dest.family != service.id.family {
            self.state.mixed_family_dests = self.state.mixed_family_dests.wrapping_sub(1);
        }
    }

    /// Moves an unlinked dest to the trash (C: `__ip_vs_del_dest()`).
    fn discard(&self, dest: &RcuArc<Dest>, service_stats: &Arc<ServiceStats>) {
        self.netns.trash.put(dest, service_stats);
        self.queue_nodest_flush();
    }

    /// If `expire_nodest_conn` is set, queues the flush of conns whose dest was removed
    /// (C: `ip_vs_enqueue_expire_nodest_conns()`).
    pub(super) fn queue_nodest_flush(&self) {
        if self.netns.sysctl.expire_nodest_conn() {
            self.netns.conns.schedule(1);
        }
    }

    /// Checks whether a dest of another family than its service may be added.
    ///
    /// # Errors
    ///
    /// `EINVAL` if a sync daemon runs, or the forwarding method is not tunnelling.
    pub(crate) fn check_mixed_family(&self, spec: &DestSpec) -> Result {
        if self.has_daemons() {
            return Err(EINVAL);
        }
        Ok(spec.check_mixed_family()?)
    }

    /// Whether any dest is of another family than its service.
    pub(crate) fn has_mixed_families(&self) -> bool {
        self.state.mixed_family_dests != 0
    }
}

/// A dest from the trash. In another service than before, its counters start from 0.
fn returned(removed: Removed, service: &Service) -> RcuArc<Dest> {
    let Removed {
        dest,
        service_stats,
        ..
    } = removed;
    if !service_stats.is_some_and(|stats| Arc::ptr_eq(&stats, &service.stats)) {
        dest.join();
    }
    dest
}
