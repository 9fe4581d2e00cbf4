// SPDX-License-Identifier: GPL-2.0

//! The fields that few conns need, allocated separately to keep `Conn` small.

use super::Params;
use crate::{
    addr::{
        Addr,
        Port, //
    },
    oot::sync::RcuBox, //
};
use kernel::prelude::*;

/// The extension of a conn, allocated with the conn if it has a local end.
pub(super) struct Ext {
    /// The local end, which replaces the client's in packets to the dest.
    pub(super) local: (Addr, Port),
}

impl Ext {
    /// Allocates the extension of a conn with these parameters, if it needs one.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if memory is short.
    pub(super) fn of(params: &Params<'_>) -> Result<Option<RcuBox<Self>>> {
        let Some((addr, port)) = params.local else {
            return Ok(None);
        };
        let local = (*addr, port);
        Ok(Some(RcuBox::new(Self { local }, GFP_ATOMIC)?))
    }
}
