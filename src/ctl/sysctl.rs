// SPDX-License-Identifier: GPL-2.0

//! The sysctls `net.ipv4.vs.*` and the checks of values written to them.
//!
//! C version: `vs_vars`, `ip_vs_control_net_init_sysctl()` [net/netfilter/ipvs/ip_vs_ctl.c].

use super::defense;
use crate::{
    addr::{
        Addr,
        Family, //
    },
    laddr::{
        self,
        AddrList, //
    },
    netns::Netns,
    oot::{
        capability,
        cpumask::CpuMask,
        fs::sysctl::{
            File,
            Rule,
            Text,
            Unprivileged::{
                Absent,
                ReadOnly, //
            }, //
        },
        net::{
            addrconf,
            may_log,
            pernet::PerNet, //
        },
        sync::Once, //
    },
    sysctl::{
        get,
        set,
        CONN_MAX, //
    },
};
use core::ops::RangeInclusive;
use kernel::{
    prelude::*,
    str::BStr,
    sync::{
        atomic::Atomic,
        rcu,
        Arc, //
    },
};

/// The directory of the sysctls, below /proc/sys.
pub(crate) const PATH: &CStr = c"net/ipv4/vs";

/// A sysctl of a network namespace.
type Setting = File<PerNet<Netns>>;

