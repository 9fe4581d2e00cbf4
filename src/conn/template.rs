// SPDX-License-Identifier: GPL-2.0

//! Templates: each maps the clients of a persistent service to a dest.
//!
//! A template is a conn from a client network, without a port, to a service. It controls the conns
//! that were created from it. It expires when the service's persistence timeout has passed since
//! the last of these was created and none of them is left. Templates are in a table of their own,
//! which is searched only for new conns of persistent services, not for each packet.
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
use kernel::sync::rcu;

/// The dest's port in an invalid template, as in C. A template to a dest that has this port is
/// never found.
pub(super) const NO_PORT: Port = Port::new(0xffff);

/// The flags of a template.
pub(crate) const BY_ADDRESS: u32 = IP_VS_CONN_F_TEMPLATE;

/// The flags of a template of a fwmark service.
pub(crate) const BY_MARK: u32 = IP_VS_CONN_F_TEMPLATE | BY_FWMARK;

/// Bit 0 of the state of a template: a client and the dest have communicated
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

    /// Whether this is the template for `params` and may be used. As in C, a persistence engine
    /// also finds an invalid one: its dest may be in use again.
    pub(super) fn is_template_for(&self, guard: &rcu::Guard, params: &Params<'_>) -> bool {
        self.caddr == *params.caddr
            && self.vaddr == *params.vaddr
            && self.cport == params.cport
            && self.vport == params.vport
            && self.proto == params.proto
            && self.family == params.family
            && (self.flags() ^ params.flags) & BY_MARK == 0
            && self.pe(guard) == params.pe
            && match params.pe {
                Some(_) => !self.life.is_dead(),
                None => self.dport != NO_PORT && self.life.is_usable(),
            }
    }

    /// Makes the template invalid: it is not used for new conns, but still controls existing ones.
    pub(crate) fn invalidate(&self) {
        self.life.invalidate();
    }

    /// Whether this is a template that is marked as assured.
    pub(super) fn is_assured(&self) -> bool {
        self.is_template() && self.life.state() & ASSURED != 0
    }

    /// If this conn is a template, marks it as assured.
    pub(crate) fn assured(&self) {
        if self.is_template() {
            self.life.set_state_bits(ASSURED);
        }
    }

    /// Restarts the timeout of a template when it is used.
    pub(crate) fn renew(this: ConnRef<'_>) {
        this.life.renew(now());
        // Started at once, as in C, so that the timers of its conns, started later, fire first.
        Timer::start(this, this.timeout() as usize);
    }
}
