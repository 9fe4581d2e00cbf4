// SPDX-License-Identifier: GPL-2.0

//! The fields that few conns need, allocated separately to keep `Conn` small.

use super::Params;
use crate::{
    addr::{
        Addr,
        Port, //
    },
    oot::sync::RcuBox,
    pe::Engine, //
};
use kernel::prelude::*;

/// The extension of a conn, allocated with the conn if any of its fields is needed.
pub(super) struct Ext {
    /// The local end, which replaces the client's in packets to the dest.
    pub(super) local: Option<(Addr, Port)>,
    /// The persistence engine of a template, and the data by which packets find it.
    pub(super) pe: Option<(Engine, KVec<u8>)>,
}

impl Ext {
    /// Allocates the extension of a conn with these parameters, if it needs one.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if memory is short.
    pub(super) fn of(params: &Params<'_>) -> Result<Option<RcuBox<Self>>> {
        if params.local.is_none() && params.pe.is_none() {
            return Ok(None);
        }
        Self::allocate(params).map(Some)
    }

    #[cold]
    fn allocate(params: &Params<'_>) -> Result<RcuBox<Self>> {
        let pe = match params.pe {
            Some((engine, data)) => {
                let mut copy = KVec::with_capacity(data.len(), GFP_ATOMIC)?;
                copy.extend_from_slice(data, GFP_ATOMIC)?;
                Some((engine, copy))
            }
            None => None,
        };
        let local = params.local.map(|(addr, port)| (*addr, port));
        RcuBox::new(Self { local, pe }, GFP_ATOMIC)
    }
}
