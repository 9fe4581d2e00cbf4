// SPDX-License-Identifier: GPL-2.0

//! Adds, edits and removes the dests of a service.
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
        real::RealServers,
        trash::Removed,
        Dest, //
    },
    estimator::Source,
    forward::Forward,
    oot::{
        net::{
            addrconf,
            conntrack::Tracking, //
        },
        sync::RcuArc, //
    },
    packet::nf_proto,
    service::{
        Names,
        Pool,
        Service, //
    },
    spec::{
        DestId,
        DestSpec,
        FTPPORT, //
    },
    stats::ServiceStats,
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

impl Ctl<'_> {
    /// Adds a dest named `id` at the head of the service's list (C: `ip_vs_add_dest()`). A dest in
    /// the trash is reused if [`ServiceId::may_return_to`](crate::spec::ServiceId::may_return_to)
    /// holds for its service; otherwise a dest is allocated.
    ///
    /// # Errors
    ///
    /// In this order:
    ///
    /// - `ERANGE` if the weight is negative, or the lower threshold is above the upper one.
    /// - `EINVAL` if the upper threshold is above `i32::MAX`, or a GUE tunnel has no port.
    /// - `EEXIST` if the service has a dest named `id`.
    /// - For an allocated dest: `EINVAL` if its address is neither local nor unicast (for IPv6:
    ///   unicast and not link-local); whatever [`addrconf::enable_defrag6`] returns.
    /// - `ENOMEM`.
    ///
    /// The service is unchanged on error.
    pub(crate) fn add_dest(&mut self, service: &Service, id: DestId, spec: &DestSpec) -> Result {
        check(spec, "ip_vs_add_dest")?;
        let pool = service.current()?;
        let mut names = service.names();
        if names.find(&pool, &id).is_some() {
            return Err(EEXIST);
        }
        let (dest, is_back) = match self.netns.trash.take(&service.id, &id) {
            Some(removed) => (returned(removed, service), true),
            None => (self.new_dest(service, id)?, false),
        };
        // As in C, the dest becomes available before it is linked, so every packet that finds it in
        // the pool finds it available. Packets of conns that it still has use it from here on, too.
        dest.configure(spec);
        self.prepare_fullnat(service, dest.conn_flags());
        self.track(service, spec);
        if let Err(error) = self.enlist(service, &pool, &mut names, &dest) {
            dest.unlinked();
            self.discard(&dest, &service.stats);
            return Err(error);
        }
        if is_back {
            // Packets of old conns may have cached a route while the dest was in no pool. Then
            // `DestRoute::forget()` did not reach it, and the device may have gone down since. C
            // has the same gap: it keeps such a route until `dst_check()` fails for the next
            // packet. Drop the route now: `forget()` reaches a dest in the pool.
            dest.route.reset();
        }
        if dest.family != service.id.family {
            self.state.mixed_family_dests = self.state.mixed_family_dests.wrapping_add(1);
        }
        Ok(())
    }

    /// Links the dest into the service and the table of real servers, and starts its estimator.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. None of these is done then.
    fn enlist(
        &self,
        service: &Service,
        pool: &Pool,
        names: &mut Names,
        dest: &RcuArc<Dest>,
    ) -> Result {
        self.netns.reals.update(dest)?;
        self.link(service, pool, names, dest)
            .inspect_err(|_| RealServers::remove(dest))
    }

    /// Links the dest into the service and starts its estimator.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. Neither is done then.
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

    /// Allocates a dest (C: `ip_vs_new_dest()`).
    ///
    /// # Errors
    ///
    /// In this order: `EINVAL` if the address is neither local nor unicast (for IPv6: unicast and
    /// not link-local); whatever [`addrconf::enable_defrag6`] returns; `ENOMEM`.
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

    /// Sets weight, thresholds, forwarding method and tunnel of the dest named `id`
    /// (C: `ip_vs_edit_dest()`).
    ///
    /// # Errors
    ///
    /// In this order:
    ///
    /// - `ERANGE` if the weight is negative, or the lower threshold is above the upper one.
    /// - `EINVAL` if the upper threshold is above `i32::MAX`, or a GUE tunnel has no port.
    /// - `ENOENT` if the service has no dest named `id`.
    /// - `ENOMEM`.
    ///
    /// The dest is unchanged on error, except that its cached route may be dropped.
    pub(crate) fn edit_dest(&mut self, service: &Service, id: DestId, spec: &DestSpec) -> Result {
        check(spec, "ip_vs_edit_dest")?;
        let pool = service.current()?;
        let dest = service.names().find(&pool, &id).ok_or(ENOENT)?;
        let before = dest.spec();
        dest.configure(spec);
        self.prepare_fullnat(service, dest.conn_flags());
        self.track(service, spec);
        dest.route.reset();
        // After `configure()`: the new state of the scheduler is built from the new weight.
        let edited = self
            .netns
            .reals
            .update(dest)
            .and_then(|()| service.edited(&pool));
        edited.inspect_err(|_| {
            dest.configure(&before);
            let _ = self.netns.reals.update(dest);
        })
    }

    /// Moves the dest named `id` from the service to the trash (C: `ip_vs_del_dest()`).
    ///
    /// # Errors
    ///
    /// `ENOENT` if the service has no dest named `id`; `ENOMEM`. The service is unchanged on error.
    pub(crate) fn del_dest(&mut self, service: &Service, id: DestId) -> Result {
        let pool = service.current()?;
        let mut names = service.names();
        let dest = names.find(&pool, &id).ok_or(ENOENT)?;
        service.unlink(&pool, &mut names, dest)?;
        self.left(service, dest, true);
        self.discard(dest, &service.stats);
        Ok(())
    }

    /// Enables connection tracking for an FTP service with NAT, which needs it to change the
    /// payload of packets (C: `ip_vs_register_conntrack()`). As in C, a failure is ignored.
    fn track(&mut self, service: &Service, spec: &DestSpec) {
        let is_ftp = service.id.port == FTPPORT && Forward::of(spec.conn_flags) == Forward::Masq;
        if !is_ftp || service.is_tracked() {
            return;
        }
        let family = service.id.family;
        let tracked = self.state.tracked(family);
        if tracked.tracking.is_none() {
            tracked.tracking = self
                .netns
                .get_ref()
                .and_then(|net| Tracking::new(net, nf_proto(family)).ok());
        }
        if tracked.tracking.is_some() {
            tracked.services = tracked.services.wrapping_add(1);
            service.set_tracked();
        }
    }

    /// Disables connection tracking again for a service that is removed
    /// (C: `ip_vs_unregister_conntrack()`).
    pub(super) fn untrack(&mut self, service: &Service) {
        if service.is_tracked() {
            let tracked = self.state.tracked(service.id.family);
            tracked.services = tracked.services.wrapping_sub(1);
            if tracked.services == 0 {
                tracked.tracking = None;
            }
        }
    }

    /// Marks a dest that was unlinked from its service as unavailable and stops its estimator. With
    /// `service_stays`, adds its counters to the service.
    pub(super) fn left(&mut self, service: &Service, dest: &Dest, service_stays: bool) {
        dest.unlinked();
        RealServers::remove(dest);
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

    /// Checks whether a service of the other family may have a dest like `spec`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if a sync daemon runs, or if the forwarding method is not tunneling.
    pub(crate) fn check_mixed_family(&self, spec: &DestSpec) -> Result {
        if self.has_daemons() {
            return Err(EINVAL);
        }
        Ok(spec.check_mixed_family()?)
    }

    /// Whether any service has a dest of the other family.
    pub(crate) fn has_mixed_families(&self) -> bool {
        self.state.mixed_family_dests != 0
    }
}

/// Takes the dest out of a trash entry. Its counters restart from 0 unless `service` is the service
/// that it was removed from.
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

/// Refuses a faulty specification, with the message of C's function.
///
/// # Errors
///
/// See [`DestSpec::fault`].
fn check(spec: &DestSpec, function: &str) -> Result {
    let Some((refusal, message)) = spec.fault() else {
        return Ok(());
    };
    if let Some(message) = message {
        pr_err!("{function}(): {message}\n");
    }
    Err(refusal.into())
}
