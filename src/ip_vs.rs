// SPDX-License-Identifier: GPL-2.0

//! IPVS in Rust: replaces the kernel's C implementation of IP Virtual Server.
//!
//! C version: [net/netfilter/ipvs/ip_vs_core.c], `ip_vs_init()`.

#![deny(unsafe_code)]

mod addr;
mod conn;
mod ctl;
mod dest;
mod estimator;
mod forward;
mod hash;
mod hook;
mod index;
mod laddr;
mod netns;
#[allow(unsafe_code)]
#[path = "../rust-out-of-tree/lib.rs"]
mod oot;
mod packet;
mod pe;
mod pernet;
mod ports;
mod proto;
mod sched;
mod search;
mod service;
mod shim;
mod spec;
mod stats;
mod sync;
mod sysctl;
mod uapi;
// The formats have names and fields that only tests read.
#[allow(dead_code)]
mod wire;
mod xmit;
mod xt_ipvs;

use crate::{
    netns::Netns,
    oot::{
        module::RcuModule,
        net::{
            genetlink,
            notifier,
            pernet as namespaces,
            sockopt, //
        },
        sync::percpu, //
    },
    sched::mh, //
};
use kernel::prelude::*;

module! {
    type: RcuModule<IpVs>,
    // The prefix of log messages, as in C. kbuild names the module.
    name: "IPVS",
    authors: ["The IPVS in Rust authors"],
    description: "IP Virtual Server",
    license: "GPL",
    alias: ["net-pf-16-proto-16-family-IPVS"],
    params: {
        mh_tab_size: u32 {
            default: 4093,
            description: "Number of buckets of the mh scheduler: 251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521 or 131071",
        },
        mh_exact: bool {
            default: false,
            description: "Assign mh buckets in exact proportion to the weights, which C rounds",
        },
    },
}

/// Returns the module parameters of mh; `None` if `mh_tab_size` is not a supported size.
fn mh_settings() -> Option<mh::Settings> {
    let size = module_parameters::mh_tab_size.value();
    mh::Settings::new(size, module_parameters::mh_exact.value())
}

/// The registrations of the module. The fields are dropped in this order: the control interfaces
/// and the netdev notifier are unregistered, then the state of each network namespace is destroyed.
/// After that, [`RcuModule`] waits for the RCU callbacks.
struct IpVs {
    _options: sockopt::Registration,
    _requests: genetlink::Registration,
    _devices: notifier::Registration<Netns>,
    _namespaces: namespaces::Registration<Netns>,
    _cpus: percpu::OnlineCpus,
}

impl kernel::Module for IpVs {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        if mh_settings().is_none() {
            pr_err!("mh_tab_size is not a supported size\n");
            return Err(EINVAL);
        }
        let cpus = percpu::OnlineCpus::new(c"net/ip_vs:online")?;
        let namespaces = namespaces::Registration::new()?;
        let devices = notifier::Registration::new(notifier::PRIORITY_BEFORE_ADDRESSES)?;
        let requests = ctl::genl::register()?;
        let options = ctl::sockopt::register()?;
        pr_info!("ipvs loaded.\n");
        Ok(Self {
            _options: options,
            _requests: requests,
            _devices: devices,
            _namespaces: namespaces,
            _cpus: cpus,
        })
    }
}

impl Drop for IpVs {
    fn drop(&mut self) {
        pr_info!("ipvs unloaded.\n");
    }
}
