// SPDX-License-Identifier: GPL-2.0

//! Dests: the real servers of a service.
//!
//! C version: `struct ip_vs_dest` [include/net/ip_vs.h], [net/netfilter/ipvs/ip_vs_ctl.c].
//!
//! # Vocabulary
//!
//! - A dest is *available* (C: `IP_VS_DEST_CF_AVAILABLE`) while it is in its service's list.
//! - A dest is *overloaded* (C: `IP_VS_DEST_F_OVERLOAD`) from when its number of conns reaches the
//!   upper threshold until it falls below the lower one.
//!
//! # Locking
//!
//! The control plane changes the fields of a dest one by one, under its mutex. The data path reads
//! single fields. `overload` protects the only decision that depends on several fields. The figures
//! that schedulers use are changed by fully ordered operations. After that, `place` is notified.

pub(crate) mod real;
pub(crate) mod route;
pub(crate) mod trash;

use crate::{
    addr::{
        Addr,
        Family,
        Port, //
    },
    forward,
    oot::sync::{
        bh,
        Object,
        Once,
        RcuArc,
        RcuArcCell, //
    },
    sched::{
        Candidate,
        Member,
        Place, //
    },
    spec::{
        DestId,
        DestSpec,
        ServiceId,
        Tunnel, //
    },
    stats::{
        CounterSet,
        Counts,
        Stats, //
    },
    uapi::*, //
};
use core::ops::Deref;
use kernel::{
    new_spinlock,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        barrier::smp_mb,
        rcu,
        SpinLock, //
    },
};
use real::Real;
use route::DestRoute;

/// A real server (C: `struct ip_vs_dest`).
#[pin_data]
pub(crate) struct Dest {
    pub(crate) family: Family,
    pub(crate) addr: Addr,
    /// The port; 0 if packets keep the port that the client used.
    pub(crate) port: Port,
    /// The service that the dest is or was in.
    pub(crate) vip: ServiceId,
    /// A dest with a higher number was added to the service later, and so is nearer to the head of
    /// the list.
    serial: Atomic<u64>,

    conn_flags: Atomic<u32>,
    weight: Atomic<i32>,
    last_weight: Atomic<i32>,
    available: Atomic<u32>,
    tunnel: Atomic<u64>,

    active: Atomic<i32>,
    total: Atomic<i32>,
    persist: Atomic<i32>,
    u_threshold: Atomic<u32>,
    l_threshold: Atomic<u32>,
    l_threshold_val: Atomic<u32>,
    overloaded: Atomic<u32>,
    #[pin]
    overload: SpinLock<()>,
    place: Place,
    /// The entry in the table of real servers, while there is one.
    real: RcuArcCell<Real>,

    #[pin]
    pub(crate) stats: Stats,
    /// The raw counters when the dest was added to its service, or at the last
    /// [`take_counted`](Self::take_counted).
    joined: CounterSet,
    /// The cached route.
    #[pin]
    pub(crate) route: DestRoute,
}

impl Object for Dest {}

/// The reason to check the thresholds.
enum Load {
    /// A conn was added.
    Rose,
    /// A conn was removed.
    Fell,
    /// The thresholds were changed.
    Edited,
}

impl Dest {
    /// A dest of the service `vip`. The caller must [`configure`](Self::configure) it.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if memory is short.
    pub(crate) fn new(vip: ServiceId, id: DestId) -> impl PinInit<Self, Error> {
        pin_init::pin_init!(Self {
            family: id.family,
            addr: id.addr,
            port: id.port,
            vip,
            serial: Atomic::new(0),
            conn_flags: Atomic::new(0),
            weight: Atomic::new(0),
            last_weight: Atomic::new(0),
            available: Atomic::new(0),
            tunnel: Atomic::new(0),
            active: Atomic::new(0),
            total: Atomic::new(0),
            persist: Atomic::new(0),
            u_threshold: Atomic::new(0),
            l_threshold: Atomic::new(0),
            l_threshold_val: Atomic::new(0),
            overloaded: Atomic::new(0),
            overload <- new_spinlock!(()),
            place: Place::new(),
            real: RcuArcCell::new(None),
            stats <- Stats::new(),
            joined: CounterSet::default(),
            route <- DestRoute::new(),
        }? Error)
    }

    /// The identifier of the dest in its service.
    pub(crate) fn id(&self) -> DestId {
        DestId {
            family: self.family,
            addr: self.addr,
            port: self.port,
        }
    }

