// SPDX-License-Identifier: GPL-2.0

//! Tests of sync messages from literal bytes.

use super::*;

fn v4(last: u8) -> Addr {
    Addr::from_v4([10, 0, 0, last])
}

fn v6(last: u8) -> Addr {
    let mut bytes = [0; 16];
    (bytes[0], bytes[1], bytes[15]) = (0xfd, 0x01, last);
    Addr::from_v6(bytes)
}

fn record() -> Record<'static> {
    Record {
        family: Family::Inet,
        protocol: 6,
        flags: IP_VS_CONN_F_SYNC,
        state: 1,
        cport: Port::new(0x1234),
        vport: Port::new(80),
        dport: Port::new(8080),
        fwmark: 0x0102_0304,
        timeout: 900,
        caddr: v4(1),
        vaddr: v4(2),
        daddr: v4(3),
        seq: None,
        pe: None,
        local: None,
        idle: None,
    }
}

fn record6() -> Record<'static> {
    Record {
        family: Family::Inet6,
        caddr: v6(1),
        vaddr: v6(2),
        daddr: v6(3),
        ..record()
    }
}

const SEQ: [Seq; 2] = [
    Seq {
        init_seq: 1,
        delta: 2,
        previous_delta: 3,
    },
    Seq {
        init_seq: 4,
        delta: 5,
        previous_delta: 6,
    },
];

/// The conn [`record`] in version 1.
const CONN: [u8; 36] = [
    0, 6, 0, 36, 0, 0, 0, 0x20, 0, 1, 0x12, 0x34, 0, 80, 0x1f, 0x90, 1, 2, 3, 4, 0, 0, 3, 0x84, 10,
    0, 0, 1, 10, 0, 0, 2, 10, 0, 0, 3,
];

/// A message of version 1 with these conns.
fn message(conns: &[&[u8]]) -> Vec<u8> {
    let body = conns.concat();
    let size = (body.len() + 8) as u16;
    let [high, low] = size.to_be_bytes();
    let mut message = vec![0, 7, high, low, conns.len() as u8, 1, 0, 0];
    message.extend(body);
    message
}

/// The conn [`record`] in version 1, with these parameters, padded.
fn with_params(params: &[u8]) -> Vec<u8> {
    let mut conn = CONN.to_vec();
    conn[3] = (36 + params.len()) as u8;
    conn.extend(params);
    conn.resize(conn.len().next_multiple_of(4), 0);
    conn
}

/// The states of TCP, UDP and SCTP.
fn states(protocol: u8) -> Option<u16> {
    match protocol {
        6 => Some(11),
        17 => Some(1),
        132 => Some(14),
        _ => None,
    }
}

fn read(message: &[u8]) -> Vec<Record<'_>> {
    Records::of(message, 0, states).collect()
}

#[test]
fn version_1_as_literal_bytes() {
    let message = Message::new(Version::V1, 7, 1472, &record()).unwrap();
    let mut want = vec![0, 7, 0, 44, 1, 1, 0, 0];
    want.extend(CONN);
    assert_eq!(message.bytes(), want);
    assert_eq!(read(&want), [record()]);
}

#[test]
fn version_1_with_ipv6_and_parameters() {
    let pe = PeData {
        name: b"sip",
        data: b"call",
    };
    let first = Record {
        seq: Some(SEQ),
        ..record()
    };
    let second = Record {
        pe: Some(pe),
        ..record6()
    };
    let mut message = Message::new(Version::V1, 0x1ff, 1472, &first).unwrap();
    assert!(message.push(&second) && message.push(&record()));
    let bytes = message.bytes();
    // 8 + 36 + 26 and 2 of padding; 72 + 2 + 4 + 2 + 3 and 1 of padding; 36.
    assert_eq!(bytes.len(), 72 + 83 + 1 + 36);
    assert_eq!(bytes[..8], [0, 0xff, 0, 192, 3, 1, 0, 0]);
    assert_eq!(bytes[8..12], [0, 6, 0, 62]);
    assert_eq!(
        bytes[44..72],
        [1, 24, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 6, 0, 0]
    );
    assert_eq!(bytes[72..76], [1, 6, 0, 83]);
    assert_eq!(bytes[96..112], *v6(1).bytes());
    assert_eq!(bytes[144..156], *b"\x02\x04call\x03\x03sip\0");
    assert_eq!(read(bytes), [first, second, record()]);
}

