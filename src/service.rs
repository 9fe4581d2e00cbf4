// SPDX-License-Identifier: GPL-2.0

//! Services: virtual addresses and what stands behind them.
//!
//! C version: `struct ip_vs_service` [include/net/ip_vs.h], [net/netfilter/ipvs/ip_vs_ctl.c].
//!
//! # Vocabulary
//!
//! - A *pool* is what a service publishes to the data path: its dests and its scheduler's state, as
//!   one value that never changes.
//!
//! # Locking
//!
//! Packets find services and dests under RCU. The control plane changes them under its mutex: it
//! makes the pool's successor and publishes that.

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
    sched::{
        self,
        mh,
        AnyScheduler,
        Change,
        Flow,
        InitError,
        Kind,
        Setup, //
    },
    search::partition_point,
    spec::{
        DestId,
        ServiceId,
        ServiceSpec, //
    },
    stats::Tally,
    sysctl::Sysctl,
    uapi::*, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::Atomic,
        rcu,
        Arc,
        Mutex, //
    },
};
use names::Names;

pub(crate) use table::Table;

/// What a service publishes to the data path.
pub(crate) struct Pool {
    dests: HeadList<Dest>,
    /// Without one nothing is scheduled.
    sched: Option<AnyScheduler<RcuArc<Dest>>>,
}

impl Object for Pool {}

impl Pool {
    /// The dests, newest first.
    #[inline]
    pub(crate) fn dests(&self) -> &[RcuArc<Dest>] {
        self.dests.as_slice()
    }

    /// The dests, to be kept.
    pub(crate) fn list(&self) -> HeadList<Dest> {
        self.dests.clone()
    }

    /// The dest with that serial number, and its index.
    fn by_serial(&self, serial: u64) -> Option<(usize, &RcuArc<Dest>)> {
        let index = partition_point(self.dests(), |dest| dest.serial() > serial);
        let dest = self.dests().get(index)?;
        (dest.serial() == serial).then_some((index, dest))
    }

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

/// What a service so called fixes for its scheduler.
fn setup(id: &ServiceId, sysctl: &Sysctl) -> Setup {
    Setup {
        family: id.family,
        lblc_expiration: sysctl.lblc_expiration.clone(),
        lblcr_expiration: sysctl.lblcr_expiration.clone(),
        mh: crate::mh_settings().unwrap_or(mh::Settings::DEFAULT),
    }
}

/// A virtual address, or fwmark.
#[pin_data]
pub(crate) struct Service {
    links: HashLinks<Self>,
    pub(crate) id: ServiceId,
    flags: Atomic<u32>,
    timeout: Atomic<u32>,
    netmask: Atomic<u32>,
    /// Empty once the service is gone.
    pool: RcuArcCell<Pool>,
    /// The names of the dests in the pool.
    #[pin]
    names: Mutex<Names>,
    /// What its dests have counted.
    pub(crate) tally: Arc<Tally>,
}

impl Object for Service {}

impl_has_hash_links! {
    impl HasHashLinks for Service { self.links }
}

/// A service, as an entry of the table.
pub(crate) type Entry = RcuArc<Service>;

impl Service {
    /// A service without dests.
    pub(crate) fn new(
        id: ServiceId,
        spec: &ServiceSpec<'_>,
        kind: Option<Kind>,
        sysctl: &Sysctl,
    ) -> Result<Entry> {
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
            pool: RcuArcCell::new(Some(RcuArc::new(pool, GFP_KERNEL)?)),
            names <- new_mutex!(Names::new()),
            tally: Arc::pin_init(Tally::new(), GFP_KERNEL)?,
        }? Error);
        let service = RcuArc::new(service, GFP_KERNEL)?;
        service.configure(spec);
        Ok(service)
    }

    #[inline]
    pub(crate) fn flags(&self) -> u32 {
        self.flags.read_once()
    }

    /// Whether a client stays with one dest.
    #[inline]
    pub(crate) fn is_persistent(&self) -> bool {
        self.flags() & IP_VS_SVC_F_PERSISTENT != 0
    }

    /// Whether each datagram is scheduled.
    #[inline]
    pub(crate) fn is_one_packet(&self) -> bool {
        self.flags() & IP_VS_SVC_F_ONEPACKET != 0
    }

    /// The time a template lives, in jiffies.
    #[inline]
    pub(crate) fn timeout(&self) -> u32 {
        self.timeout.read_once()
    }

    /// What makes clients one; see [`ServiceSpec`].
    #[inline]
    pub(crate) fn netmask(&self) -> u32 {
        self.netmask.read_once()
    }

    /// What the data path sees.
    #[inline]
    pub(crate) fn pool<'g>(&'g self, guard: &'g rcu::Guard) -> Option<&'g Pool> {
        self.pool.get(guard).map(RcuRef::get)
    }

    /// The dest that a new conn is to go to.
    #[inline]
    pub(crate) fn schedule<'g>(
        &'g self,
        guard: &'g rcu::Guard,
        flow: &Flow<'_>,
    ) -> Option<RcuRef<'g, Dest>> {
        let pool = self.pool(guard)?;
        let index = pool.sched.as_ref()?.schedule(pool.dests(), flow)?;
        pool.dests().get(index).map(RcuArc::as_rcu)
    }
}