    /// Whether `id` identifies this dest.
    pub(crate) fn is(&self, id: &DestId) -> bool {
        self.family == id.family && self.addr == id.addr && self.port == id.port
    }

    /// The weight: the share of new conns, in proportion to that of other dests.
    #[inline]
    pub(crate) fn weight(&self) -> i32 {
        self.weight.read_once()
    }

    /// Whether the dest is in its service's list (C: `IP_VS_DEST_CF_AVAILABLE`).
    #[inline]
    pub(crate) fn is_available(&self) -> bool {
        self.available.read_once() != 0
    }

    /// Whether the dest is overloaded (C: `IP_VS_DEST_F_OVERLOAD`).
    #[inline]
    pub(crate) fn is_overloaded(&self) -> bool {
        self.overloaded.read_once() != 0
    }

    /// The flags of new conns, `IP_VS_CONN_F_*`, with the forwarding method.
    #[inline]
    pub(crate) fn conn_flags(&self) -> u32 {
        self.conn_flags.read_once()
    }

    /// The type and parameters of the tunnel.
    pub(crate) fn tunnel(&self) -> Tunnel {
        Tunnel::from_word(self.tunnel.read_once())
    }

    /// The number of active conns.
    pub(crate) fn active_conns(&self) -> i32 {
        self.active.read_once()
    }

    /// The number of conns that are not active (C: `ip_vs_dest_inactconns()`).
    pub(crate) fn inactive_conns(&self) -> i32 {
        self.total
            .read_once()
            .wrapping_sub(self.active.read_once())
            .max(0)
    }

    /// The number of templates.
    pub(crate) fn persist_conns(&self) -> i32 {
        self.persist.read_once()
    }

    /// The upper threshold of the number of conns, 0 for none.
    pub(crate) fn u_threshold(&self) -> u32 {
        self.u_threshold.read_once()
    }

    /// The lower threshold of the number of conns, 0 for three quarters of the upper one.
    pub(crate) fn l_threshold(&self) -> u32 {
        self.l_threshold.read_once()
    }

    /// Whether the dest has conns or templates.
    pub(crate) fn is_in_use(&self) -> bool {
        self.total.read_once() != 0 || self.persist.read_once() != 0
    }
}

/// Operations that count conns.
impl Dest {
    /// Counts a new conn with these flags (C: `ip_vs_bind_dest()`).
    #[inline]
    pub(crate) fn conn_bound(&self, guard: &rcu::Guard, flags: u32) {
        if flags & IP_VS_CONN_F_TEMPLATE != 0 {
            self.persist.add(1, Relaxed);
            return;
        }
        if flags & IP_VS_CONN_F_INACTIVE == 0 {
            self.active.add(1, Relaxed);
        }
        let total = self.total.fetch_add(1, Full).wrapping_add(1);
        if total as u32 == self.u_threshold.read_once() {
            self.update_overload(Load::Rose);
        }
        self.changed(guard);
    }

    /// Subtracts a conn with these flags from the counts (C: `ip_vs_unbind_dest()`).
    #[inline]
    pub(crate) fn conn_unbound(&self, guard: &rcu::Guard, flags: u32) {
        if flags & IP_VS_CONN_F_TEMPLATE != 0 {
            self.persist.fetch_sub(1, Relaxed);
            return;
        }
        if flags & IP_VS_CONN_F_INACTIVE == 0 {
            self.active.fetch_sub(1, Relaxed);
        }
        let total = self.total.fetch_sub(1, Full);
        if total as u32 == self.l_threshold_val.read_once() {
            self.update_overload(Load::Fell);
        }
        self.changed(guard);
    }

    /// Counts a conn of this dest that has become active.
    #[inline]
    pub(crate) fn conn_activated(&self, guard: &rcu::Guard) {
        self.active.fetch_add(1, Full);
        self.changed(guard);
    }

    /// Counts a conn of this dest that has become inactive.
    #[inline]
    pub(crate) fn conn_deactivated(&self, guard: &rcu::Guard) {
        self.active.fetch_sub(1, Full);
        self.changed(guard);
    }

    /// Notifies the scheduler of a change of the dest's figures.
    #[inline]
    fn changed(&self, guard: &rcu::Guard) {
        self.place.changed(&self, guard);
    }

