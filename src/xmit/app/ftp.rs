// SPDX-License-Identifier: GPL-2.0

//! FTP: announces the data connections that are named in control connections.
//!
//! - Active: the client names its end. The dest will connect to it from the port before its own.
//! - Passive: the server names its end, which is replaced by the service's address with the same
//!   port. The client will connect to that from a port that is not known yet.
//!
//! A data connection gets a conn to the dest of the control connection, which controls it.
//!
//! C version: `ip_vs_ftp_in()`, `ip_vs_ftp_out()` [net/netfilter/ipvs/ip_vs_ftp.c],
//! `ip_vs_nfct_expect_related()` [net/netfilter/ipvs/ip_vs_nfct.c].
//!
//! # Differences from C
//!
//! A reply that the server sends again, since it was lost, is changed as the first time. C lets it
//! pass unchanged: the client gets the server's address and, if the lengths differ, wrong bytes
//! after it.
//!
//! C gives an expectation a function that translates the entry of the data connection. Here the
//! entry is translated with its first packet, as any other, before it is confirmed.

use super::{
    super::output::Context,
    Segment, //
};
use crate::{
    addr::Port,
    conn::{
        app::App,
        table::Birth,
        tuple_end,
        Conn,
        ConnRef,
        End,
        Params, //
    },
    oot::net::{
        nat_helper::Helper,
        skbuff::Skb, //
    },
    packet::Packet,
    uapi::{
        IP_VS_CONN_F_NFCT,
        IP_VS_CONN_F_NO_CPORT, //
    },
    wire::ftp::{
        Mode,
        Named,
        Replacement,
        Request, //
    },
};

/// Reads a packet from the client.
pub(super) fn request(
    context: Context<'_>,
    app: &App,
    skb: &mut Skb,
    segment: Segment,
) -> Option<()> {
    let Context { conn, netns, .. } = context;
    let named = match Request::read(segment.data(skb)?, conn.family) {
        None => return Some(()),
        Some(Request::Passive(mode)) => {
            app.set_mode(mode);
            return Some(());
        }
        Some(Request::Active(named)) => named,
    };
    app.set_mode(Mode::Active);
    let client = (&named.addr?, named.port);
    let service = (&conn.vaddr, before(conn.vport));
    let dest = (&conn.daddr, before(conn.dport));
    let known = match find(context, client, service) {
        Some(known) => known,
        None => add(context, skb, [client, service, dest], IP_VS_CONN_F_NFCT)?,
    };
    Conn::listen(known, &netns.protocols);
    Some(())
}

/// Reads a packet from the dest, and replaces the end that it names.
pub(super) fn reply(
    context: Context<'_>,
    app: &App,
    skb: &mut Skb,
    segment: Segment,
) -> Option<()> {
    let Context {
        conn, netns, rcu, ..
    } = context;
    let repeated = app.replied(segment.seq);
    let mode = repeated.unwrap_or(app.mode());
    let Some(named) = mode.read_reply(segment.data(skb)?, conn.family) else {
        return Some(());
    };
    let dest = (&named.addr.unwrap_or(conn.daddr), named.port);
    let known = match netns.conns.find_portless_of(rcu, conn, dest) {
        // The client may have opened the connection already.
        None if repeated.is_none() => Some(add_passive(context, skb, dest)?),
        known => known,
    };
    let (addr, port) = known.map_or((&conn.vaddr, named.port), |known| known.get().service());
    let text = Replacement::new(mode, addr, port);
    // As in C, a reply that was not changed is dropped. The server sends it again.
    let is_mangled = mangle(context, skb, &named, text.bytes());
    if let Some(known) = known {
        if is_mangled {
            let (client, service) = (tuple_end(known.client()).0, tuple_end(known.service()));
            skb.expect_related(context.packet.protocol, client, service);
        }
        Conn::listen(known, &netns.protocols);
    }
    if repeated.is_none() {
        app.set_mode(Mode::Active);
        app.set_replied(segment.seq, mode);
    }
    is_mangled.then_some(())
}

/// Replaces the end that a packet names by `text`. The conntrack entry adjusts the sequence
/// numbers; unlike in C, also one that this packet starts, since an earlier entry was deleted.
fn mangle(context: Context<'_>, skb: &mut Skb, named: &Named, text: &[u8]) -> bool {
    if let Some(mut entry) = skb.new_conntrack() {
        if !entry.allow_seq_adjustment() {
            return false;
        }
    }
    let (at, len) = (named.start, named.end.wrapping_sub(named.start));
    let transport = context.packet.transport;
    Helper::get(context.rcu)
        .is_some_and(|helper| helper.mangle_tcp(skb, transport, at as u32, len as u32, text))
}

/// Adds the conn of a connection that the client will open, and that goes to `dest`.
fn add_passive<'a>(context: Context<'a>, skb: &Skb, dest: End<'_>) -> Option<ConnRef<'a>> {
    let conn = context.conn;
    let client = (&conn.caddr, Port::ZERO);
    let service = (&conn.vaddr, dest.1);
    let flags = IP_VS_CONN_F_NFCT | IP_VS_CONN_F_NO_CPORT;
    add(context, skb, [client, service, dest], flags)
}

/// The port before `port`: that of data, if it is that of control.
fn before(port: Port) -> Port {
    Port::new(port.host().wrapping_sub(1))
}

/// The conn of the connection between a client and the service, which may have no client port.
fn find<'a>(context: Context<'a>, client: End<'_>, service: End<'_>) -> Option<ConnRef<'a>> {
    let Context {
        conn, netns, rcu, ..
    } = context;
    let packet = Packet {
        protocol: conn.proto as u8,
        saddr: *client.0,
        sport: client.1,
        daddr: *service.0,
        dport: service.1,
        ..Packet::new(conn.family)
    };
    let conns = &netns.conns;
    match conns.find_in(rcu, &packet) {
        None if conns.has_portless(conn.family) => conns.find_portless(rcu, &packet),
        found => found,
    }
}

/// Adds a conn to the dest of the control connection, with these ends of client, service and dest.
fn add<'a>(
    context: Context<'a>,
    skb: &Skb,
    [client, service, dest]: [End<'_>; 3],
    flags: u32,
) -> Option<ConnRef<'a>> {
    let Context {
        conn, netns, rcu, ..
    } = context;
    let params = Params {
        family: conn.family,
        proto: conn.proto,
        caddr: client.0,
        cport: client.1,
        vaddr: service.0,
        vport: service.1,
        daddr: dest.0,
        dport: dest.1,
        local: None,
        pe: None,
        fwmark: skb.mark(),
        flags,
        hash: None,
    };
    let (dest, control) = (conn.dest_ref(rcu), control(context));
    let birth = Birth::Listen(&netns.protocols);
    netns
        .conns
        .add_controlled(rcu, &params, dest, control, birth)
}

/// The control connection, as it is in the table.
fn control<'a>(context: Context<'a>) -> Option<ConnRef<'a>> {
    let Context {
        conn,
        netns,
        rcu,
        packet,
        ..
    } = context;
    let (_, found) = netns.conns.find(rcu, packet)?;
    core::ptr::eq(found.get(), conn).then_some(found)
}
