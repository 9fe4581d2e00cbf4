// SPDX-License-Identifier: GPL-2.0

//! The application of a conn: FTP, if the module `ip_vs_ftp` is loaded.
//!
//! A conn is bound to the application when it is created, by the service's port, and holds a
//! reference to `ip_vs_ftp` until it is dead.
//!
//! C version: `tcp_app_conn_bind()` [net/netfilter/ipvs/ip_vs_proto_tcp.c], `ip_vs_unbind_app()`
//! [net/netfilter/ipvs/ip_vs_app.c].
//!
//! # Not supported
//!
//! Adjustments of sequence numbers by the application. In C an application can report a change of
//! the length of a packet. No application does so: `ip_vs_ftp` relies on connection tracking.

use super::{
    Conn,
    Params,
    BY_FWMARK,
    HAS_APP, //
};
use crate::{
    addr::Family,
    forward,
    oot::net::nat_helper::{
        Held,
        Helper,
        MAX_PORTS, //
    },
    proto::Proto,
    shim::{
        Word,
        Word32, //
    },
    uapi::IP_VS_CONN_F_MASQ,
    wire::ftp::Mode, //
};
use kernel::sync::{
    atomic::{
        Atomic,
        Relaxed, //
    },
    rcu,
    Arc, //
};

/// Numbers of conns of a network namespace.
pub(crate) struct Counts {
    /// The conns without client port, of IPv4 and IPv6 (C: `no_cport_conns`).
    portless: [Atomic<i32>; 2],
    /// The conns bound to the application, by the index of the port (C: `usecnt`).
    bound: [Atomic<i32>; MAX_PORTS],
}

impl Counts {
    pub(super) fn new() -> Self {
        Self {
            portless: core::array::from_fn(|_| Atomic::new(0)),
            bound: core::array::from_fn(|_| Atomic::new(0)),
        }
    }

    /// The number of conns without client port.
    pub(super) fn portless(&self, family: Family) -> &Atomic<i32> {
        let [inet, inet6] = &self.portless;
        match family {
            Family::Inet => inet,
            Family::Inet6 => inet6,
        }
    }

    /// The number of conns that are bound to the application by a port of this index.
    pub(crate) fn bound(&self, index: usize) -> i32 {
        self.bound.get(index).map_or(0, |count| count.load(Relaxed))
    }

    fn add_bound(&self, index: usize, change: i32) {
        if let Some(count) = self.bound.get(index) {
            count.fetch_add(change, Relaxed);
        }
    }
}

/// The binding of a conn to the application.
pub(crate) struct App {
    module: Held,
    /// The index of the service's port among those of the application.
    index: usize,
    counts: Arc<Counts>,
    /// The [`Mode`] of the client's last request (C: `app_data`).
    mode: Word32,
    /// The mode of the last reply to such a request and, above it, the sequence number.
    replied: Word,
}

const PASV: u32 = 1;
const EPSV: u32 = 2;

/// The number of a mode in a word.
fn number(mode: Mode) -> u32 {
    match mode {
        Mode::Active => 0,
        Mode::Pasv => PASV,
        Mode::Epsv => EPSV,
    }
}

fn mode_of(number: u32) -> Mode {
    match number {
        PASV => Mode::Pasv,
        EPSV => Mode::Epsv,
        _ => Mode::Active,
    }
}

impl App {
    /// Binds a new conn with these parameters and flags. `None` if it has no application.
    #[inline(always)]
    pub(super) fn bind(
        params: &Params<'_>,
        flags: u32,
        counts: &Arc<Counts>,
        guard: &rcu::Guard,
    ) -> Option<Self> {
        match Helper::exists() {
            true => Self::bind_by_port(params, flags, counts, guard),
            false => None,
        }
    }

    #[cold]
    fn bind_by_port(
        params: &Params<'_>,
        flags: u32,
        counts: &Arc<Counts>,
        guard: &rcu::Guard,
    ) -> Option<Self> {
        let is_translated = forward::number(flags) == IP_VS_CONN_F_MASQ;
        if params.proto != Proto::Tcp || !is_translated || flags & BY_FWMARK != 0 {
            return None;
        }
        let helper = Helper::get(guard)?;
        let port = params.vport.host();
        let index = helper.ports().iter().position(|known| *known == port)?;
        let module = helper.hold()?;
        counts.add_bound(index, 1);
        Some(Self {
            module,
            index,
            counts: counts.clone(),
            mode: Word32::new(0),
            replied: Word::new(0),
        })
    }

    /// Ends the binding, if that was not done yet.
    pub(super) fn release(&self) {
        if self.module.release() {
            self.counts.add_bound(self.index, -1);
        }
    }

    /// The mode of the next data connection, from the client's last request.
    pub(crate) fn mode(&self) -> Mode {
        mode_of(self.mode.get())
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        self.mode.set(number(mode));
    }

    /// The mode of the last reply that was changed, if this is its sequence number.
    pub(crate) fn replied(&self, seq: u32) -> Option<Mode> {
        let word = self.replied.get();
        let is_last = word != 0 && (word >> 32) as u32 == seq;
        is_last.then(|| mode_of(word as u32))
    }

    /// Stores the mode and sequence number of a reply that was changed.
    pub(crate) fn set_replied(&self, seq: u32, mode: Mode) {
        self.replied
            .set(u64::from(seq) << 32 | u64::from(number(mode)));
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.release();
    }
}

impl Conn {
    /// Ends the binding of a dead conn to an application, if there is one.
    #[cold]
    pub(super) fn unbind_app(&self, guard: &rcu::Guard) {
        if let Some(app) = self.app(guard) {
            app.release();
        }
    }

    /// Whether the conn is bound to the application.
    pub(crate) fn has_app(&self) -> bool {
        self.flags() & HAS_APP != 0
    }

    /// The binding to the application.
    pub(crate) fn app<'g>(&'g self, guard: &'g rcu::Guard) -> Option<&'g App> {
        self.ext.get(guard)?.app.as_ref()
    }
}