    /// Updates the overloaded flag (C: `ip_vs_dest_update_overload()`).
    #[cold]
    fn update_overload(&self, load: Load) {
        // Conns are added and removed in softirq context, too.
        let _bh = bh::Disabled::new();
        let _guard = self.overload.lock();
        let upper = self.u_threshold.read_once();
        let lower = self.l_threshold_val.read_once();
        let total = i64::from(self.total.read_once());
        let (set_from, clear_below) = match load {
            Load::Rose => (lower, lower),
            Load::Fell => (upper, upper),
            Load::Edited => (upper, lower),
        };
        if upper == 0 {
            self.overloaded.write_once(0);
        } else if total >= i64::from(set_from) {
            self.overloaded.write_once(1);
        } else if total < i64::from(clear_below) {
            self.overloaded.write_once(0);
        }
        smp_mb(Full);
    }
}

/// Operations of the control plane, called under its mutex.
impl Dest {
    /// Applies `spec`, and makes the dest available (C: `__ip_vs_update_dest()`).
    pub(crate) fn configure(&self, spec: &DestSpec) {
        // A dest that is not available yet is in no scheduler's order.
        let joins = !self.is_available();
        if spec.weight != 0 || joins {
            self.last_weight.write_once(spec.weight);
        }
        self.weight.write_once(spec.weight);
        self.tunnel.write_once(spec.tunnel.to_word());
        self.conn_flags.write_once(spec.flags_of_conns());
        self.available.write_once(1);
        if self.u_threshold() != spec.u_threshold || self.l_threshold() != spec.l_threshold {
            self.u_threshold.write_once(spec.u_threshold);
            self.l_threshold.write_once(spec.l_threshold);
            self.l_threshold_val.write_once(spec.l_threshold_val());
            self.update_overload(Load::Edited);
        }
        if !joins {
            smp_mb(Full);
            self.changed(&rcu::read_lock());
        }
    }

    /// The current configuration.
    pub(crate) fn spec(&self) -> DestSpec {
        DestSpec {
            conn_flags: forward::to_user(self.conn_flags()),
            weight: self.weight(),
            u_threshold: self.u_threshold(),
            l_threshold: self.l_threshold(),
            tunnel: self.tunnel(),
        }
    }

    /// Makes a dest unavailable that was removed from its service's list.
    pub(crate) fn unlinked(&self) {
        self.available.write_once(0);
        self.place.leave(&self);
        self.route.reset();
    }

    /// The serial number of the dest in its service.
    pub(crate) fn serial(&self) -> u64 {
        self.serial.read_once()
    }

    /// Sets the serial number, before the dest is added to its service.
    pub(crate) fn set_serial(&self, serial: u64) {
        self.serial.write_once(serial);
    }

    /// Zeroes the statistics of a dest that is added to a service that it was not in before.
    pub(crate) fn join(&self) {
        self.joined.set(self.stats.raw());
        self.stats.zero();
    }

    /// Returns the counts since the dest was added to its service, or since the last call.
    pub(crate) fn take_counted(&self) -> Counts {
        let raw = self.stats.raw();
        let counted = raw.since(self.joined.get());
        self.joined.set(raw);
        counted
    }

    /// The counts since the dest was added to its service, or since the last
    /// [`take_counted`](Self::take_counted).
    pub(crate) fn counted(&self) -> Counts {
        self.stats.raw().since(self.joined.get())
    }
}

/// The reference to a dest that lblc and lblcr keep in shared entries.
impl Object for RcuArc<Dest> {}

impl Member for RcuArc<Dest> {
    type Kept = Self;

    fn keep(&self) -> Self {
        self.clone()
    }
}

/// For all types of references to a dest.
impl<T: Deref<Target = Dest>> Candidate for T {
    #[inline]
    fn weight(&self) -> i32 {
        Dest::weight(self)
    }

    #[inline]
    fn last_weight(&self) -> i32 {
        self.last_weight.read_once()
    }

    #[inline]
    fn is_overloaded(&self) -> bool {
        Dest::is_overloaded(self)
    }

    #[inline]
    fn active_conns(&self) -> i32 {
        Dest::active_conns(self)
    }

    #[inline]
    fn total_conns(&self) -> i32 {
        self.total.read_once()
    }

    #[inline]
    fn addr(&self) -> Addr {
        self.addr
    }

    #[inline]
    fn port(&self) -> Port {
        self.port
    }

    #[inline]
    fn place(&self) -> &Place {
        &self.place
    }
}
