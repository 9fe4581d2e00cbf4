// SPDX-License-Identifier: GPL-2.0

//! The sizes and chain lengths of the conn and service tables, in /proc/net.
//!
//! C version: `ip_vs_status_show()` [net/netfilter/ipvs/ip_vs_ctl.c].
//!
//! # Differences from C
//!
//! - Templates have a table of their own. They count as conns, but the buckets and chains shown are
//!   those of the table of the other conns.
//! - "Stats chain max len" and "Stats thread ests" are 0: the estimator here has no chains.

use crate::{
    addr::Family,
    netns::Netns,
    oot::{
        fs::proc::Single,
        net::pernet::PerNet,
        sync::ChainLengths, //
    }, //
};
use kernel::{
    fmt,
    seq_file::SeqFile,
    seq_print, //
};

/// C: `IPVS_EST_CPU_KTHREADS`
const THREADS_PER_CPU: usize = 4;

/// /proc/net/ip_vs_status
pub(super) struct Status;

impl Single for Status {
    type Context = PerNet<Netns>;

    fn show(netns: &PerNet<Netns>, seq: &SeqFile) {
        let (conns, services) = (&netns.conns, &netns.services);
        let number = services
            .len(Family::Inet)
            .wrapping_add(services.len(Family::Inet6));

        seq_print!(seq, "Conns:\t{}\n", conns.len());
        let load = netns.sysctl.conn_lfactor();
        let buckets = Buckets(conns.size(), load, services.is_used());
        seq_print!(seq, "Conn buckets:\t{buckets}\n");
        if conns.len() != 0 {
            show_chains("Conn", conns.chain_lengths(), seq);
        }
        seq_print!(seq, "Services:\t{number}\n");
        let load = netns.sysctl.svc_lfactor();
        let buckets = Buckets(services.size(), load, number != 0);
        seq_print!(seq, "Service buckets:\t{buckets}\n");
        if number != 0 {
            show_chains("Service", services.chain_lengths(), seq);
        }
        // As in C, the maximum is 0 until a service is added or `est_cpulist` is set.
        let settings = &netns.estimator.settings;
        let is_known = netns.estimator.is_enabled() || settings.cpulist().is_some();
        let max = if is_known {
            let max = settings.cpus().wrapping_mul(THREADS_PER_CPU);
            max.max(1)
        } else {
            0
        };
        seq_print!(seq, "Stats thread slots:\t1 (max {max})\n");
        seq_print!(seq, "Stats chain max len:\t0\n");
        seq_print!(seq, "Stats thread ests:\t0\n");
    }
}

/// The size of a table, its load factor, and whether it is used; all shown as 0 until it is.
struct Buckets(usize, i32, bool);

impl fmt::Display for Buckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (size, bits, lfactor) = match *self {
            Self(size, lfactor, true) => (size, size.trailing_zeros(), lfactor),
            Self(_, _, false) => (0, 0, 0),
        };
        write!(f, "{size} ({bits} bits, lfactor {lfactor})")
    }
}

/// Writes a histogram of chain lengths: empty buckets as percentage of all, the others as
/// percentage of the non-empty ones. The last line counts chains of this length or longer.
///
/// As in C, nothing is written if resizes of the table kept the chains from being counted.
fn show_chains(table: &str, lengths: Option<ChainLengths>, seq: &SeqFile) {
    let Some(lengths) = lengths else { return };
    let all = lengths
        .iter()
        .fold(0, |sum: u32, number| sum.wrapping_add(*number));
    let [empty, rest @ ..] = lengths;
    let percent = percent(empty, all);
    seq_print!(seq, "{table} buckets empty:\t{empty} ({percent}%)\n");
    for (length, number) in (1..8).zip(rest).filter(|(_, number)| *number != 0) {
        let percent = self::percent(number, all.wrapping_sub(empty));
        seq_print!(
            seq,
            "{table} buckets len-{length}:\t{number} ({percent}%)\n"
        );
    }
}

fn percent(number: u32, all: u32) -> u64 {
    u64::from(number)
        .wrapping_mul(100)
        .checked_div(u64::from(all))
        .unwrap_or(0)
}