#[test]
fn local_ends() {
    let first = Record {
        local: Some((v4(9), Port::new(0x5678))),
        ..record()
    };
    let second = Record {
        local: Some((v6(9), Port::new(1))),
        idle: Some(2),
        ..record6()
    };
    let mut message = Message::new(Version::V1, 0, 1472, &first).unwrap();
    assert!(message.push(&second));
    let bytes = message.bytes();
    assert_eq!(bytes[44..52], [0x62, 6, 10, 0, 0, 9, 0x56, 0x78]);
    let fixed = 52 + 24 + 48;
    assert_eq!(bytes[fixed..fixed + 2], [0x62, 18]);
    assert_eq!(bytes[fixed + 2..fixed + 18], *v6(9).bytes());
    assert_eq!(bytes[fixed + 18..], [0, 1, 0x61, 4, 0, 0, 0, 2]);
    assert_eq!(read(bytes), [first, second]);
    // Of another length, it is an unknown parameter. Without the mark, it must not be ignored.
    for (params, number) in [
        (&b"\x62\x05\x0a\0\0\x09\x56"[..], 1),
        (b"\x62\x07\x0a\0\0\x09\x56\x78\0", 1),
        (b"\x22\x06\x0a\0\0\x09\x56\x78", 0),
    ] {
        let bytes = super::tests::message(&[&with_params(params)]);
        assert_eq!(read(&bytes), vec![record(); number]);
    }
    // Version 0 has none.
    let message = Message::new(Version::V0, 0, 1472, &first).unwrap();
    assert_eq!(read(message.bytes())[0].local, None);
}

#[test]
fn version_0_as_literal_bytes() {
    let mut sent = Record {
        fwmark: 0,
        timeout: 0,
        ..record()
    };
    let mut message = Message::new(Version::V0, 7, 100, &sent).unwrap();
    let mut want = vec![1, 7, 0, 28];
    want.extend([
        0, 6, 0x12, 0x34, 0, 80, 0x1f, 0x90, 10, 0, 0, 1, 10, 0, 0, 2, 10, 0, 0, 3, 0, 0x20, 0, 1,
    ]);
    assert_eq!(message.bytes(), want);
    assert_eq!(read(&want), [sent]);
    // With sequence data, in the byte order of the host.
    sent.seq = Some(SEQ);
    sent.flags |= IP_VS_CONN_F_SEQ_MASK;
    assert!(message.push(&sent));
    let bytes = message.bytes();
    assert_eq!((bytes[0], bytes.len()), (2, 28 + 48));
    assert_eq!(bytes[52..56], 1u32.to_ne_bytes());
    assert_eq!(read(bytes)[1], sent);
    // There is no room for a third one.
    assert!(!message.push(&sent) && message.bytes()[0] == 2);
    // The sequence data are cut off.
    let mut cut = message.bytes()[..75].to_vec();
    cut[3] = 75;
    assert_eq!(read(&cut).len(), 1);
}

#[test]
fn room_in_a_message() {
    // A maximum that is too short for one conn is exceeded.
    let mut message = Message::new(Version::V1, 0, 1, &record6()).unwrap();
    assert_eq!(message.bytes().len(), 80);
    assert!(!message.push(&record()));
    let mut message = Message::new(Version::V1, 0, 80, &record()).unwrap();
    assert!(message.push(&record()) && !message.push(&record()));
    // The count has one byte.
    for version in [Version::V0, Version::V1] {
        let mut message = Message::new(version, 0, 65507, &record()).unwrap();
        let pushed = (0..1000).filter(|_| message.push(&record())).count();
        assert_eq!(pushed, 254);
        assert_eq!(read(message.bytes()).len(), 255);
    }
}

