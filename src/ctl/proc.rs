// SPDX-License-Identifier: GPL-2.0

//! The files in /proc/net, byte for byte as C writes them, and one that C does not have.
//!
//! C version: `ip_vs_info_seq_show()`, `ip_vs_stats_show()`, `ip_vs_stats_percpu_show()`
//! [net/netfilter/ipvs/ip_vs_ctl.c].

mod conns;
mod line;
mod status;

use crate::{
    addr::Family,
    dest::Dest,
    forward::Forward,
    netns::Netns,
    oot::{
        fs::proc::{
            self,
            File,
            Records, //
            Single,
        },
        net::{
            nat_helper::Helper,
            pernet::PerNet, //
        },
        sync::{
            percpu,
            HashCursor, //
        },
    },
    sched::Kind,
    service::Service,
    stats::Counts,
    uapi::*, //
};
use kernel::{
    cpu::nr_cpu_ids,
    fmt,
    seq_file::SeqFile,
    seq_print,
    sync::rcu, //
};

use super::Version;
use conns::{
    Conns,
    LocalEnds,
    SyncConns, //
};
use line::Line;
use status::Status;

/// The text before and after an IPv6 address that a port follows.
const BRACKETS: [&str; 2] = ["[", "]"];

/// The files in the /proc/net of a network namespace.
pub(crate) static FILES: [File<PerNet<Netns>>; 8] = [
    File::table::<Info>(c"ip_vs", 0),
    File::table::<Conns>(c"ip_vs_conn", 0),
    File::table::<SyncConns>(c"ip_vs_conn_sync", 0),
    File::table::<LocalEnds>(c"ip_vs_fullnat", 0),
    File::single::<Apps>(c"ip_vs_app", 0),
    File::single::<Stats>(c"ip_vs_stats", 0),
    File::single::<StatsPerCpu>(c"ip_vs_stats_percpu", 0),
    File::single::<Status>(c"ip_vs_status", 0o440),
];

/// /proc/net/ip_vs
struct Info;

impl Records for Info {
    type Context = PerNet<Netns>;
    type Record = Service;
    type Cursor = [usize; 2];

    fn header(netns: &PerNet<Netns>, seq: &SeqFile) {
        seq_print!(seq, "{}\n", Version(netns));
        seq_print!(seq, "Prot LocalAddress:Port Scheduler Flags\n");
        seq_print!(
            seq,
            "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"
        );
    }

    fn next<'g>(
        netns: &'g PerNet<Netns>,
        guard: &'g rcu::Guard,
        cursor: &mut Self::Cursor,
    ) -> Option<&'g Self::Record> {
        let services = &netns.services;
        let (service, after) = services.next(guard, HashCursor::from_words(*cursor))?;
        *cursor = after.to_words();
        Some(service)
    }

    fn show(_netns: &PerNet<Netns>, guard: &rcu::Guard, service: &Self::Record, seq: &SeqFile) {
        let Some(pool) = service.pool(guard) else {
            return;
        };
        let mut line = Line::new();
        write_service(&mut line, service, pool.kind().map_or("none", Kind::name));
        proc::write(seq, line.bytes());
        for dest in pool.dests() {
            write_dest(line.clear(), dest);
            if !proc::write(seq, line.bytes()) {
                return;
            }
        }
    }
}

fn write_service(line: &mut Line, service: &Service, sched: &str) {
    let id = &service.id;
    let flags = service.flags();
    let ops = if flags & IP_VS_SVC_F_ONEPACKET != 0 {
        "ops "
    } else {
        ""
    };
    if id.fwmark != 0 {
        line.text("FWM  ").hex(id.fwmark, 8);
        line.text(" ").text(sched).text(" ").text(ops);
    } else {
        write_protocol(line, id.protocol);
        line.text("  ").addr(id.family, &id.addr, BRACKETS);
        line.port(":", id.port.host());
        line.text(" ").text(sched).text(" ");
        if let Family::Inet = id.family {
            line.text(ops).text(" ");
        }
    }
    if flags & IP_VS_SVC_F_PERSISTENT != 0 {
        line.text("persistent ")
            .decimal((service.timeout() as i32).into(), 0)
            .text(" ")
            .hex(u32::from_be(service.netmask()), 8);
    }
    line.text("\n");
}

