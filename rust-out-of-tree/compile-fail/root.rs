// SPDX-License-Identifier: GPL-2.0

//! The crate around an example of misuse, which `qemu-test/check compile_fail` names in
//! `$EXAMPLE`.

#[path = "../lib.rs"]
mod oot;

mod example {
    include!(env!("EXAMPLE"));
}

/// Loads, and does nothing.
struct Module;

impl kernel::Module for Module {
    fn init(_module: &'static kernel::ThisModule) -> kernel::error::Result<Self> {
        Ok(Self)
    }
}

kernel::prelude::module! {
    type: Module,
    name: "compile_fail",
    authors: ["The IPVS in Rust authors"],
    description: "Examples of misuse",
    license: "GPL",
}
