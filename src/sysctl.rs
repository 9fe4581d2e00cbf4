// SPDX-License-Identifier: GPL-2.0

//! What net.ipv4.vs.* sets, per namespace.
//!
//! C version: `vs_vars`, `ip_vs_control_net_init_sysctl()` [net/netfilter/ipvs/ip_vs_ctl.c].
//!
//! # Not in force yet
//!
//! Settings of what there is not yet are kept and shown: those of the defence against floods, of
//! synchronisation, and `cache_bypass`, `conntrack`, `ignore_tunneled`,
//! `nat_icmp_send`, `schedule_icmp`, `sloppy_sctp`.
//!
//! # Differences from C
//!
//! A load factor at its default stands for a table with an entry to a bucket, where C's has 16 or
//! 4 buckets to a conn and 8 or 4 to a service. From there on each step halves or doubles it, too.

use crate::{
    netns::Netns,
    oot::{
        capability,
        cpumask::CpuMask,
        fs::sysctl::{
            File,
            Jiffies,
            Rule,
            Text,
            Unprivileged::{
                Lacks,
                Reads, //
            }, //
        },
        mm,
        net::namespace::{
            Net,
            PerNet, //
        },
        sync::Once, //
    },
    sched::cache::DEFAULT_EXPIRATION, //
};
use core::ops::RangeInclusive;
use kernel::{
    c_str, new_mutex,
    prelude::*,
    sync::{
        atomic::Atomic,
        lock::{
            mutex::MutexBackend,
            Guard, //
        },
        Arc,
        Mutex, //
    },
};

/// The directory of the files.
pub(crate) const PATH: &CStr = c"net/ipv4/vs";

/// C's limit on the number of conns on 64-bit systems (`IP_VS_CONN_MAX`).
const CONN_MAX: i32 = 1 << 30;

/// A file of a namespace.
type Setting = File<Netns>;

