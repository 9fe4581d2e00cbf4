// SPDX-License-Identifier: GPL-2.0

//! Tests of the lines of FTP.

use super::*;
use crate::addr::Family::{Inet, Inet6};
use std::{
    net::Ipv6Addr,
    string::String, //
};

/// An end: its address, port and text.
fn shown(data: &[u8], named: Named) -> (String, u16, &str) {
    let addr = match named.addr {
        None => String::new(),
        Some(addr) if addr.bytes()[4..] == [0; 12] => std::format!("{:?}", addr.v4()),
        Some(addr) => Ipv6Addr::from(*addr.bytes()).to_string(),
    };
    let text = &data[named.start..named.end];
    (addr, named.port.host(), std::str::from_utf8(text).unwrap())
}

#[track_caller]
fn active(line: &str, family: Family) -> Option<(String, u16, &str)> {
    match Request::read(line.as_bytes(), family)? {
        Request::Active(named) => Some(shown(line.as_bytes(), named)),
        Request::Passive(mode) => panic!("{line:?} asks for {mode:?}"),
    }
}

fn passive(line: &str, family: Family) -> Option<Mode> {
    match Request::read(line.as_bytes(), family)? {
        Request::Passive(mode) => Some(mode),
        Request::Active(_) => None,
    }
}

#[test]
fn port() {
    let addr = || String::from("[10, 1, 2, 3]");
    let text = "10,1,2,3,4,5";
    let good = [
        "PORT 10,1,2,3,4,5\r\n",
        "port 10,1,2,3,4,5\n",
        "PORT10,1,2,3,4,5 ",
        "PORT    10,1,2,3,4,5\r",
        "PORTS10,1,2,3,4,5\r\n",
        "PORTx 10,1,2,3,4,5,6\r\n",
    ];
    for line in good {
        assert_eq!(
            active(line, Inet),
            Some((addr(), 4 * 256 + 5, text)),
            "{line}"
        );
        assert_eq!(active(line, Inet6), None, "{line}");
    }
    let zeros = std::format!("PORT {}10,01,002,3,4,5\r\n", "0".repeat(300));
    assert_eq!(active(&zeros, Inet).unwrap().0, addr());
    assert_eq!(active("PORT ,,,,,\r\n", Inet).unwrap().1, 0);
    assert_eq!(active("PORT,,,,,\r\n", Inet), None);
    let bad = [
        "",
        "P",
        "PORT",
        "PORT ",
        "PORT 10,1,2,3,4,5",
        "PORT 10,1,2,3,4\r\n",
        "PORT 10,1,2,3,4,256\r\n",
        "PORT 1000,1,2,3,4,5\r\n",
        "PORT 10.1.2.3.4.5\r\n",
        "PORT x 10,1,2,3,4,5\r\n",
        "PORT 10, 1,2,3,4,5\r\n",
        "PORT -1,1,2,3,4,5\r\n",
        "NOOP\r\nPORT 10,1,2,3,4,5\r\n",
        " PORT 10,1,2,3,4,5\r\n",
    ];
    for line in bad {
        assert_eq!(active(line, Inet), None, "{line}");
    }
    let digits = std::format!("PORT {},1,2,3,4,5\r\n", "1".repeat(300));
    assert_eq!(active(&digits, Inet), None);
}

#[test]
fn eprt() {
    let four = |text| Some((String::from("[10, 1, 2, 3]"), 5282, text));
    assert_eq!(
        active("EPRT |1|10.1.2.3|5282|\r\n", Inet),
        four("|1|10.1.2.3|5282|")
    );
    assert_eq!(
        active("eprt  !1!10.1.2.3!05282!", Inet),
        four("!1!10.1.2.3!05282!")
    );
    let six = |text| Some((String::from("2001:db8:3::fe"), 5282, text));
    let line = "EPRT |2|2001:db8:3::fe|5282|\r\n";
    assert_eq!(active(line, Inet6), six("|2|2001:db8:3::fe|5282|"));
    assert_eq!(active(line, Inet), None);
    let line = "EPRT |2|2001:DB8:3:0:0:0:0.0.0.254|5282|\r\n";
    assert_eq!(
        active(line, Inet6),
        six("|2|2001:DB8:3:0:0:0:0.0.0.254|5282|")
    );
    let bad = [
        "EPRT",
        "EPRT ",
        "EPRT |",
        "EPRT |1",
        "EPRT |1|",
        "EPRT |1|10.1.2.3",
        "EPRT |1|10.1.2.3|",
        "EPRT |1|10.1.2.3|5282",
        "EPRT |1|10.1.2.3|5282\r\n",
        "EPRT |1|10.1.2.3|0|\r\n",
        "EPRT |1|10.1.2.3||\r\n",
        "EPRT |1|10.1.2.3|65536|\r\n",
        "EPRT |1|10.1.2.3|x|\r\n",
        "EPRT |1|10.1.2|5282|\r\n",
        "EPRT |1|10.1.2.3.4|5282|\r\n",
        "EPRT |1|10.1.2.256|5282|\r\n",
        "EPRT |1|10.1..3|5282|\r\n",
        "EPRT |1!10.1.2.3|5282|\r\n",
        "EPRT |2|10.1.2.3|5282|\r\n",
        "EPRT |11|10.1.2.3|5282|\r\n",
        "EPRT |||5282|\r\n",
        "EPRT \u{7f}1\u{7f}10.1.2.3\u{7f}5282\u{7f}\r\n",
    ];
    for line in bad {
        assert_eq!(active(line, Inet), None, "{line}");
    }
    let digits = std::format!("EPRT |1|10.1.2.3|{}|\r\n", "9".repeat(300));
    assert_eq!(active(&digits, Inet), None);
}

