// SPDX-License-Identifier: GPL-2.0

//! Which way a packet goes through a conn.
//!
//! C version: `IP_VS_DIR_*` [include/net/ip_vs.h].

/// The way of a packet as the protocols' state tables see it (C: `IP_VS_DIR_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Direction {
    /// From the client to the dest.
    Input = 0,
    /// From the dest to the client.
    Output = 1,
    /// From the client to the dest, on a conn whose replies do not pass here.
    InputOnly = 2,
}

impl Direction {
    /// The direction that counts on a conn of which no reply has been seen, if `no_output`
    /// (C: `IP_VS_CONN_F_NOOUTPUT`, which the first packet from the dest clears).
    #[inline]
    pub(crate) const fn on_conn(self, no_output: bool) -> Self {
        match self {
            Self::Input if no_output => Self::InputOnly,
            direction => direction,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Direction::*;

    #[test]
    fn no_output_leaves_only_input() {
        let cases = [
            (Input, false, Input),
            (Input, true, InputOnly),
            (Output, false, Output),
            (Output, true, Output),
            (InputOnly, false, InputOnly),
            (InputOnly, true, InputOnly),
        ];
        for (direction, no_output, seen) in cases {
            assert_eq!(direction.on_conn(no_output), seen);
        }
    }
}