#[test]
fn headers_that_are_refused() {
    let good = message(&[&CONN]);
    assert_eq!(read(&good).len(), 1);
    let changed = |at: usize, value: u8| {
        let mut message = good.clone();
        message[at] = value;
        read(&message).len()
    };
    // Not the size of the datagram.
    assert_eq!(changed(3, 43) + changed(3, 45) + changed(2, 1), 0);
    // No conns; more conns than there are.
    assert_eq!((changed(4, 0), changed(4, 9)), (0, 1));
    // Of another version, so of version 0, in which the number of conns is 0.
    assert_eq!(
        changed(5, 2) + changed(5, 0) + changed(6, 1) + changed(7, 1),
        0
    );
    for len in 0..good.len() {
        let mut cut = good[..len].to_vec();
        assert!(read(&cut).is_empty());
        if let [_, _, high, low, ..] = &mut cut[..] {
            [*high, *low] = (len as u16).to_be_bytes();
        }
        assert!(read(&cut).is_empty(), "{len}");
    }
    for (wanted, number) in [(0, 1), (7, 1), (8, 0), (0x107, 0)] {
        assert_eq!(
            Records::of(&good, wanted, states).count(),
            number,
            "{wanted}"
        );
    }
}

#[test]
fn malformed_conns_end_a_message() {
    let mut rest = CONN;
    rest[23] = 5;
    let last = Record {
        timeout: 0x305,
        ..record()
    };
    let count = |conn: &[u8]| read(&message(&[&CONN, conn, &rest])).len();
    assert_eq!(read(&message(&[&CONN, &CONN, &rest]))[2], last);
    let with = |at: usize, value: u8| {
        let mut conn = CONN;
        conn[at] = value;
        count(&conn)
    };
    // Kinds that do not exist; IPv6 without room for it.
    assert_eq!((with(0, 2), with(0, 4), with(0, 1)), (1, 1, 1));
    // A version; sizes that are too short and too long.
    assert_eq!((with(2, 0x10), with(3, 35), with(3, 0)), (1, 1, 1));
    assert_eq!((with(3, 73), with(2, 0x0f)), (1, 1));
    for params in [
        // Of length 0, and too short for its length or its header.
        &[1, 0, 0, 0][..],
        &[0x47, 3, 0, 0],
        &[0x47],
        // Sequence data of another length.
        &[1, 2, 0, 0],
        // Twice; a name that is too long.
        b"\x02\x01x\x02\x01y",
        b"\x03\x01x\x03\x01y",
        b"\x03\x1112345678901234567",
    ] {
        assert_eq!(count(&with_params(params)), 1, "{params:?}");
    }
    let mut twice = vec![1, 24];
    twice.resize(26, 9);
    assert_eq!(count(&with_params(&twice)), 3);
    twice.extend_from_within(..);
    assert_eq!(count(&with_params(&twice)), 1);
}

