// SPDX-License-Identifier: GPL-2.0

//! The defenses against floods: the sysctls that set their modes, and the work that adapts the
//! modes to the available memory.
//!
//! The work runs once a second while any mode is not 0, and not at all otherwise.
//!
//! C version: `defense_work_handler()`, `update_defense_level()`, `proc_do_defense_mode()`
//! [net/netfilter/ipvs/ip_vs_ctl.c].

use crate::{
    netns::{
        Job,
        Netns, //
    },
    oot::{
        fs::sysctl::Rule,
        mm,
        net::pernet::{
            PerNet,
            Ref, //
        },
        time::HZ,
        workqueue::Delayed, //
    },
    sysctl::{
        defense::{
            is_on,
            Memory, //
        },
        get,
        set, //
    },
};
use kernel::{
    prelude::*,
    sync::atomic::Atomic, //
};

/// The time between two runs of the work, in jiffies (C: `DEFENSE_TIMER_PERIOD`).
const PERIOD: usize = HZ;

/// The rule of the sysctls `drop_entry`, `drop_packet` and `secure_tcp`. A new mode takes effect at
/// once, with the current values of the memory, the threshold and the rate.
pub(super) static MODE: Rule<PerNet<Netns>, 1> = Rule {
    show: |_, mode| mode,
    set: set_mode,
    absent: None,
};

/// Sets a mode and starts the work, unless the mode is 0.
///
/// # Errors
///
/// `EINVAL` if the mode is not from 0 to 3.
fn set_mode(netns: &PerNet<Netns>, mode: &[Atomic<i32>; 1], [value]: [i32; 1]) -> Result {
    let changes = netns.sysctl.changes.lock();
    if get(mode) == value {
        return Ok(());
    }
    if !(0..=3).contains(&value) {
        return Err(EINVAL);
    }
    set(mode, value);
    adapt(netns);
    drop(changes);
    match &netns.registrations.lock().defense {
        Some(work) if value != 0 => work.schedule(PERIOD),
        _ => (),
    }
    Ok(())
}

/// Adapts the modes to the available memory, and the data path to the modes. The caller holds
/// [`Sysctl::changes`](crate::sysctl::Sysctl::changes).
fn adapt(netns: &Netns) {
    let ints = &netns.sysctl.ints;
    let memory = Memory::new(mm::available_pages() as u64, get(&ints.amemthresh));
    let next = |mode| {
        let (old, new) = (get(mode), memory.mode(get(mode)));
        if new != old {
            set(mode, new);
        }
        new
    };
    next(&ints.drop_entry);
    let rate = get(&ints.am_droprate);
    netns
        .sysctl
        .packet_drops
        .set(next(&ints.drop_packet), memory, rate);
    netns
        .protocols
        .tcp
        .set_secure(is_on(next(&ints.secure_tcp)));
}

/// The work. Ends when all modes are 0.
fn run(netns: &Netns) -> Option<usize> {
    let ints = &netns.sysctl.ints;
    let changes = netns.sysctl.changes.lock();
    adapt(netns);
    let modes = [&ints.drop_entry, &ints.drop_packet, &ints.secure_tcp].map(get);
    drop(changes);
    let [drop_entry, ..] = modes;
    if is_on(drop_entry) {
        netns.conns.drop_entries(|dest, guard| {
            let service = netns.services.get(guard, &dest.vip);
            service.is_some_and(|service| service.is_one_packet())
        });
    }
    modes.iter().any(|mode| *mode != 0).then_some(PERIOD)
}

/// Creates the work of a namespace, for [`Registrations`](crate::netns::Registrations).
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn work(netns: Ref<Netns>) -> Result<Pin<KBox<Delayed<Job>>>> {
    KBox::pin_init(Delayed::new(Ok::<_, Error>(Job { netns, run })), GFP_KERNEL)
}
