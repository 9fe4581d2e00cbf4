// SPDX-License-Identifier: GPL-2.0

//! IPVS in Rust.

#![deny(unsafe_code)]

use kernel::prelude::*;

#[allow(unsafe_code)]
#[path = "../rust-out-of-tree/lib.rs"]
mod oot;

module! {
    type: IpVs,
    name: "ip_vs",
    authors: ["The IPVS in Rust authors"],
    description: "IP Virtual Server",
    license: "GPL",
}

struct IpVs;

impl kernel::Module for IpVs {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        pr_info!("hello\n");
        Ok(Self)
    }
}
