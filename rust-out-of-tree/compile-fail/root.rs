// SPDX-License-Identifier: GPL-2.0

//! The crate root for an example of misuse. `qemu-test/check compile_fail` sets `$EXAMPLE` to its
//! path and passes its name with `--cfg`.

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

// The misuse of the example `module-without-wait`.
#[cfg(module_without_wait)]
type Loaded = Module;
#[cfg(not(module_without_wait))]
type Loaded = oot::module::RcuModule<Module>;

kernel::prelude::module! {
    type: Loaded,
    name: "compile_fail",
    authors: ["The IPVS in Rust authors"],
    description: "Examples of misuse",
    license: "GPL",
}