#[test]
fn conns_that_are_skipped() {
    let mut rest = CONN;
    rest[23] = 5;
    let count = |conn: &[u8]| read(&message(&[&CONN, conn, &rest])).len();
    let with = |changes: &[(usize, u8)]| {
        let mut conn = CONN;
        changes.iter().for_each(|(at, value)| conn[*at] = *value);
        count(&conn)
    };
    // Unknown parameters, to be ignored or not; data without a name, a name without data.
    assert_eq!(count(&with_params(&[0x47, 1, 9])), 3);
    assert_eq!(count(&with_params(&[0xc7, 1, 9, 0x44, 2, 0, 0])), 3);
    assert_eq!(count(&with_params(&[0x07, 1, 9])), 2);
    assert_eq!(count(&with_params(&[0x80, 1, 9])), 2);
    assert_eq!(count(&with_params(b"\x02\x01x")), 2);
    assert_eq!(count(&with_params(b"\x03\x01x")), 3);
    assert_eq!(count(&with_params(b"\x42\x01x\x43\x01x")), 3);
    // A protocol without conns, unless it is a template; states.
    assert_eq!((with(&[(1, 0)]), with(&[(1, 99)])), (2, 2));
    assert_eq!(with(&[(1, 99), (6, 0x10)]), 3);
    assert_eq!((with(&[(9, 10)]), with(&[(9, 11)])), (3, 2));
    assert_eq!(with(&[(8, 1)]), 2);
    assert_eq!(with(&[(1, 17), (9, 0)]), 3);
    assert_eq!(with(&[(1, 17), (9, 1)]), 2);
    assert_eq!(with(&[(1, 132), (9, 13)]), 3);
    assert_eq!(with(&[(1, 132), (9, 14)]), 2);
    assert_eq!(with(&[(6, 0x10), (9, 1)]), 3);
    assert_eq!(with(&[(6, 0x10), (9, 2)]), 2);
    // For one packet; without the client's port, unless it is a template.
    assert_eq!((with(&[(6, 0x20)]), with(&[(6, 0x08)])), (2, 3));
    assert_eq!(with(&[(6, 0x18)]), 2);
}

#[test]
fn flags_of_received_conns() {
    let mut conn = CONN;
    conn[4..8].copy_from_slice(&0xffff_cfff_u32.to_be_bytes());
    let seen = read(&message(&[&conn])).first().map(|conn| conn.flags);
    assert_eq!(seen, Some(0x0fa7));
    conn[4..8].copy_from_slice(&0_u32.to_be_bytes());
    let seen = read(&message(&[&conn])).first().map(|conn| conn.flags);
    assert_eq!(seen, Some(IP_VS_CONN_F_SYNC));
}

/// No message is read beyond its end, whatever its bytes.
#[test]
fn mutated_messages() {
    let mut seed = 1_u32;
    let mut random = move || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as usize
    };
    let first = Record {
        seq: Some(SEQ),
        ..record()
    };
    for version in [Version::V0, Version::V1] {
        let mut good = Message::new(version, 7, 1472, &first).unwrap();
        assert!(good.push(&record()) && good.push(&first));
        for _ in 0..50_000 {
            let mut bytes = good.bytes().to_vec();
            for _ in 0..=random() % 4 {
                let at = random() % bytes.len();
                bytes[at] = random() as u8;
            }
            bytes.truncate(bytes.len() - random() % 8);
            let size = bytes.len() as u16;
            bytes[2..4].copy_from_slice(&size.to_be_bytes());
            assert!(read(&bytes).len() <= 255);
        }
    }
}

const PART: Part = Part {
    request: 0x0102_0304,
    answer: 0x0506_0708,
    total: 1000,
    number: 2,
    is_last: false,
};

/// [`PART`] in wire format.
const NOTICE: [u8; 24] = *b"rsyn\x02\0\0\0\x01\x02\x03\x04\x05\x06\x07\x08\0\0\x03\xe8\0\0\0\x02";

fn notice(message: &[u8], sync_id: u32) -> Option<Notice> {
    let mut records = Records::of(message, sync_id, states);
    records.by_ref().for_each(drop);
    records.notice()
}

#[test]
fn a_request_has_no_conns() {
    let request = Request {
        number: 0x0102_0304,
        slower: 2,
    };
    let message = Message::request(7, request).unwrap();
    let mut want = vec![0, 7, 0, 32, 0, 1, 0, 0];
    want.extend(b"rsyn\x01\0\0\0\x01\x02\x03\x04");
    want.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    assert_eq!(message.bytes(), want);
    assert_eq!(read(&want), []);
    let request = Some(Notice::Request(request));
    assert_eq!([0, 7].map(|id| notice(&want, id)), [request; 2]);
    assert_eq!(notice(&want, 8), None);
    // From a director that accepts any sync id.
    want[1] = 0;
    assert_eq!(notice(&want, 8), request);
}

