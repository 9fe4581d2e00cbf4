// SPDX-License-Identifier: GPL-2.0

//! Lines of FTP control connections that name the ends of data connections (RFC 959, RFC 2428).
//!
//! The parsers accept the same lines as C. A line that is split over two packets is not recognised.
//!
//! C version: `ip_vs_ftp_get_addrport()` [net/netfilter/ipvs/ip_vs_ftp.c].

use super::text::Text;
use crate::addr::{
    Addr,
    Family,
    Port, //
};

/// How a data connection is opened (C: `IP_VS_FTP_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// By the server.
    Active,
    /// By the client, to the end that a reply to `PASV` names.
    Pasv,
    /// By the client, to the port that a reply to `EPSV` names.
    Epsv,
}

/// An end of a data connection in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    /// The address; `None` if the line has only a port.
    pub(crate) addr: Option<Addr>,
    pub(crate) port: Port,
    /// The offset in bytes of the text that names the end, in the packet's payload.
    pub(crate) start: usize,
    /// The offset of the first byte after it.
    pub(crate) end: usize,
}

/// A client's request for a data connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// A passive data connection, which the reply will describe.
    Passive(Mode),
    /// An active data connection to this end.
    Active(Named),
}

impl Request {
    /// Reads the request in a client's packet. `PASV` and `EPSV` are found anywhere in the packet,
    /// `PORT` and `EPRT` at its start (C: in `ip_vs_ftp_in()`).
    pub(crate) fn read(data: &[u8], family: Family) -> Option<Self> {
        match passive(data, family) {
            Passive::Supported(mode) => return Some(Self::Passive(mode)),
            Passive::Unsupported => return None,
            Passive::No => (),
        }
        let old = match family {
            Family::Inet => Text::after(data, b"PORT").and_then(|text| text.old(b' ')),
            Family::Inet6 => None,
        };
        let named = old.or_else(|| Text::after(data, b"EPRT")?.extended(b' ', family, false))?;
        Some(Self::Active(named))
    }
}

/// The result of the search for the request for a passive data connection.
enum Passive {
    /// A supported request.
    Supported(Mode),
    /// An unsupported request. C does not read such a packet further.
    Unsupported,
    /// No request.
    No,
}

fn passive(data: &[u8], family: Family) -> Passive {
    for at in 0..data.len() {
        // The last five bytes are too short for a command.
        let Some([a, b, c, d, after, argument, rest @ ..]) = data.get(at..) else {
            break;
        };
        let word = [*a, *b, *c, *d];
        if family == Family::Inet
            && word.eq_ignore_ascii_case(b"PASV")
            && (*after, *argument) == (b'\r', b'\n')
        {
            return Passive::Supported(Mode::Pasv);
        }
        if !word.eq_ignore_ascii_case(b"EPSV") {
            continue;
        }
        match *after {
            b'\r' => return Passive::Supported(Mode::Epsv),
            b' ' if *argument == number(family) && rest.first() == Some(&b'\r') => {
                return Passive::Supported(Mode::Epsv)
            }
            b' ' => return Passive::Unsupported,
            _ => (),
        }
    }
    Passive::No
}

impl Mode {
    /// Reads the end that a server names in its reply to `PASV` or `EPSV`
    /// (C: in `ip_vs_ftp_out()`).
    pub(crate) fn read_reply(self, data: &[u8], family: Family) -> Option<Named> {
        match self {
            Self::Active => None,
            Self::Pasv => Text::after(data, b"227 ")?.old(b'('),
            Self::Epsv => Text::after(data, b"229 ")?.extended(b'(', family, true),
        }
    }
}

/// The number of an address family in `EPSV` and `EPRT`.
fn number(family: Family) -> u8 {
    match family {
        Family::Inet => b'1',
        Family::Inet6 => b'2',
    }
}

/// The text that replaces the end in a reply.
#[derive(Default)]
pub(crate) struct Replacement {
    bytes: [u8; 24],
    len: usize,
}

