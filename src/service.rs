// SPDX-License-Identifier: GPL-2.0

//! Services: virtual addresses and fwmarks with their dests.
//!
//! C version: `struct ip_vs_service` [include/net/ip_vs.h], [net/netfilter/ipvs/ip_vs_ctl.c].
//!
//! # Vocabulary
//!
//! - A *pool* contains the dests of a service and the state of its scheduler, as one immutable
//!   value.
//!
//! # Locking
//!
//! The data path reads services and pools under RCU. The control plane changes them under its
//! mutex: it builds a new pool and publishes it.

mod log;
mod names;
mod table;

use crate::{
    dest::Dest,
    oot::{
        sync::{
            impl_has_hash_links,
            Draft,
            HashLinks,
            HeadList,
            Object,
            Once,
            RcuArc,
            RcuArcCell,
            RcuRef, //
        },
        time::HZ, //
    },
    pe::Engine,
    sched::{
        self,
        AnyScheduler,
        Change,
        Flow,
        InitError,
        Kind,
        Setup, //
    },
    search::partition_point,
    spec::{
        ServiceId,
        ServiceSpec, //
    },
    stats::ServiceStats,
    sysctl::Sysctl,
    uapi::*, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::Atomic,
        lock::{
            mutex::MutexBackend,
            Guard, //
        },
        rcu,
        Arc,
        Mutex, //
    },
};
pub(crate) use log::log_port_zero;
pub(crate) use names::Names;
pub(crate) use table::ServiceTable;

/// The dests and the scheduler of a service, as published to the data path.
pub(crate) struct Pool {
    dests: HeadList<Dest>,
    /// `None` if the service has no scheduler. Then no conn is scheduled.
    sched: Option<AnyScheduler<RcuArc<Dest>>>,
}

impl Object for Pool {}

impl Pool {
    /// The dests, newest first.
    #[inline]
    pub(crate) fn dests(&self) -> &[RcuArc<Dest>] {
        self.dests.as_slice()
    }

    /// Returns a reference to the list of dests that may outlive the pool.
    pub(crate) fn list(&self) -> HeadList<Dest> {
        self.dests.clone()
    }

    /// Returns the dest with the serial number `serial`, and its index.
    fn by_serial(&self, serial: u64) -> Option<(usize, &RcuArc<Dest>)> {
        let index = partition_point(self.dests(), |dest| dest.serial() > serial);
        let dest = self.dests().get(index)?;
        (dest.serial() == serial).then_some((index, dest))
    }

    /// The scheduler of the service.
    pub(crate) fn kind(&self) -> Option<Kind> {
        self.sched.as_ref().map(AnyScheduler::kind)
    }
}

impl From<InitError> for Error {
    fn from(error: InitError) -> Self {
        match error {
            InitError::NoMemory => ENOMEM,
            InitError::TooManyDests => EINVAL,
        }
    }
}

/// Returns the parameters for the scheduler of the service `id`.
fn setup(id: &ServiceId, sysctl: &Sysctl) -> Setup {
    Setup {
        family: id.family,
        lblc_expiration: sysctl.lblc_expiration.clone(),
        lblcr_expiration: sysctl.lblcr_expiration.clone(),
        mh: sysctl.mh,
    }
}

/// A virtual address, port and protocol, or a fwmark (C: `struct ip_vs_service`).
#[pin_data]
pub(crate) struct Service {
    links: HashLinks<Self>,
    pub(crate) id: ServiceId,
    /// `IP_VS_SVC_F_*`.
    flags: Atomic<u32>,
    /// In jiffies.
    timeout: Atomic<u32>,
    /// As [`ServiceSpec::netmask`].
    netmask: Atomic<u32>,
    /// The number of the persistence engine, 0 for none.
    engine: Atomic<u32>,
    /// Never empty. A removed service keeps its pool until it is freed, so that a packet that has
    /// found the service can use it until the end of its read-side critical section.
    pool: RcuArcCell<Pool>,
    /// The index of the dests in the pool, by name.
    #[pin]
    names: Mutex<Names>,
    /// The statistics, except the counters of the current dests.
    pub(crate) stats: Arc<ServiceStats>,
    /// 1 if connection tracking is on for this service, else 0 (C: `conntrack_afmask`).
    is_tracked: Atomic<u32>,
}

