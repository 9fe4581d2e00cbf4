// SPDX-License-Identifier: GPL-2.0

//! Templates: which dest the clients of a persistent service stay with.
//!
//! A template is a conn from a network of clients, without a port, to a service. It controls the
//! conns that were made after it and lives, by its service's timeout, from the last of those that
//! was made; longer if one still lives. Templates are a table of their own, where no packet is
//! looked for: only new conns of persistent services are.
//!
//! C version: `ip_vs_ct_in_get()`, `ip_vs_check_template()`
//! [net/netfilter/ipvs/ip_vs_conn.c].

use super::{
    now,
    Conn,
    ConnRef,
    Params,
    BY_FWMARK, //
};
use crate::{
    addr::Port,
    oot::sync::Timer,
    uapi::*, //
};

/// The port of the dest of a template that is not to be used any more, as in C. A dest that has
/// this port is never found by a template.
pub(super) const NO_PORT: Port = Port::new(0xffff);

/// The flags of a template.
pub(crate) const BY_ADDRESS: u32 = IP_VS_CONN_F_TEMPLATE;

/// The flags of a template of a service by fwmark.
pub(crate) const BY_MARK: u32 = IP_VS_CONN_F_TEMPLATE | BY_FWMARK;

/// Bit 0 of the state's number: a client and the dest have communicated
/// (C: `IP_VS_CTPL_S_ASSURED`).
const ASSURED: u8 = 1;

/// The name of a template's state.
pub(super) fn state_name(state: u8) -> &'static str {
    match state {
        0 => "NONE",
        1 => "ASSURED",
        _ => "ERR!",
    }
}

impl Conn {
    pub(crate) fn is_template(&self) -> bool {
        self.flags() & IP_VS_CONN_F_TEMPLATE != 0
    }

    /// Whether it is the template that `params` ask for, and good.
    pub(super) fn is_template_for(&self, params: &Params<'_>) -> bool {
        self.caddr == *params.caddr
            && self.vaddr == *params.vaddr
            && self.vport == params.vport
            && self.proto == params.proto
            && self.family == params.family
            && self.flags() & BY_MARK == params.flags
            && self.dport != NO_PORT
            && self.life.is_usable()
    }

    /// Marks the template as not to be used for new conns. It goes on to control those it has.
    pub(crate) fn invalidate(&self) {
        self.life.invalidate();
    }

    /// A conn that it controls is established.
    pub(super) fn assured(&self) {
        if self.is_template() {
            self.life.set_state_bits(ASSURED);
        }
    }

    /// The template was used: its time starts anew.
    pub(crate) fn renew(this: ConnRef<'_>) {
        this.life.renew(now());
        // At once, as C does it: so the timers of its conns, started later, fire before its own.
        Timer::start(this, this.timeout() as usize);
    }
}