#[test]
fn passive_requests() {
    use Mode::{Epsv, Pasv};
    for (line, four, six) in [
        ("PASV\r\n", Some(Pasv), None),
        ("pasv\r\n", Some(Pasv), None),
        ("PASV \r\n", None, None),
        ("PASV\n", None, None),
        ("PASV\r", None, None),
        ("NOOP\r\nPASV\r\n", Some(Pasv), None),
        ("EPSV\r\n", Some(Epsv), Some(Epsv)),
        ("epsv\r\n", Some(Epsv), Some(Epsv)),
        ("EPSV\r", None, None),
        ("EPSV 1\r\n", Some(Epsv), None),
        ("EPSV 2\r\n", None, Some(Epsv)),
        ("EPSV 1\r", Some(Epsv), None),
        ("EPSV 1", None, None),
        ("EPSV ALL\r\n", None, None),
        ("EPSVALL\r\n", None, None),
        // C stops here, although a supported command follows.
        ("EPSV ALL\r\nPASV\r\n", None, None),
        ("EPSV\nEPSV\r\n", Some(Epsv), Some(Epsv)),
    ] {
        assert_eq!(passive(line, Inet), four, "{line:?}");
        assert_eq!(passive(line, Inet6), six, "{line:?}");
    }
    assert_eq!(
        Request::read(b"EPSV ALL\r\nPORT 1,2,3,4,5,6\r\n", Inet),
        None
    );
}

#[test]
fn replies() {
    let read = |mode: Mode, line: &'static str, family| {
        mode.read_reply(line.as_bytes(), family)
            .map(|named| shown(line.as_bytes(), named))
    };
    let end = |text| Some((String::from("[10, 1, 1, 11]"), 10 * 256 + 20, text));
    let line = "227 Entering Passive Mode (10,1,1,11,10,20).\r\n";
    assert_eq!(read(Mode::Pasv, line, Inet), end("10,1,1,11,10,20"));
    assert_eq!(read(Mode::Epsv, line, Inet), None);
    assert_eq!(read(Mode::Active, line, Inet), None);
    let line = "227 =10,1,1,11,10,20\r\n";
    assert_eq!(read(Mode::Pasv, line, Inet), end("10,1,1,11,10,20"));
    assert_eq!(read(Mode::Pasv, "227-10,1,1,11,10,20\r\n", Inet), None);
    assert_eq!(
        read(Mode::Pasv, "150 x\r\n227 (10,1,1,11,10,20)\r\n", Inet),
        None
    );

    let port = |text| Some((String::new(), 6446, text));
    let line = "229 Entering Extended Passive Mode (|||6446|)\r\n";
    assert_eq!(read(Mode::Epsv, line, Inet), port("|||6446|"));
    assert_eq!(read(Mode::Epsv, line, Inet6), port("|||6446|"));
    assert_eq!(read(Mode::Pasv, line, Inet), None);
    let line = "229 ok (!!!6446!) (|||1|)\r\n";
    assert_eq!(read(Mode::Epsv, line, Inet), port("!!!6446!"));
    let line = "229 ok (|1|10.1.1.12|6446|)\r\n";
    let named = Some((String::from("[10, 1, 1, 12]"), 6446, "|1|10.1.1.12|6446|"));
    assert_eq!(read(Mode::Epsv, line, Inet), named);
    assert_eq!(read(Mode::Epsv, line, Inet6), None);
    for bad in [
        "229 (",
        "229 (|||6446",
        "229 (|||0|)",
        "229 (||6446|)",
        "229 |||6446|",
    ] {
        assert_eq!(read(Mode::Epsv, bad, Inet), None, "{bad}");
    }
}

#[test]
fn replacements() {
    let addr = Addr::from_v4([192, 168, 1, 110]);
    let text = |mode, port| {
        let text = Replacement::new(mode, &addr, Port::new(port));
        String::from_utf8(text.bytes().to_vec()).unwrap()
    };
    assert_eq!(text(Mode::Pasv, 40_000), "192,168,1,110,156,64");
    assert_eq!(text(Mode::Epsv, 40_000), "|||40000|");
    assert_eq!(text(Mode::Epsv, 105), "|||105|");
    assert_eq!(text(Mode::Pasv, 0), "192,168,1,110,0,0");
    let longest = Addr::from_v4([255; 4]);
    let text = Replacement::new(Mode::Pasv, &longest, Port::new(65535));
    assert_eq!(text.bytes(), b"255,255,255,255,255,255");
}