impl Object for Service {}

impl_has_hash_links! {
    impl HasHashLinks<()> for Service { self.links }
}

/// A counted reference to a service in the table.
pub(crate) type ServiceRef = RcuArc<Service>;

impl Service {
    /// Allocates a service without dests, with the scheduler `kind`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(
        id: ServiceId,
        spec: &ServiceSpec<'_>,
        kind: Option<Kind>,
        sysctl: &Sysctl,
    ) -> Result<ServiceRef> {
        let setup = setup(&id, sysctl);
        let pool = Pool {
            dests: HeadList::new(),
            sched: kind
                .map(|kind| AnyScheduler::new(kind, &setup, &[]))
                .transpose()?,
        };
        let service = pin_init::pin_init!(Self {
            links: HashLinks::new(),
            id,
            flags: Atomic::new(0),
            timeout: Atomic::new(0),
            netmask: Atomic::new(0),
            engine: Atomic::new(0),
            pool: RcuArcCell::new(Some(RcuArc::new(pool, GFP_KERNEL)?)),
            names <- new_mutex!(Names::new()),
            stats: Arc::pin_init(ServiceStats::new(), GFP_KERNEL)?,
            is_tracked: Atomic::new(0),
        }? Error);
        let service = RcuArc::new(service, GFP_KERNEL)?;
        service.configure(spec);
        Ok(service)
    }

    /// Whether connection tracking is on for this service.
    pub(crate) fn is_tracked(&self) -> bool {
        self.is_tracked.read_once() != 0
    }

    pub(crate) fn set_tracked(&self) {
        self.is_tracked.write_once(1);
    }

    /// The flags, `IP_VS_SVC_F_*`.
    #[inline]
    pub(crate) fn flags(&self) -> u32 {
        self.flags.read_once()
    }

    /// Whether the service is persistent: all conns of a client use one dest
    /// (`IP_VS_SVC_F_PERSISTENT`).
    #[inline]
    pub(crate) fn is_persistent(&self) -> bool {
        self.flags() & IP_VS_SVC_F_PERSISTENT != 0
    }

    /// Whether each packet is scheduled separately (`IP_VS_SVC_F_ONEPACKET`).
    #[inline]
    pub(crate) fn is_one_packet(&self) -> bool {
        self.flags() & IP_VS_SVC_F_ONEPACKET != 0
    }

    /// The timeout of templates, in jiffies.
    #[inline]
    pub(crate) fn timeout(&self) -> u32 {
        self.timeout.read_once()
    }

    /// The netmask that groups clients for persistence; see [`ServiceSpec::netmask`].
    #[inline]
    pub(crate) fn netmask(&self) -> u32 {
        self.netmask.read_once()
    }

    /// The persistence engine (C: `pe`).
    #[inline]
    pub(crate) fn engine(&self) -> Option<Engine> {
        match self.engine.read_once() {
            0 => None,
            number => Engine::by_number(number as u8),
        }
    }

    /// The pool, for the data path.
    #[inline]
    pub(crate) fn pool<'g>(&'g self, guard: &'g rcu::Guard) -> Option<&'g Pool> {
        self.pool.get(guard).map(RcuRef::get)
    }

    /// Schedules a dest for a new conn. `None` if no dest is available, or the service has no
    /// scheduler.
    #[inline]
    pub(crate) fn schedule<'g>(
        &'g self,
        guard: &'g rcu::Guard,
        flow: &Flow<'_>,
    ) -> Option<RcuRef<'g, Dest>> {
        let pool = self.pool(guard)?;
        let Some(index) = pool.sched.as_ref()?.schedule(pool.dests(), flow) else {
            self.log_no_dest(pool);
            return None;
        };
        pool.dests().get(index).map(RcuArc::as_rcu)
    }
}

/// The control plane, under its mutex.
impl Service {
    /// Sets flags, timeout and netmask as specified by `spec`.
    pub(crate) fn configure(&self, spec: &ServiceSpec<'_>) {
        self.flags.write_once(spec.flags.apply(self.flags()));
        // As in C, the product is truncated to 32 bits.
        self.timeout
            .write_once(spec.timeout.wrapping_mul(HZ as u32));
        self.netmask.write_once(spec.netmask);
    }

