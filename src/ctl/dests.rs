// SPDX-License-Identifier: GPL-2.0

//! What the user does to a service's dests.
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
        Pool,
        Service, //
    },
    spec::{
        DestId,
        DestSpec, //
    },
    stats::Tally,
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

impl Ctl<'_> {
    /// C: `ip_vs_add_dest()`.
    pub(crate) fn add_dest(&mut self, service: &Service, id: DestId, spec: &DestSpec) -> Result {
        spec.check()?;
        let pool = service.current()?;
        if service.find(&pool, &id).is_some() {
            return Err(EEXIST);
        }
        let (dest, is_back) = match self.netns.trash.take(&service.id, &id) {
            Some(removed) => (returned(removed, service), true),
            None => (self.new_dest(service, id)?, false),
        };
        // As in C, the dest is available before it is linked: a packet that finds it in the pool
        // finds it available, and so do from here on the packets of the conns that it still has.
        dest.configure(spec);
        if let Err(error) = self.link(service, &pool, &dest) {
            dest.unlinked();
            self.discard(&dest, &service.tally);
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

    /// Has the service choose it, and its rates estimated.
    fn link(&self, service: &Service, pool: &Pool, dest: &RcuArc<Dest>) -> Result {
        let estimator = &self.netns.estimator;
        estimator.add(Source::Dest(dest.clone(), service.tally.clone()))?;
        service
            .link(pool, dest.clone())
            .inspect_err(|_| estimator.remove(&dest.stats.rates, true))
    }

    /// C: `ip_vs_new_dest()`.
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

    /// C: `ip_vs_edit_dest()`.
    pub(crate) fn edit_dest(&mut self, service: &Service, id: DestId, spec: &DestSpec) -> Result {
        spec.check()?;
        let pool = service.current()?;
        let dest = service.find(&pool, &id).ok_or(ENOENT)?;
        let before = dest.spec();
        dest.configure(spec);
        dest.route.reset();
        // The scheduler's successor is made of the dests as they are now.
        service
            .edited(&pool)
            .inspect_err(|_| dest.configure(&before))
    }

    /// C: `ip_vs_del_dest()`.
    pub(crate) fn del_dest(&mut self, service: &Service, id: DestId) -> Result {
        let pool = service.current()?;
        let dest = service.find(&pool, &id).ok_or(ENOENT)?;
        service.unlink(&pool, dest)?;
        self.left(service, dest, true);
        self.discard(dest, &service.tally);
        Ok(())
    }

    /// A dest has left its service, which stays or not.
    pub(super) fn left(&mut self, service: &Service, dest: &Dest, service_stays: bool) {
        dest.unlinked();
        self.netns
            .estimator
            .remove(&dest.stats.rates, service_stays);
        if service_stays {
            service.tally.keep(dest.take_counted());
        }
        if dest.family != service.id.family {
            self.state.mixed_family_dests = self.state.mixed_family_dests.wrapping_sub(1);
        }
    }

    /// Puts a dest that a service has no more into the trash (C: `__ip_vs_del_dest()`).
    fn discard(&self, dest: &RcuArc<Dest>, tally: &Arc<Tally>) {
        self.netns.trash.put(dest, tally);
        self.conns_may_end();
    }

    /// Dests have gone: their conns go with them, if that is wanted.
    pub(super) fn conns_may_end(&self) {
        if self.netns.sysctl.expire_nodest_conn() {
            self.netns.conns.schedule(1);
        }
    }

    /// Whether a dest may be of another family than its service.
    pub(crate) fn check_mixed_family(&self, spec: &DestSpec) -> Result {
        if self.has_daemons() {
            return Err(EINVAL);
        }
        Ok(spec.check_mixed_family()?)
    }

    /// Whether any dest is not of its service's family.
    pub(crate) fn has_mixed_families(&self) -> bool {
        self.state.mixed_family_dests != 0
    }
}

/// A dest that is back from the trash; what it counts from now on is counted for `service`.
fn returned(removed: Removed, service: &Service) -> RcuArc<Dest> {
    let Removed { dest, tally, .. } = removed;
    if !tally.is_some_and(|tally| Arc::ptr_eq(&tally, &service.tally)) {
        dest.join();
    }
    dest
}