/// The sysctls of a network namespace (C: `vs_vars`).
pub(crate) static FILES: &[Setting] = &[
    Setting::int(c"amemthresh", |netns| &netns.sysctl.ints.amemthresh),
    Setting::int(c"am_droprate", |netns| &netns.sysctl.ints.am_droprate),
    Setting::one(
        c"drop_entry",
        |netns| &netns.sysctl.ints.drop_entry,
        &defense::MODE,
    ),
    Setting::one(
        c"drop_packet",
        |netns| &netns.sysctl.ints.drop_packet,
        &defense::MODE,
    ),
    #[cfg(CONFIG_IP_VS_NFCT)]
    Setting::int(c"conntrack", |netns| &netns.sysctl.ints.conntrack),
    Setting::one(
        c"secure_tcp",
        |netns| &netns.sysctl.ints.secure_tcp,
        &defense::MODE,
    ),
    Setting::int(c"snat_reroute", |netns| &netns.sysctl.ints.snat_reroute),
    Setting::range(
        c"sync_version",
        |netns| &netns.sysctl.ints.sync_version,
        &[0, 1],
    ),
    Setting::one(
        c"sync_ports",
        |netns| &netns.sysctl.ints.sync_ports,
        &SYNC_PORTS,
    ),
    Setting::int(c"sync_persist_mode", |netns| {
        &netns.sysctl.ints.sync_persist_mode
    }),
    Setting::int(c"sync_sock_size", |netns| &netns.sysctl.ints.sync_sock_size)
        .unprivileged(ReadOnly),
    Setting::int(c"cache_bypass", |netns| &netns.sysctl.ints.cache_bypass),
    Setting::int(c"expire_nodest_conn", |netns| {
        &netns.sysctl.ints.expire_nodest_conn
    }),
    Setting::int(c"sloppy_tcp", |netns| &netns.sysctl.ints.sloppy_tcp),
    Setting::int(c"sloppy_sctp", |netns| &netns.sysctl.ints.sloppy_sctp),
    Setting::int(c"expire_quiescent_template", |netns| {
        &netns.sysctl.ints.expire_quiescent_template
    }),
    Setting::two(
        c"sync_threshold",
        |netns| &netns.sysctl.ints.sync_threshold,
        &SYNC_THRESHOLD,
    ),
    Setting::seconds(c"sync_refresh_period", |netns| {
        &netns.sysctl.ints.sync_refresh_period
    }),
    Setting::range(
        c"sync_retries",
        |netns| &netns.sysctl.ints.sync_retries,
        &[0, 3],
    ),
    Setting::int(c"sync_resync", |netns| &netns.sysctl.ints.sync_resync),
    Setting::int(c"sync_early", |netns| &netns.sysctl.ints.sync_early),
    Setting::int(c"nat_icmp_send", |netns| &netns.sysctl.ints.nat_icmp_send),
    Setting::int(c"pmtu_disc", |netns| &netns.sysctl.ints.pmtu_disc),
    Setting::one(
        c"backup_only",
        |netns| &netns.sysctl.ints.backup_only,
        &BACKUP_ONLY,
    ),
    Setting::int(c"conn_reuse_mode", |netns| {
        &netns.sysctl.ints.conn_reuse_mode
    }),
    Setting::int(c"schedule_icmp", |netns| &netns.sysctl.ints.schedule_icmp),
    Setting::int(c"ignore_tunneled", |netns| {
        &netns.sysctl.ints.ignore_tunneled
    }),
    Setting::one(
        c"conn_lfactor",
        |netns| &netns.sysctl.ints.conn_lfactor,
        &LOAD_FACTOR,
    )
    .unprivileged(ReadOnly),
    Setting::one(
        c"svc_lfactor",
        |netns| &netns.sysctl.ints.svc_lfactor,
        &LOAD_FACTOR,
    )
    .unprivileged(ReadOnly),
    Setting::one(c"conn_max", |netns| &netns.conns.max, &MAX_CONNS),
    Setting::long(c"sync_qlen_max", |netns| &netns.sysctl.sync_qlen_max).unprivileged(ReadOnly),
    Setting::one(
        c"run_estimation",
        |netns| &netns.estimator.settings.run,
        &RUN_ESTIMATION,
    )
    .unprivileged(ReadOnly),
    Setting::one(
        c"est_nice",
        |netns| &netns.estimator.settings.nice,
        &EST_NICE,
    )
    .unprivileged(ReadOnly),
    Setting::text(c"est_cpulist", EST_CPULIST).unprivileged(ReadOnly),
    Setting::seconds(c"lblc_expiration", |netns| {
        netns.sysctl.lblc_expiration.at()
    })
    .unprivileged(Absent),
    Setting::seconds(c"lblcr_expiration", |netns| {
        netns.sysctl.lblcr_expiration.at()
    })
    .unprivileged(Absent),
    // C has none of those below.
    Setting::one(c"fullnat", |netns| &netns.sysctl.ints.fullnat, &FULLNAT),
    Setting::two(
        c"fullnat_ports",
        |netns| &netns.sysctl.ints.fullnat_ports,
        &FULLNAT_PORTS,
    ),
    Setting::text(c"fullnat_laddr", FULLNAT_LADDR),
    Setting::range(
        c"fullnat_client",
        |netns| &netns.sysctl.ints.fullnat_client,
        &[0, 1],
    ),
];

/// Checks that `value` is in `range`.
///
/// # Errors
///
/// `EINVAL` if it is not.
fn check(value: i32, range: RangeInclusive<i32>) -> Result {
    if range.contains(&value) {
        Ok(())
    } else {
        Err(EINVAL)
    }
}

/// Shows integers unchanged.
fn as_is<const N: usize>(_netns: &PerNet<Netns>, ints: [i32; N]) -> [i32; N] {
    ints
}

