// SPDX-License-Identifier: GPL-2.0

//! What few conns have, in memory of its own, so that the others stay small.

use super::Params;
use crate::{
    addr::{
        Addr,
        Port, //
    },
    oot::sync::RcuBox, //
};
use kernel::prelude::*;

/// The extension of a conn, made with the conn if that has a local end.
pub(super) struct Ext {
    /// The address and port that the dest sees in place of the client's.
    pub(super) local: (Addr, Port),
}

impl Ext {
    /// The extension of a conn with these parameters, if it needs one.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn of(params: &Params<'_>) -> Result<Option<RcuBox<Self>>> {
        let Some((addr, port)) = params.local else {
            return Ok(None);
        };
        let local = (*addr, port);
        Ok(Some(RcuBox::new(Self { local }, GFP_ATOMIC)?))
    }
}
