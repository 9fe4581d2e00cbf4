// SPDX-License-Identifier: GPL-2.0

//! What net.ipv4.vs.* sets, per namespace.
//!
//! C version: `vs_vars` [net/netfilter/ipvs/ip_vs_ctl.c].
//!
//! # Not supported
//!
//! The files of what is not there yet.

use crate::{
    oot::{
        fs::sysctl::{
            IntFile,
            Ints,
            SharedJiffies, //
        },
        net::namespace::Net, //
    },
    sched::cache::DEFAULT_EXPIRATION, //
};
use kernel::prelude::*;

/// A file as C has it.
const fn file(name: &'static CStr, default: i32) -> IntFile {
    IntFile { name, default }
}

const FILES: usize = 6;

static TABLE: [IntFile; FILES] = [
    file(c"snat_reroute", 1),
    file(c"expire_nodest_conn", 0),
    file(c"sloppy_tcp", 0),
    file(c"expire_quiescent_template", 0),
    file(c"pmtu_disc", 1),
    file(c"conn_reuse_mode", 1),
];

const PATH: &CStr = c"net/ipv4/vs";

/// The settings that the data path asks for.
#[pin_data]
pub(crate) struct Sysctl {
    #[pin]
    ints: Ints<FILES>,
    /// How long lblc remembers an address that nobody uses.
    pub(crate) lblc_expiration: SharedJiffies,
    /// The same of lblcr; and how soon a dest of an address goes.
    pub(crate) lblcr_expiration: SharedJiffies,
}

impl Sysctl {
    /// C's defaults.
    pub(crate) fn new(net: &Net) -> impl PinInit<Self, Error> + use<'_> {
        pin_init::pin_init!(Self {
            ints <- Ints::new(net, PATH, &TABLE),
            lblc_expiration: expiration(net, c"lblc_expiration")?,
            lblcr_expiration: expiration(net, c"lblcr_expiration")?,
        }? Error)
    }

    /// Replies are routed anew after translation.
    #[inline(always)]
    pub(crate) fn snat_reroute(&self) -> bool {
        self.ints.get::<0>() != 0
    }

    /// Conns of a dest that was removed end at once.
    #[inline(always)]
    pub(crate) fn expire_nodest_conn(&self) -> bool {
        self.ints.get::<1>() != 0
    }

    /// Any TCP segment may start a conn.
    #[inline(always)]
    pub(crate) fn sloppy_tcp(&self) -> bool {
        self.ints.get::<2>() != 0
    }

    /// Templates do not lead to a dest of weight 0.
    #[inline]
    pub(crate) fn expire_quiescent_template(&self) -> bool {
        self.ints.get::<3>() != 0
    }

    /// Tunnels obey the path MTU.
    #[inline(always)]
    pub(crate) fn pmtu_disc(&self) -> bool {
        self.ints.get::<4>() != 0
    }

    /// When a SYN on a conn starts a new one: not 0 if that is closed, bit 1 if it is closing, too.
    #[inline(always)]
    pub(crate) fn conn_reuse_mode(&self) -> i32 {
        self.ints.get::<5>()
    }
}

fn expiration(net: &Net, name: &'static CStr) -> Result<SharedJiffies> {
    SharedJiffies::new(net, PATH, &file(name, DEFAULT_EXPIRATION))
}
