// SPDX-License-Identifier: GPL-2.0

//! IPVS in Rust: the IP Virtual Server, in place of the kernel's own.
//!
//! C version: [net/netfilter/ipvs/ip_vs_core.c], `ip_vs_init()`.

#![deny(unsafe_code)]

// Pure files state their whole subject, and more of it than is used so far.
#[allow(dead_code)]
mod addr;
mod conn;
mod ctl;
mod dest;
mod hook;
mod netns;
#[allow(unsafe_code)]
#[path = "../rust-out-of-tree/lib.rs"]
mod oot;
mod packet;
mod proto;
#[allow(dead_code)]
mod sched;
mod service;
mod shim;
mod stats;
mod sysctl;
mod uapi;
#[allow(dead_code)]
mod wire;
mod xmit;

use crate::{
    conn::table::ConnCache,
    netns::Netns,
    oot::{
        net::{
            genetlink,
            namespace, //
        },
        sync::rcu_arc, //
    },
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

module! {
    type: IpVs,
    name: "ip_vs",
    authors: ["The IPVS in Rust authors"],
    description: "IP Virtual Server",
    license: "GPL",
    alias: ["net-pf-16-proto-16-family-IPVS"],
}

/// What the module consists of while it is loaded. Fields are dropped in this order: requests
/// stop, then the namespaces' directors go, then memory is waited for.
struct IpVs {
    _requests: genetlink::Registration,
    _namespaces: namespace::Registration<Netns>,
    _memory: Memory,
    _conns: Arc<ConnCache>,
}

/// How deep objects that are freed after a grace period hold one another: a service its pool, that
/// its dests, a dest its route; a conn its template, that its dest.
const LEVELS: usize = 4;

/// The memory of what is freed after a grace period; gone when all of it is.
struct Memory;

impl Drop for Memory {
    fn drop(&mut self) {
        rcu_arc::barrier(LEVELS);
    }
}

impl kernel::Module for IpVs {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let conns = Arc::new(ConnCache::new(c"ip_vs_conn")?, GFP_KERNEL)?;
        let memory = Memory;
        let namespaces = namespace::Registration::new(conns.clone())?;
        let requests = ctl::genl::register()?;
        pr_info!("ipvs loaded.\n");
        Ok(Self {
            _requests: requests,
            _namespaces: namespaces,
            _memory: memory,
            _conns: conns,
        })
    }
}

impl Drop for IpVs {
    fn drop(&mut self) {
        pr_info!("ipvs unloaded.\n");
    }
}