impl Replacement {
    /// An end in a reply to a request for `mode`.
    pub(crate) fn new(mode: Mode, addr: &Addr, port: Port) -> Self {
        let mut text = Self::default();
        if mode == Mode::Epsv {
            // The client uses the service's address.
            text.push(b"|||").number(port.host()).push(b"|");
            return text;
        }
        for part in addr.v4() {
            text.number(part.into()).push(b",");
        }
        let [high, low] = port.bytes();
        text.number(high.into()).push(b",").number(low.into());
        text
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn push(&mut self, text: &[u8]) -> &mut Self {
        let rest = self.bytes.iter_mut().skip(self.len);
        for (to, from) in rest.zip(text) {
            *to = *from;
            self.len = self.len.saturating_add(1);
        }
        self
    }

    fn number(&mut self, number: u16) -> &mut Self {
        for unit in [10_000, 1000, 100, 10, 1] {
            if number >= unit || unit == 1 {
                let digit = number.checked_div(unit).unwrap_or(0) % 10;
                self.push(&[b'0'.wrapping_add(digit as u8)]);
            }
        }
        self
    }
}

impl Text<'_> {
    /// Skips the bytes up to the end of the first run of `mark`. If `is_optional`, stops at a digit
    /// before that.
    fn skip(&mut self, mark: u8, is_optional: bool) -> Option<()> {
        let mut is_found = false;
        loop {
            let byte = self.peek()?;
            if is_found && byte != mark {
                return Some(());
            }
            if !is_found && is_optional && byte.is_ascii_digit() {
                return Some(());
            }
            is_found |= byte == mark;
            self.step();
        }
    }

    /// Reads `h1,h2,h3,h4,p1,p2`, six numbers up to 255. One more byte must follow.
    fn old(mut self, mark: u8) -> Option<Named> {
        self.skip(mark, true)?;
        let start = self.at;
        let mut parts = [0u8; 6];
        let mut index = 0;
        loop {
            match self.peek()? {
                digit @ b'0'..=b'9' => {
                    let part = parts.get_mut(index)?;
                    *part = part
                        .checked_mul(10)?
                        .checked_add(digit.wrapping_sub(b'0'))?;
                }
                b',' if index < 5 => index += 1,
                _ => break,
            }
            self.step();
        }
        let [a, b, c, d, high, low] = parts;
        (index == 5).then_some(Named {
            addr: Some(Addr::from_v4([a, b, c, d])),
            port: Port::new(u16::from_be_bytes([high, low])),
            start,
            end: self.at,
        })
    }

    /// Reads `|family|address|port|`, or `|||port|` if `is_reply`, with any delimiter.
    fn extended(mut self, mark: u8, family: Family, is_reply: bool) -> Option<Named> {
        self.skip(mark, false)?;
        let start = self.at;
        let delimiter = self.take().filter(u8::is_ascii_graphic)?;
        let addr = match self.take()? {
            byte if byte == delimiter => {
                if !is_reply {
                    return None;
                }
                self.expect(delimiter)?;
                None
            }
            byte if byte == number(family) => {
                self.expect(delimiter)?;
                let addr = match family {
                    Family::Inet => Addr::from_v4(self.v4(delimiter)?),
                    Family::Inet6 => Addr::from_v6(self.v6(delimiter)?),
                };
                self.expect(delimiter)?;
                Some(addr)
            }
            _ => return None,
        };
        let port = self.port()?;
        self.expect(delimiter)?;
        (port != 0).then_some(Named {
            addr,
            port: Port::new(port),
            start,
            end: self.at,
        })
    }

    /// Reads a number up to 65535, which may be empty.
    fn port(&mut self) -> Option<u16> {
        let mut port = 0u16;
        while let digit @ b'0'..=b'9' = self.peek()? {
            let digit = digit.wrapping_sub(b'0');
            port = port.checked_mul(10)?.checked_add(digit.into())?;
            self.step();
        }
        Some(port)
    }
}

#[cfg(test)]
mod tests;