    /// Returns a reference to the current pool.
    ///
    /// # Errors
    ///
    /// `ESRCH` if the service has no pool. Every service has one, so this does not occur.
    pub(crate) fn current(&self) -> Result<RcuArc<Pool>> {
        self.pool.load().ok_or(ESRCH)
    }

    /// Replaces the scheduler by `kind`, or removes it (C: `ip_vs_bind_scheduler()`). Nothing
    /// changes if the service has that scheduler.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the service has more dests than the scheduler supports; `ENOMEM`. The service
    /// keeps its scheduler, but the scheduler's state may be initialized again.
    pub(crate) fn set_scheduler(&self, kind: Option<Kind>, sysctl: &Sysctl) -> Result {
        let pool = self.current()?;
        if pool.kind() == kind {
            return Ok(());
        }
        let begin = |kind| AnyScheduler::new(kind, &setup(&self.id, sysctl), pool.dests());
        let sched = match kind.map(begin).transpose() {
            Ok(sched) => sched,
            Err(error) => {
                // As in C, which unbinds the old scheduler first and binds it again on error, the
                // state of the old scheduler is reset.
                if let Some(old) = pool.kind() {
                    self.publish(pool.dests.clone().into(), Some(begin(old)?))?;
                }
                return Err(error.into());
            }
        };
        self.publish(pool.dests.clone().into(), sched)
    }

    /// Locks the index of the dests by name, for a lookup and the change that follows.
    pub(crate) fn names(&self) -> Guard<'_, Names, MutexBackend> {
        self.names.lock()
    }

    /// Adds a dest at the head of the list, with a new serial number.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. The service is unchanged then.
    pub(crate) fn link(&self, pool: &Pool, names: &mut Names, dest: RcuArc<Dest>) -> Result {
        let (id, serial) = (dest.id(), names.prepare(pool)?);
        dest.set_serial(serial);
        self.change(pool, pool.dests.with(dest, GFP_KERNEL)?, Change::Added)?;
        names.add(&id, serial);
        Ok(())
    }

    /// Rebuilds the scheduler's state after a dest was edited (C: `upd_dest`).
    ///
    /// # Errors
    ///
    /// `ENOMEM`. The scheduler's state is unchanged then.
    pub(crate) fn edited(&self, pool: &Pool) -> Result {
        self.change(pool, pool.dests.clone().into(), Change::Edited)
    }

    /// Removes a dest from the list (C: `__ip_vs_unlink_dest()`).
    ///
    /// # Errors
    ///
    /// `ENOENT` if the dest is not in the pool; `ENOMEM`. The service is unchanged on error.
    pub(crate) fn unlink(&self, pool: &Pool, names: &mut Names, dest: &Dest) -> Result {
        let (index, _) = pool.by_serial(dest.serial()).ok_or(ENOENT)?;
        let dests = pool.dests.without(index, GFP_KERNEL)?;
        self.change(pool, dests.into(), Change::Removed(index))?;
        let left = pool.dests().len().saturating_sub(1);
        names.remove(&dest.id(), dest.serial(), left);
        Ok(())
    }

    /// Rebuilds the scheduler's state for `dests`, which differ by `change` from those in the pool,
    /// and publishes both.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    fn change(&self, pool: &Pool, dests: Draft<Dest>, change: Change) -> Result {
        let sched = match &pool.sched {
            Some(sched) => Some(sched.rebuild(dests.as_slice(), change)?),
            None => None,
        };
        self.publish(dests, sched)
    }

    /// Allocates and publishes a pool.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    fn publish(&self, dests: Draft<Dest>, sched: Option<AnyScheduler<RcuArc<Dest>>>) -> Result {
        let pool = pin_init::init!(Pool {
            dests: dests.publish(),
            sched,
        });
        let pool = RcuArc::new(pool, GFP_KERNEL)?;
        drop(self.pool.replace(Some(pool.clone())));
        // Nothing fails from here on: dests may report load changes to the new scheduler.
        match &pool.sched {
            Some(sched) => sched.register(pool.dests()),
            None => sched::unregister(pool.dests()),
        }
        Ok(())
    }
}