/// The control plane, under its mutex.
impl Service {
    /// Makes all but the scheduler as `spec` says.
    pub(crate) fn configure(&self, spec: &ServiceSpec<'_>) {
        self.flags.write_once(spec.flags.apply(self.flags()));
        // As in C, a timeout too long to count in jiffies is one cut short.
        self.timeout
            .write_once(spec.timeout.wrapping_mul(HZ as u32));
        self.netmask.write_once(spec.netmask);
    }

    /// The pool, to look at and to make its successor.
    pub(crate) fn current(&self) -> Result<RcuArc<Pool>> {
        self.pool.load().ok_or(ESRCH)
    }

    /// Has another scheduler, or none, choose from now on.
    pub(crate) fn set_scheduler(&self, kind: Option<Kind>, sysctl: &Sysctl) -> Result {
        let pool = self.current()?;
        if pool.kind() == kind {
            return Ok(());
        }
        let begin = |kind| AnyScheduler::new(kind, &setup(&self.id, sysctl), pool.dests());
        let sched = match kind.map(begin).transpose() {
            Ok(sched) => sched,
            Err(error) => {
                // The old one stays. As in C, which had taken it away, it begins anew.
                if let Some(old) = pool.kind() {
                    self.publish(pool.dests.clone().into(), Some(begin(old)?))?;
                }
                return Err(error.into());
            }
        };
        self.publish(pool.dests.clone().into(), sched)
    }

    /// The dest of the pool that is called `id`.
    pub(crate) fn find<'p>(&self, pool: &'p Pool, id: &DestId) -> Option<&'p RcuArc<Dest>> {
        self.names.lock().find(pool, id).map(|(_, dest)| dest)
    }

    /// Adds a dest at the head of the list.
    pub(crate) fn link(&self, pool: &Pool, dest: RcuArc<Dest>) -> Result {
        let mut names = self.names.lock();
        let (id, serial) = (dest.id(), names.prepare(pool)?);
        dest.set_serial(serial);
        self.change(pool, pool.dests.with(dest, GFP_KERNEL)?, Change::Added)?;
        names.add(&id, serial);
        Ok(())
    }

    /// A dest has been edited.
    pub(crate) fn edited(&self, pool: &Pool) -> Result {
        self.change(pool, pool.dests.clone().into(), Change::Edited)
    }

    /// Removes a dest of the pool.
    pub(crate) fn unlink(&self, pool: &Pool, dest: &Dest) -> Result {
        let (index, _) = pool.by_serial(dest.serial()).ok_or(ENOENT)?;
        let dests = pool.dests.without(index, GFP_KERNEL)?;
        self.change(pool, dests.into(), Change::Removed(index))?;
        let left = pool.dests().len().saturating_sub(1);
        let mut names = self.names.lock();
        names.remove(&dest.id(), dest.serial(), left);
        Ok(())
    }

    /// The service is gone: takes what it has published away.
    pub(crate) fn close(&self) -> Option<RcuArc<Pool>> {
        *self.names.lock() = Names::new();
        self.pool.replace(None)
    }

    fn change(&self, pool: &Pool, dests: Draft<Dest>, change: Change) -> Result {
        let sched = match &pool.sched {
            Some(sched) => Some(sched.rebuild(dests.as_slice(), change)?),
            None => None,
        };
        self.publish(dests, sched)
    }

    fn publish(&self, dests: Draft<Dest>, sched: Option<AnyScheduler<RcuArc<Dest>>>) -> Result {
        // Once there is memory.
        let pool = pin_init::init!(Pool {
            dests: dests.publish(),
            sched,
        });
        let pool = RcuArc::new(pool, GFP_KERNEL)?;
        drop(self.pool.replace(Some(pool.clone())));
        // Now that nothing can fail any more.
        match &pool.sched {
            Some(sched) => sched.register(pool.dests()),
            None => sched::unregister(pool.dests()),
        }
        Ok(())
    }
}
