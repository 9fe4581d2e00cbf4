// SPDX-License-Identifier: GPL-2.0

//! Conns in /proc/net.
//!
//! C version: `ip_vs_conn_seq_show()`, `ip_vs_conn_sync_seq_show()`
//! [net/netfilter/ipvs/ip_vs_conn.c].

use crate::{
    conn::{
        table::Walk,
        Conn, //
    },
    ctl::netns_of,
    oot::{
        fs::proc::Table,
        net::namespace::Net,
        sync::{
            Linked,
            Timed, //
        },
        time::HZ, //
    },
};
use kernel::{
    seq_file::SeqFile,
    seq_print,
    sync::rcu, //
};

/// /proc/net/ip_vs_conn
pub(super) struct Conns;

impl Table for Conns {
    type Record = Linked<Timed<Conn>>;
    type Cursor = [usize; 3];

    fn header(_net: &Net, seq: &SeqFile) {
        seq_print!(
            seq,
            "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"
        );
    }

    fn next<'g>(
        net: &'g Net,
        guard: &'g rcu::Guard,
        cursor: &mut Self::Cursor,
    ) -> Option<&'g Self::Record> {
        next(net, guard, cursor)
    }

    fn show(_net: &Net, _guard: &rcu::Guard, conn: &Self::Record, seq: &SeqFile) {
        show_ends(conn, seq);
        let (state, expires) = (conn.state_name(), seconds_left(conn));
        seq_print!(seq, "{state:<11} {expires:7}\n");
    }
}

/// /proc/net/ip_vs_conn_sync
pub(super) struct SyncConns;

impl Table for SyncConns {
    type Record = Linked<Timed<Conn>>;
    type Cursor = [usize; 3];

    fn header(_net: &Net, seq: &SeqFile) {
        seq_print!(
            seq,
            "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Origin Expires\n"
        );
    }

    fn next<'g>(
        net: &'g Net,
        guard: &'g rcu::Guard,
        cursor: &mut Self::Cursor,
    ) -> Option<&'g Self::Record> {
        next(net, guard, cursor)
    }

    fn show(_net: &Net, _guard: &rcu::Guard, conn: &Self::Record, seq: &SeqFile) {
        show_ends(conn, seq);
        let (state, expires) = (conn.state_name(), seconds_left(conn));
        // There is no sync: every conn was made here.
        seq_print!(seq, "{state:<11} {:<6} {expires:7}\n", "LOCAL");
    }
}

fn next<'g>(
    net: &'g Net,
    guard: &'g rcu::Guard,
    cursor: &mut [usize; 3],
) -> Option<&'g Linked<Timed<Conn>>> {
    let conns = &netns_of(net).ok()?.conns;
    let (conn, after) = conns.next(guard, Walk::from_words(*cursor))?;
    *cursor = after.to_words();
    Some(conn.get())
}

/// The protocol, and the addresses and ports of client, service and dest.
fn show_ends(conn: &Conn, seq: &SeqFile) {
    let proto = conn.proto_name();
    let (cport, vport) = (conn.cport.host(), conn.vport.host());
    let dport = conn.shown_dport().host();
    let caddr = conn.caddr.proc_hex(conn.family);
    let vaddr = conn.vaddr.proc_hex(conn.family);
    let daddr = conn.daddr.proc_hex(conn.dest.family);
    seq_print!(
        seq,
        "{proto:<3} {caddr} {cport:04X} {vaddr} {vport:04X} {daddr} {dport:04X} "
    );
}

/// As in C, what has too many milliseconds left for 32 bits shows less (C: `jiffies_to_msecs()`).
fn seconds_left(conn: &Conn) -> u32 {
    let msecs = u64::from(conn.expires_in()).wrapping_mul(1000) / HZ as u64;
    msecs as u32 / 1000
}