/// Declares the integers, with what they are at first, and the files: one for each of them, and
/// further ones.
macro_rules! settings {
    ({$(
        $(#[$cfg:meta])?
        $name:ident: [$($first:expr),*] => $kind:ident($($arg:expr)?) $(.$or:ident($to:expr))?;
    )*} $($file:expr,)*) => {
        struct Ints {
            $($(#[$cfg])? $name: [Atomic<i32>; [$($first),*].len()],)*
        }

        impl Ints {
            fn new() -> Self {
                Self { $($(#[$cfg])? $name: [$(Atomic::new($first)),*],)* }
            }
        }

        /// The files of a namespace.
        pub(crate) static FILES: &[Setting] = &[
            $(
                $(#[$cfg])?
                Setting::$kind(
                    c_str!(stringify!($name)),
                    |netns| &netns.sysctl.ints.$name
                    $(, $arg)?
                )$(.$or($to))?,
            )*
            $($file,)*
        ];
    };
}

settings! {
    {
        amemthresh: [1024] => int();
        am_droprate: [10] => int();
        drop_entry: [0] => one(&DEFENSE_MODE);
        drop_packet: [0] => one(&DEFENSE_MODE);
        #[cfg(CONFIG_IP_VS_NFCT)]
        conntrack: [0] => int();
        secure_tcp: [0] => one(&DEFENSE_MODE);
        snat_reroute: [1] => int();
        sync_version: [1] => range(&[0, 1]);
        sync_ports: [1] => one(&SYNC_PORTS);
        sync_persist_mode: [0] => int();
        sync_sock_size: [0] => int().unprivileged(Reads);
        cache_bypass: [0] => int();
        expire_nodest_conn: [0] => int();
        sloppy_tcp: [0] => int();
        sloppy_sctp: [0] => int();
        expire_quiescent_template: [0] => int();
        sync_threshold: [3, 50] => two(&SYNC_THRESHOLD);
        sync_refresh_period: [0] => seconds();
        sync_retries: [0] => range(&[0, 3]);
        nat_icmp_send: [0] => int();
        pmtu_disc: [1] => int();
        backup_only: [0] => int();
        conn_reuse_mode: [1] => int();
        schedule_icmp: [0] => int();
        ignore_tunneled: [0] => int();
        conn_lfactor: [0] => one(&LOAD_FACTOR).unprivileged(Reads);
        svc_lfactor: [0] => one(&LOAD_FACTOR).unprivileged(Reads);
    }
    Setting::one(c"conn_max", |netns| &netns.conns.max, &MAX_CONNS),
    Setting::long(c"sync_qlen_max", |netns| &netns.sysctl.sync_qlen_max).unprivileged(Reads),
    Setting::one(c"run_estimation", |netns| &netns.estimator.settings.run, &RUN_ESTIMATION)
        .unprivileged(Reads),
    Setting::one(c"est_nice", |netns| &netns.estimator.settings.nice, &EST_NICE)
        .unprivileged(Reads),
    Setting::text(c"est_cpulist", EST_CPULIST).unprivileged(Reads),
    Setting::seconds(c"lblc_expiration", |netns| netns.sysctl.lblc_expiration.at())
        .unprivileged(Lacks),
    Setting::seconds(c"lblcr_expiration", |netns| netns.sysctl.lblcr_expiration.at())
        .unprivileged(Lacks),
}

/// What the files set, but for `conn_max`, which lies with the conns, and [`Estimation`].
#[pin_data]
pub(crate) struct Sysctl {
    ints: Ints,
    /// How many messages may wait to be sent to another director.
    sync_qlen_max: Atomic<usize>,
    /// How long lblc remembers an address that nobody uses.
    pub(crate) lblc_expiration: Jiffies,
    /// The same of lblcr; and how soon a dest of an address goes.
    pub(crate) lblcr_expiration: Jiffies,
    /// What the load factors are at first.
    load: LoadFactors,
    /// The most that a user without privilege in the whole system may set `conn_max` to.
    #[pin]
    conn_max_limit: Mutex<i32>,
    /// Held while what belongs together changes.
    #[pin]
    changes: Mutex<()>,
}

/// How rates are estimated. This lies with the estimator, to be there for whoever starts that.
#[pin_data]
pub(crate) struct Estimation {
    run: [Atomic<i32>; 1],
    nice: [Atomic<i32>; 1],
    /// The CPUs that do it; unless set, those of any kernel thread.
    #[pin]
    cpulist: Mutex<Option<Arc<CpuMask>>>,
    /// Held while any of it changes, or the estimator is told.
    #[pin]
    changes: Mutex<()>,
}

/// C's default load factors of its tables, as binary logarithms of entries to a bucket.
struct LoadFactors {
    conns: i32,
    services: i32,
}

impl LoadFactors {
    fn new(net: &Net) -> Self {
        let (conns, services) = if net.is_init() { (-4, -3) } else { (-2, -2) };
        Self { conns, services }
    }
}

impl Sysctl {
    /// C's defaults for a namespace with room for so many conns.
    pub(crate) fn new(net: &Net, conn_max: i32) -> impl PinInit<Self, Error> {
        let load = LoadFactors::new(net);
        let ints = Ints::new();
        set(&ints.conn_lfactor, load.conns);
        set(&ints.svc_lfactor, load.services);
        pin_init::pin_init!(Self {
            ints,
            sync_qlen_max: Atomic::new(mm::free_buffer_pages() / 32),
            lblc_expiration: Jiffies::new(DEFAULT_EXPIRATION)?,
            lblcr_expiration: Jiffies::new(DEFAULT_EXPIRATION)?,
            load,
            conn_max_limit <- new_mutex!(conn_max),
            changes <- new_mutex!(()),
        }? Error)
    }

    /// Replies are routed anew after translation.
    #[inline(always)]
    pub(crate) fn snat_reroute(&self) -> bool {
        get(&self.ints.snat_reroute) != 0
    }

    /// Conns of a dest that was removed end at once.
    #[inline(always)]
    pub(crate) fn expire_nodest_conn(&self) -> bool {
        get(&self.ints.expire_nodest_conn) != 0
    }

    /// Any TCP segment may start a conn.
    #[inline(always)]
    pub(crate) fn sloppy_tcp(&self) -> bool {
        get(&self.ints.sloppy_tcp) != 0
    }

    /// Templates do not lead to a dest of weight 0.
    #[inline]
    pub(crate) fn expire_quiescent_template(&self) -> bool {
        get(&self.ints.expire_quiescent_template) != 0
    }

    /// Tunnels obey the path MTU.
    #[inline(always)]
    pub(crate) fn pmtu_disc(&self) -> bool {
        get(&self.ints.pmtu_disc) != 0
    }

    /// When a SYN on a conn starts a new one: not 0 if that is closed, bit 1 if it is closing, too.
    #[inline(always)]
    pub(crate) fn conn_reuse_mode(&self) -> i32 {
        get(&self.ints.conn_reuse_mode)
    }

    /// By how many ports daemons tell each other of conns.
    pub(crate) fn sync_ports(&self) -> i32 {
        get(&self.ints.sync_ports)
    }

    /// The load factor of the table of conns, as C counts.
    pub(crate) fn conn_lfactor(&self) -> i32 {
        get(&self.ints.conn_lfactor)
    }

    /// The load factor of the table of services, as C counts.
    pub(crate) fn svc_lfactor(&self) -> i32 {
        get(&self.ints.svc_lfactor)
    }
}

impl Estimation {
    /// C's defaults.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init::pin_init!(Self {
            run: [Atomic::new(1)],
            nice: [Atomic::new(0)],
            cpulist <- new_mutex!(None),
            changes <- new_mutex!(()),
        })
    }

    /// While this is held, none of it changes.
    pub(crate) fn hold(&self) -> Guard<'_, (), MutexBackend> {
        self.changes.lock()
    }

    /// Rates are estimated, if there are CPUs to do it.
    pub(crate) fn is_wanted(&self) -> bool {
        get(&self.run) != 0
    }

    /// The nice value of the threads that do it.
    pub(crate) fn nice(&self) -> i32 {
        get(&self.nice)
    }

    /// How many CPUs may do it.
    pub(crate) fn cpus(&self) -> usize {
        let weight = |cpus: &CpuMask| cpus.weight() as usize;
        match self.cpulist() {
            Some(cpus) => weight(&cpus),
            None => CpuMask::housekeeping().as_ref().map_or(1, weight),
        }
    }

    /// The CPUs that were chosen to do it, which may be none, if any were.
    pub(crate) fn cpulist(&self) -> Option<Arc<CpuMask>> {
        self.cpulist.lock().clone()
    }
}

/// `conn_max` at first: the initial namespace's as it is now.
pub(crate) fn first_conn_max() -> i32 {
    PerNet::<Netns>::of(Net::init()).map_or(CONN_MAX, |initial| get(&initial.conns.max))
}

#[inline(always)]
fn get([int]: &[Atomic<i32>; 1]) -> i32 {
    int.read_once()
}

fn set([int]: &[Atomic<i32>; 1], value: i32) {
    int.write_once(value);
}

/// C's answer to a number that is out of range.
fn check(value: i32, range: RangeInclusive<i32>) -> Result {
    if range.contains(&value) {
        Ok(())
    } else {
        Err(EINVAL)
    }
}

/// Shows integers as they are.
fn as_is<const N: usize>(_netns: &Netns, ints: [i32; N]) -> [i32; N] {
    ints
}

/// C: `proc_do_conn_max()`.
static MAX_CONNS: Rule<Netns, 1> = Rule {
    show: as_is,
    set: |netns, max, [value]| {
        if value == i32::MIN {
            return Ok(());
        }
        let mut limit = netns.sysctl.conn_max_limit.lock();
        let is_privileged = capability::is_net_admin();
        check(value, 0..=if is_privileged { CONN_MAX } else { *limit })?;
        if is_privileged {
            *limit = value;
        }
        set(max, value);
        Ok(())
    },
    absent: Some(i32::MIN),
};

/// C: `proc_do_defense_mode()`. It says of 1 and 2 which of them memory asks for, as C's does at the
/// latest a second after memory changed.
static DEFENSE_MODE: Rule<Netns, 1> = Rule {
    show: |netns, [mode]| {
        let is_short = || (mm::available_pages() as i32) < get(&netns.sysctl.ints.amemthresh);
        [match mode {
            1 | 2 if is_short() => 2,
            1 | 2 => 1,
            mode => mode,
        }]
    },
    set: |_, mode, [value]| {
        check(value, 0..=3)?;
        set(mode, value);
        Ok(())
    },
    absent: None,
};

/// C: `proc_do_sync_ports()`.
static SYNC_PORTS: Rule<Netns, 1> = Rule {
    show: as_is,
    set: |_, ports, [value]| {
        if !u32::try_from(value).is_ok_and(u32::is_power_of_two) {
            return Err(EINVAL);
        }
        set(ports, value);
        Ok(())
    },
    absent: None,
};

/// C: `proc_do_sync_threshold()`, which keeps the first of two words even if the second is none.
static SYNC_THRESHOLD: Rule<Netns, 2> = Rule {
    show: as_is,
    set: |netns, [threshold, period], [packets, every]| {
        if packets < 0 || every < 0 || (packets >= every && every != 0) {
            return Err(EINVAL);
        }
        let _changes = netns.sysctl.changes.lock();
        threshold.write_once(packets);
        period.write_once(every);
        Ok(())
    },
    absent: None,
};

/// C: `ipvs_proc_run_estimation()`.
static RUN_ESTIMATION: Rule<Netns, 1> = Rule {
    show: as_is,
    set: change_estimation,
    absent: None,
};

/// C: `ipvs_proc_est_nice()`.
static EST_NICE: Rule<Netns, 1> = Rule {
    show: as_is,
    set: |netns, nice, [value]| {
        check(value, -20..=19)?;
        change_estimation(netns, nice, [value])
    },
    absent: None,
};

fn change_estimation(netns: &Netns, place: &[Atomic<i32>; 1], [value]: [i32; 1]) -> Result {
    let _changes = netns.estimator.settings.hold();
    if get(place) != value {
        set(place, value);
        netns.restart_estimator();
    }
    Ok(())
}

/// C: `ipvs_proc_est_cpulist()`.
const EST_CPULIST: Text<Netns> = Text {
    show: |netns, buffer| match netns.estimator.settings.cpulist() {
        Some(cpus) => Ok(cpus.print(buffer)),
        None => Ok(CpuMask::housekeeping()?.print(buffer)),
    },
    set: |netns, list| {
        let cpus = CpuMask::parse(list)?.and_current();
        let cpus = Arc::new(cpus, GFP_KERNEL)?;
        let settings = &netns.estimator.settings;
        let _changes = settings.hold();
        *settings.cpulist.lock() = Some(cpus);
        netns.restart_estimator();
        Ok(())
    },
};

/// C: `ipvs_proc_conn_lfactor()`, `ipvs_proc_svc_lfactor()`.
static LOAD_FACTOR: Rule<Netns, 1> = Rule {
    show: as_is,
    set: |netns, factor, [value]| {
        check(value, -8..=8)?;
        set(factor, value);
        let sysctl = &netns.sysctl;
        let above = |factor: i32, first| factor.wrapping_sub(first);
        netns
            .conns
            .set_load(above(sysctl.conn_lfactor(), sysctl.load.conns));
        netns
            .services
            .set_load(above(sysctl.svc_lfactor(), sysctl.load.services));
        Ok(())
    },
    absent: None,
};
