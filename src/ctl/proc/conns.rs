// SPDX-License-Identifier: GPL-2.0

//! The files of conns in /proc/net.
//!
//! C version: `ip_vs_conn_seq_show()`, `ip_vs_conn_sync_seq_show()`
//! [net/netfilter/ipvs/ip_vs_conn.c].

use crate::{
    addr::{
        Addr,
        Family,
        Port, //
    },
    conn::{
        table::Walk,
        Conn,
        End, //
    },
    netns::Netns,
    oot::{
        fs::proc::{
            self,
            Records, //
        },
        net::pernet::PerNet,
        time::HZ, //
    },
};
use kernel::{
    seq_file::SeqFile,
    seq_print,
    sync::rcu, //
};

use super::line::Line;

/// /proc/net/ip_vs_conn
pub(super) struct Conns;

impl Records for Conns {
    type Context = PerNet<Netns>;
    type Record = Conn;
    type Cursor = [usize; 3];

    fn header(_netns: &PerNet<Netns>, seq: &SeqFile) {
        seq_print!(
            seq,
            "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"
        );
    }

    fn next<'g>(
        netns: &'g PerNet<Netns>,
        guard: &'g rcu::Guard,
        cursor: &mut Self::Cursor,
    ) -> Option<&'g Self::Record> {
        next(netns, guard, cursor)
    }

    fn show(_netns: &PerNet<Netns>, guard: &rcu::Guard, conn: &Self::Record, seq: &SeqFile) {
        if conn.is_reserved() {
            return;
        }
        let mut line = Line::new();
        write_ends(&mut line, guard, conn).decimal_right(seconds_left(conn), 7);
        if conn.is_template() {
            if let Some((engine, data)) = conn.pe(guard) {
                line.text(" ").text(engine.name()).text(" ");
                proc::write(seq, line.bytes());
                proc::write(seq, data);
                line.clear();
            }
        }
        line.text("\n");
        proc::write(seq, line.bytes());
    }
}

/// /proc/net/ip_vs_conn_sync
pub(super) struct SyncConns;

impl Records for SyncConns {
    type Context = PerNet<Netns>;
    type Record = Conn;
    type Cursor = [usize; 3];

    fn header(_netns: &PerNet<Netns>, seq: &SeqFile) {
        seq_print!(
            seq,
            "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Origin Expires\n"
        );
    }

    fn next<'g>(
        netns: &'g PerNet<Netns>,
        guard: &'g rcu::Guard,
        cursor: &mut Self::Cursor,
    ) -> Option<&'g Self::Record> {
        next(netns, guard, cursor)
    }

    fn show(_netns: &PerNet<Netns>, guard: &rcu::Guard, conn: &Self::Record, seq: &SeqFile) {
        if conn.is_reserved() {
            return;
        }
        let mut line = Line::new();
        let origin = match conn.is_received() {
            true => "SYNC",
            false => "LOCAL",
        };
        write_ends(&mut line, guard, conn)
            .text_padded(origin, 6)
            .text(" ")
            .decimal_right(seconds_left(conn), 7)
            .text("\n");
        proc::write(seq, line.bytes());
    }
}

/// /proc/net/ip_vs_fullnat, which C does not have: the conns with a local end, and the reserved
/// local ends. These have no client and no service.
pub(super) struct LocalEnds;

impl Records for LocalEnds {
    type Context = PerNet<Netns>;
    type Record = Conn;
    type Cursor = [usize; 3];

    fn header(netns: &PerNet<Netns>, seq: &SeqFile) {
        seq_print!(seq, "Exhausted {}\n", netns.conns.locals.exhausted());
        seq_print!(
            seq,
            "Pro FromIP   FPrt ToIP     TPrt LocalIP  LPrt DestIP   DPrt State       Expires\n"
        );
    }

    fn next<'g>(
        netns: &'g PerNet<Netns>,
        guard: &'g rcu::Guard,
        cursor: &mut Self::Cursor,
    ) -> Option<&'g Self::Record> {
        next(netns, guard, cursor)
    }

    fn show(_netns: &PerNet<Netns>, guard: &rcu::Guard, conn: &Self::Record, seq: &SeqFile) {
        let none = (&Addr::ANY, Port::ZERO);
        let (client, service, local) = match (conn.local(guard), conn.is_reserved()) {
            (Some(local), _) => (conn.client(), conn.service(), local),
            (None, true) => (none, none, conn.client()),
            (None, false) => return,
        };
        let mut line = Line::new();
        line.text_padded(conn.proto_name(), 3);
        let family = conn.family;
        for end in [client, service, local, conn.dest_end()] {
            write_end(&mut line, family, end);
        }
        line.text(" ")
            .text_padded(conn.state_name(), 11)
            .text(" ")
            .decimal_right(seconds_left(conn), 7)
            .text("\n");
        proc::write(seq, line.bytes());
    }
}

/// Writes a space, an address and a port.
fn write_end(line: &mut Line, family: Family, (addr, port): End<'_>) {
    line.text(" ")
        .addr(family, addr, ["", ""])
        .port(" ", port.host());
}

fn next<'g>(
    netns: &'g PerNet<Netns>,
    guard: &'g rcu::Guard,
    cursor: &mut [usize; 3],
) -> Option<&'g Conn> {
    let conns = &netns.conns;
    let (conn, after) = conns.next(guard, Walk::from_words(*cursor))?;
    *cursor = after.to_words();
    Some(conn.get())
}

/// Writes the protocol, the addresses and ports of client, service and dest, and the state.
fn write_ends<'a>(line: &'a mut Line, guard: &rcu::Guard, conn: &Conn) -> &'a mut Line {
    let plain = ["", ""];
    line.text_padded(conn.proto_name(), 3)
        .text(" ")
        .addr(conn.family, &conn.caddr, plain)
        .port(" ", conn.cport.host())
        .text(" ")
        .addr(conn.family, &conn.vaddr, plain)
        .port(" ", conn.vport.host())
        .text(" ")
        .addr(conn.dest_family(guard), &conn.daddr, plain)
        .port(" ", conn.shown_dport().host())
        .text(" ")
        .text_padded(conn.state_name(), 11)
        .text(" ")
}

/// Returns the seconds to expiry, computed as C does: `jiffies_to_msecs()`, truncated to 32 bits,
/// divided by 1000.
fn seconds_left(conn: &Conn) -> u32 {
    let msecs = u64::from(conn.expires_in()).wrapping_mul(1000) / HZ as u64;
    msecs as u32 / 1000
}