/// C: `proc_do_conn_max()`. A write without a number changes nothing.
static MAX_CONNS: Rule<PerNet<Netns>, 1> = Rule {
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

/// C: `proc_do_sync_ports()`.
static SYNC_PORTS: Rule<PerNet<Netns>, 1> = Rule {
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

/// C: `proc_do_sync_threshold()`. As in C, the first value is set even if the second is not a
/// number.
static SYNC_THRESHOLD: Rule<PerNet<Netns>, 2> = Rule {
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

/// 0 or 1.
static FULLNAT: Rule<PerNet<Netns>, 1> = Rule {
    show: as_is,
    set: |netns, fullnat, [value]| {
        check(value, 0..=1)?;
        if value != 0 {
            netns.conns.locals.prepare();
        }
        set(fullnat, value);
        Ok(())
    },
    absent: None,
};

/// The first and the last port, neither of them 0.
static FULLNAT_PORTS: Rule<PerNet<Netns>, 2> = Rule {
    show: as_is,
    set: |netns, [first, last], [from, to]| {
        check(from, 1..=65535)?;
        check(to, from..=65535)?;
        let _changes = netns.sysctl.changes.lock();
        first.write_once(from);
        last.write_once(to);
        Ok(())
    },
    absent: None,
};

/// An empty list before the first write.
const FULLNAT_LADDR: Text<PerNet<Netns>> = Text {
    show: |netns, buffer| {
        let guard = rcu::read_lock();
        let list = netns.sysctl.fullnat_laddr(&guard);
        Ok(list.map_or(0, |list| list.print(buffer)))
    },
    set: |netns, text| {
        let (_nul, text) = text.to_bytes_with_nul().split_last().ok_or(EINVAL)?;
        let list = AddrList::parse(text).ok_or(EINVAL)?;
        for (family, addr) in list.iter() {
            check_local(netns, family, &addr)?;
        }
        netns.sysctl.set_fullnat_laddr(list)
    },
};

/// Checks that `addr` is an address of this host.
///
/// # Errors
///
/// `EINVAL` if it is not.
fn check_local(netns: &PerNet<Netns>, family: Family, addr: &Addr) -> Result {
    let net = netns.net();
    let (is_local, prefix) = match family {
        Family::Inet => (addrconf::is_local4(net, addr.v4()), 32),
        Family::Inet6 => (
            addrconf::is_ipv6_enabled() && addrconf::is_local6(net, *addr.bytes()),
            128,
        ),
    };
    if is_local {
        return Ok(());
    }
    let mut text = [0; 48];
    let len = laddr::print_addr(family, addr, &mut text);
    let shown = BStr::from_bytes(text.get(..len).unwrap_or_default());
    // Owners of user namespaces may write the file.
    if may_log() {
        pr_err!(
            "fullnat_laddr: this host does not have the address {shown}; \
             to add it: ip addr add {shown}/{prefix} dev DEVICE\n"
        );
    }
    Err(EINVAL)
}

/// The data path reads a copy of the value.
static BACKUP_ONLY: Rule<PerNet<Netns>, 1> = Rule {
    show: as_is,
    set: |netns, place, [value]| {
        let _changes = netns.sysctl.changes.lock();
        set(place, value);
        netns.sync.set_backup_only(value != 0);
        Ok(())
    },
    absent: None,
};

/// C: `ipvs_proc_run_estimation()`.
static RUN_ESTIMATION: Rule<PerNet<Netns>, 1> = Rule {
    show: as_is,
    set: change_estimation,
    absent: None,
};

/// C: `ipvs_proc_est_nice()`.
static EST_NICE: Rule<PerNet<Netns>, 1> = Rule {
    show: as_is,
    set: |netns, nice, [value]| {
        check(value, -20..=19)?;
        change_estimation(netns, nice, [value])
    },
    absent: None,
};

/// Sets a setting of the estimator and restarts the estimator if the value changed.
///
/// # Errors
///
/// None: a failed start of the thread is repeated by its work item.
fn change_estimation(netns: &PerNet<Netns>, place: &[Atomic<i32>; 1], [value]: [i32; 1]) -> Result {
    let _changes = netns.estimator.settings.hold();
    if get(place) != value {
        set(place, value);
        netns.estimator.restart();
    }
    Ok(())
}

/// C: `ipvs_proc_est_cpulist()`.
const EST_CPULIST: Text<PerNet<Netns>> = Text {
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
        netns.estimator.restart();
        Ok(())
    },
};

/// C: `ipvs_proc_conn_lfactor()`, `ipvs_proc_svc_lfactor()`.
static LOAD_FACTOR: Rule<PerNet<Netns>, 1> = Rule {
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
