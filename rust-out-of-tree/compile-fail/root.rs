// SPDX-License-Identifier: GPL-2.0

//! The crate root for an example of misuse. `qemu-test/check compile_fail` sets `$EXAMPLE` to its
//! path.

#[path = "../lib.rs"]
mod oot;

mod example {
    include!(env!("EXAMPLE"));
}

/// A module that does nothing.
struct Module;

impl kernel::Module for Module {
    fn init(_module: &'static kernel::ThisModule) -> kernel::error::Result<Self> {
        Ok(Self)
    }
}

kernel::prelude::module! {
    type: oot::module::RcuModule<Module>,
    name: "compile_fail",
    authors: ["The IPVS in Rust authors"],
    description: "Examples of misuse",
    license: "GPL",
}
