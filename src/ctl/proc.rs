// SPDX-License-Identifier: GPL-2.0

//! Services and counters in /proc/net, byte for byte as C writes them.
//!
//! C version: `ip_vs_info_seq_show()`, `ip_vs_stats_show()`, `ip_vs_stats_percpu_show()`
//! [net/netfilter/ipvs/ip_vs_ctl.c].
//!
//! # Not supported
//!
//! Apps, of which there are none.

mod conns;
mod status;

use crate::{
    addr::Family,
    dest::Dest,
    oot::{
        fs::proc::{
            File,
            Single,
            Table, //
        },
        net::namespace::Net,
        sync::{
            percpu,
            Cursor,
            Linked, //
        },
    },
    sched::Kind,
    service::Service,
    stats::Counts,
    uapi::*, //
};
use kernel::{
    fmt,
    seq_file::SeqFile,
    seq_print,
    sync::rcu, //
};

use super::{
    netns_of,
    Version, //
};
use conns::{
    Conns,
    SyncConns, //
};
use status::Status;

/// The files of a namespace.
pub(crate) static FILES: [File; 7] = [
    File::table::<Info>(c"ip_vs", 0),
    File::table::<Conns>(c"ip_vs_conn", 0),
    File::table::<SyncConns>(c"ip_vs_conn_sync", 0),
    File::single::<Apps>(c"ip_vs_app", 0),
    File::single::<Stats>(c"ip_vs_stats", 0),
    File::single::<StatsPerCpu>(c"ip_vs_stats_percpu", 0),
    File::single::<Status>(c"ip_vs_status", 0o440),
];

/// /proc/net/ip_vs
struct Info;

impl Table for Info {
    type Record = Linked<Service>;
    type Cursor = [usize; 2];

    fn header(net: &Net, seq: &SeqFile) {
        if let Ok(netns) = netns_of(net) {
            seq_print!(seq, "{}\n", Version(netns));
        }
        seq_print!(seq, "Prot LocalAddress:Port Scheduler Flags\n");
        seq_print!(
            seq,
            "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"
        );
    }

    fn next<'g>(
        net: &'g Net,
        guard: &'g rcu::Guard,
        cursor: &mut Self::Cursor,
    ) -> Option<&'g Self::Record> {
        let services = &netns_of(net).ok()?.services;
        let (service, after) = services.next(guard, Cursor::from_words(*cursor))?;
        *cursor = after.to_words();
        Some(service)
    }

    fn show(_net: &Net, guard: &rcu::Guard, service: &Self::Record, seq: &SeqFile) {
        let Some(pool) = service.pool(guard) else {
            return;
        };
        show_service(service, pool.kind().map_or("none", Kind::name), seq);
        for dest in pool.dests() {
            show_dest(dest, seq);
        }
    }
}

fn show_service(service: &Service, sched: &str, seq: &SeqFile) {
    let id = &service.id;
    let flags = service.flags();
    let ops = if flags & IP_VS_SVC_F_ONEPACKET != 0 {
        "ops "
    } else {
        ""
    };
    let (proto, port) = (ProtoName(id.protocol), id.port.host());
    let addr = id.addr.proc_hex(id.family);
    match id.family {
        _ if id.fwmark != 0 => seq_print!(seq, "FWM  {:08X} {sched} {ops}", id.fwmark),
        Family::Inet => seq_print!(seq, "{proto}  {addr}:{port:04X} {sched} {ops} "),
        Family::Inet6 => seq_print!(seq, "{proto}  [{addr}]:{port:04X} {sched} "),
    }
    if flags & IP_VS_SVC_F_PERSISTENT != 0 {
        let netmask = u32::from_be(service.netmask());
        seq_print!(
            seq,
            "persistent {} {netmask:08X}\n",
            service.timeout() as i32
        );
    } else {
        seq_print!(seq, "\n");
    }
}

fn show_dest(dest: &Dest, seq: &SeqFile) {
    let (addr, port) = (dest.addr.proc_hex(dest.family), dest.port.host());
    match dest.family {
        Family::Inet => seq_print!(seq, "  -> {addr}:{port:04X}      "),
        Family::Inet6 => seq_print!(seq, "  -> [{addr}]:{port:04X}      "),
    }
    let forward = match dest.conn_flags() & IP_VS_CONN_F_FWD_MASK {
        IP_VS_CONN_F_LOCALNODE => "Local",
        IP_VS_CONN_F_TUNNEL => "Tunnel",
        IP_VS_CONN_F_DROUTE => "Route",
        _ => "Masq",
    };
    let (weight, active, inactive) = (dest.weight(), dest.active_conns(), dest.inactive_conns());
    seq_print!(
        seq,
        "{forward:<7} {weight:<6} {active:<10} {inactive:<10}\n"
    );
}

/// /proc/net/ip_vs_app
struct Apps;

impl Single for Apps {
    fn show(_net: &Net, seq: &SeqFile) {
        seq_print!(seq, "prot port    usecnt name\n");
    }
}

/// The name of a protocol (C: `ip_vs_proto_name()`).
struct ProtoName(u16);

impl fmt::Display for ProtoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("IP"),
            1 => f.write_str("ICMP"),
            6 => f.write_str("TCP"),
            17 => f.write_str("UDP"),
            58 => f.write_str("ICMPv6"),
            132 => f.write_str("SCTP"),
            other => write!(f, "IP_{other}"),
        }
    }
}

/// Counters, as a row of these files has them.
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
    fn show(net: &Net, seq: &SeqFile) {
        let Ok(netns) = netns_of(net) else {
            return;
        };
        seq_print!(
            seq,
            "   Total Incoming Outgoing         Incoming         Outgoing\n"
        );
        seq_print!(
            seq,
            "   Conns  Packets  Packets            Bytes            Bytes\n"
        );
        let shown = netns.stats().shown();
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
    fn show(net: &Net, seq: &SeqFile) {
        let Ok(netns) = netns_of(net) else {
            return;
        };
        seq_print!(
            seq,
            "       Total Incoming Outgoing         Incoming         Outgoing\n"
        );
        seq_print!(
            seq,
            "CPU    Conns  Packets  Packets            Bytes            Bytes\n"
        );
        for cpu in (0..percpu::nr_cpu_ids()).filter(|cpu| percpu::is_possible(*cpu)) {
            seq_print!(seq, "{cpu:3X} {}\n", Row(netns.stats().on_cpu(cpu)));
        }
        let shown = netns.stats().shown();
        seq_print!(seq, "  ~ {}\n\n", Row(shown.counts));
        seq_print!(
            seq,
            "     Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n"
        );
        seq_print!(seq, "    {}\n", Row(shown.rates));
    }
}
