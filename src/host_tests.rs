// SPDX-License-Identifier: GPL-2.0

//! The root of the host tests: the pure files, at the same paths as in the module.
//!
//! `qemu-test/check` compiles this file with `rustc --test` and runs the tests.

#![deny(unsafe_code)]
// The tests do not use every item that the module uses.
#![allow(dead_code)]

mod addr;
mod conn {
    pub(crate) mod expiry;
    pub(crate) mod handshake;
    pub(crate) mod life;
    pub(crate) mod todrop;
}
mod ctl {
    pub(crate) mod proc {
        mod line;
    }
    pub(crate) mod sockopt {
        pub(crate) mod layout;
    }
}
mod forward;
mod hash;
mod index;
mod laddr;
mod pe;
mod ports;
mod proto;
mod sched;
mod search;
mod shim;
mod spec;
mod stats {
    mod counts;
}
mod sync {
    pub(crate) mod config;
    pub(crate) mod due;
    pub(crate) mod message;
    mod resync {
        pub(crate) mod answer;
        pub(crate) mod ask;
    }
}
mod sysctl {
    pub(crate) mod defense;
}
mod uapi;
mod wire;