/// Writes the name of a protocol (C: `ip_vs_proto_name()`).
fn write_protocol(line: &mut Line, protocol: u16) {
    match protocol {
        0 => line.text("IP"),
        1 => line.text("ICMP"),
        6 => line.text("TCP"),
        17 => line.text("UDP"),
        58 => line.text("ICMPv6"),
        132 => line.text("SCTP"),
        other => line.text("IP_").decimal(other.into(), 0),
    };
}

fn write_dest(line: &mut Line, dest: &Dest) {
    line.text("  -> ")
        .addr(dest.family, &dest.addr, BRACKETS)
        .port(":", dest.port.host())
        .text("      ")
        .text_padded(Forward::of(dest.conn_flags()).name(), 7)
        .text(" ")
        .decimal(dest.weight().into(), 6)
        .text(" ")
        .decimal(dest.active_conns().into(), 10)
        .text(" ")
        .decimal(dest.inactive_conns().into(), 10)
        .text("\n");
}

/// /proc/net/ip_vs_app
struct Apps;

impl Single for Apps {
    type Context = PerNet<Netns>;

    fn show(netns: &PerNet<Netns>, seq: &SeqFile) {
        seq_print!(seq, "prot port    usecnt name\n");
        let guard = rcu::read_lock();
        let ports = Helper::get(&guard).map_or(&[][..], Helper::ports);
        // As in C, the last port comes first.
        for (index, port) in ports.iter().enumerate().rev() {
            let number = netns.conns.counts.bound(index);
            seq_print!(seq, "TCP  {port:<7} {number:<6} {:<17}\n", "ftp");
        }
    }
}

/// A row of counters or rates in the `ip_vs_stats*` files, in hexadecimal.
struct Row(Counts);

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts {
            conns,
            inpkts,
            outpkts,
            inbytes,
            outbytes,
        } = self.0;
        write!(
            f,
            "{conns:8X} {inpkts:8X} {outpkts:8X} {inbytes:16X} {outbytes:16X}"
        )
    }
}

/// /proc/net/ip_vs_stats
struct Stats;

impl Single for Stats {
    type Context = PerNet<Netns>;

    fn show(netns: &PerNet<Netns>, seq: &SeqFile) {
        seq_print!(
            seq,
            "   Total Incoming Outgoing         Incoming         Outgoing\n"
        );
        seq_print!(
            seq,
            "   Conns  Packets  Packets            Bytes            Bytes\n"
        );
        let shown = netns.stats().read();
        seq_print!(seq, "{}\n\n", Row(shown.counts));
        seq_print!(
            seq,
            " Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n"
        );
        seq_print!(seq, "{}\n", Row(shown.rates));
    }
}

/// /proc/net/ip_vs_stats_percpu
struct StatsPerCpu;

impl Single for StatsPerCpu {
    type Context = PerNet<Netns>;

    fn show(netns: &PerNet<Netns>, seq: &SeqFile) {
        seq_print!(
            seq,
            "       Total Incoming Outgoing         Incoming         Outgoing\n"
        );
        seq_print!(
            seq,
            "CPU    Conns  Packets  Packets            Bytes            Bytes\n"
        );
        for cpu in (0..nr_cpu_ids()).filter(|cpu| percpu::is_possible(*cpu)) {
            seq_print!(seq, "{cpu:3X} {}\n", Row(netns.stats().on_cpu(cpu)));
        }
        let shown = netns.stats().read();
        seq_print!(seq, "  ~ {}\n\n", Row(shown.counts));
        seq_print!(
            seq,
            "     Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n"
        );
        seq_print!(seq, "    {}\n", Row(shown.rates));
    }
}