#[test]
fn a_part_as_literal_bytes() {
    let idle = Record {
        idle: Some(0x0a0b_0c0d),
        ..record()
    };
    let mut message = Message::part(7, 1472, &idle).unwrap();
    assert!(message.push(&Record {
        idle: Some(1),
        ..record6()
    }));
    message.close(Notice::Part(PART));
    let bytes = message.bytes();
    assert_eq!(bytes.len(), 8 + 44 + 80 + 24);
    assert_eq!(bytes[..8], [0, 7, 0, 156, 2, 1, 0, 0]);
    assert_eq!(bytes[8..12], [0, 6, 0, 42]);
    assert_eq!(bytes[44..52], [0x61, 4, 0x0a, 0x0b, 0x0c, 0x0d, 0, 0]);
    assert_eq!(bytes[132..], NOTICE);
    let idles: Vec<_> = read(bytes).iter().map(|record| record.idle).collect();
    assert_eq!(idles, [Some(0x0a0b_0c0d), Some(1)]);
    assert_eq!(notice(bytes, 7), Some(Notice::Part(PART)));
    // A part of another sync id has none.
    assert_eq!(notice(bytes, 8), None);
}

#[test]
fn notices_that_are_none() {
    let of = |bytes: &[u8]| {
        let mut message = message(&[&CONN]);
        message.extend(bytes);
        message[3] += bytes.len() as u8;
        assert_eq!(read(&message).len(), 1);
        notice(&message, 7)
    };
    assert_eq!(of(&NOTICE), Some(Notice::Part(PART)));
    assert_eq!(
        of(&[&NOTICE[..], b"more"].concat()),
        Some(Notice::Part(PART))
    );
    let mut last = NOTICE;
    last[4] = 3;
    let last_part = Part {
        is_last: true,
        ..PART
    };
    assert_eq!(of(&last), Some(Notice::Part(last_part)));
    assert_eq!(of(&[]), None);
    assert_eq!(of(&NOTICE[..23]), None);
    for (at, value) in [(0, b'R'), (4, 0), (4, 4)] {
        let mut bytes = NOTICE;
        bytes[at] = value;
        assert_eq!(of(&bytes), None);
    }
    // After a malformed conn, and in version 0.
    let mut malformed = message(&[&CONN, &CONN]);
    malformed[46] = 0xff;
    malformed.extend(NOTICE);
    malformed[3] += 24;
    assert_eq!((read(&malformed).len(), notice(&malformed, 7)), (1, None));
    let mut old = vec![0, 7, 0, 28];
    old.extend(NOTICE);
    assert_eq!(notice(&old, 7), None);
}

#[test]
fn a_part_is_as_long_as_allowed() {
    for maxlen in [1, 100, 1024, 1452, 1472, 65507] {
        let first = Record {
            idle: Some(0),
            ..record()
        };
        let mut message = Message::part(7, maxlen, &first).unwrap();
        while message.push(&first) {}
        message.close(Notice::Part(PART));
        let len = message.bytes().len();
        assert!(len <= maxlen || maxlen < 100, "{len} of {maxlen}");
        assert_eq!(notice(message.bytes(), 7), Some(Notice::Part(PART)));
        if maxlen < 10000 {
            assert!(len + 44 + 3 > maxlen, "{len} of {maxlen}");
        }
    }
}

#[test]
fn idle_times_of_other_lengths() {
    for (params, want) in [
        (&b"\x61\x04\0\0\0\x09"[..], Some(9)),
        (b"\x61\x03\0\0\x09", None),
        (b"\x61\x05\0\0\0\0\x09", None),
    ] {
        let message = message(&[&with_params(params)]);
        assert_eq!(read(&message)[0].idle, want);
    }
    // Without the mark, it must not be ignored.
    assert_eq!(read(&message(&[&with_params(b"\x21\x04\0\0\0\x09")])), []);
}
