// SPDX-License-Identifier: GPL-2.0

//! The tables' sizes in /proc/net, and how well their chains are filled.
//!
//! C version: `ip_vs_status_show()` [net/netfilter/ipvs/ip_vs_ctl.c].
//!
//! # Differences from C
//!
//! Templates, which have a table of their own, count as conns, but the buckets and chains are those
//! of the others. C measures how long the chains of its estimators may be; ours have none.

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
        // C reckons it when there is a service, or when CPUs are chosen.
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

/// The size of a table and its load factor, both 0 until the table is used.
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

/// Histogram of chain lengths: empty buckets as percentage of all, the rest as percentage of the
/// non-empty ones; the last line is "this length or longer".
///
/// As in C, it is left out if the table was resized so often that the chains could not be counted.
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
