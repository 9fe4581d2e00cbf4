// SPDX-License-Identifier: GPL-2.0

//! Messages about services in the kernel log, at most as many as the sysctl
//! `net.core.message_burst` allows.
//!
//! C version: `ip_vs_scheduler_err()` [net/netfilter/ipvs/ip_vs_sched.c], `ip_vs_schedule()`
//! [net/netfilter/ipvs/ip_vs_core.c].

use super::{
    Pool,
    Service, //
};
use crate::{
    addr::Family,
    oot::net::may_log,
    proto::Proto,
    sched::Kind,
    spec::ServiceId, //
};
use core::net::{
    Ipv4Addr,
    Ipv6Addr, //
};
use kernel::{
    fmt,
    prelude::*, //
};

impl Service {
    /// Logs that the scheduler has found no dest.
    #[cold]
    pub(super) fn log_no_dest(&self, pool: &Pool) {
        if !may_log() {
            return;
        }
        let name = pool.kind().map_or("none", Kind::name);
        // Of the schedulers, wrr alone gives a reason.
        let is_overloaded = name == "wrr" && pool.dests().iter().any(|dest| dest.weight() > 0);
        let reason = match is_overloaded {
            true => ": all destinations are overloaded",
            false => "",
        };
        pr_err!(
            "{name}: {} - no destination available{reason}\n",
            Shown(&self.id)
        );
    }
}

/// Logs that a service for all ports is not persistent, so that its packets are refused.
#[cold]
pub(crate) fn log_port_zero() {
    if may_log() {
        pr_err!(
            "Schedule: port zero only supported in persistent services, \
             check your ipvs configuration\n"
        );
    }
}

/// A service in a message.
struct Shown<'a>(&'a ServiceId);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.0;
        if id.fwmark != 0 {
            return write!(f, "FWM {0} 0x{0:08X}", id.fwmark);
        }
        let protocol = u8::try_from(id.protocol).ok().and_then(Proto::of);
        let (name, port) = (protocol.map_or("IP", Proto::name), id.port.host());
        match id.family {
            Family::Inet => write!(f, "{name} {}:{port}", Ipv4Addr::from(id.addr.v4())),
            Family::Inet6 => write!(f, "{name} [{}]:{port}", Ipv6Addr::from(*id.addr.bytes())),
        }
    }
}
