// SPDX-License-Identifier: GPL-2.0

//! Root of the host tests: the pure files, under the paths they have in the module.
//!
//! `qemu-test/check` compiles it with `rustc --test` and runs it.

#![deny(unsafe_code)]
// Not every item which the module uses is under test.
#![allow(dead_code)]

mod addr;
mod conn {
    pub(crate) mod expiry;
    pub(crate) mod life;
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
}
mod uapi;
mod wire;
