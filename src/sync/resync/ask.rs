// SPDX-License-Identifier: GPL-2.0

//! The requests of a director for all conns of the others, and the progress of the answer.
//!
//! A request is sent up to [`REQUESTS`] times, until a whole answer was received. If no director
//! answers, there are four messages of 32 bytes within 14 s. Times are the low 32 bits of jiffies.

use crate::{
    shim::HZ,
    sync::message::{
        Part,
        Request, //
    },
};

const SECOND: u32 = HZ as u32;

/// The number of requests for which no answer begins.
const REQUESTS: u32 = 4;
/// The maximum number of requests.
const MAX_REQUESTS: u32 = 8;
/// The time without a part after which an answer is requested again.
const STALLED: u32 = 3 * SECOND;

/// The progress of the answer of the director that has the most conns.
struct Answer {
    number: u32,
    total: u32,
    /// The number of the next part.
    next: u32,
    is_whole: bool,
}

/// Requests that are under way.
pub(super) struct Requests {
    request: Request,
    /// When to send the next request.
    due: u32,
    sent: u32,
    answer: Option<Answer>,
    is_over: bool,
}

/// The next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Send this request.
    Request(Request),
    /// Nothing for this many jiffies.
    Wait(u32),
    /// Nothing any more.
    Over,
}

impl Requests {
    /// Requests that begin within 100 ms. `random` is a random number.
    pub(super) fn new(now: u32, random: u64) -> Self {
        let delay = (random >> 32) as u32 % (SECOND / 10);
        Self {
            request: Request {
                number: random as u32,
                slower: 0,
            },
            due: now.wrapping_add(delay),
            sent: 0,
            answer: None,
            is_over: false,
        }
    }

    /// Whether a request has this number.
    pub(super) fn is(&self, request: u32) -> bool {
        self.request.number == request
    }

    /// Returns the step at the time `now`. A request that is returned counts as sent.
    pub(super) fn next(&mut self, now: u32) -> Next {
        let max = match self.answer {
            Some(_) => MAX_REQUESTS,
            None => REQUESTS,
        };
        let left = self.due.wrapping_sub(now) as i32;
        if self.is_over {
            return Next::Over;
        }
        if left > 0 {
            return Next::Wait(left as u32);
        }
        if self.sent >= max {
            self.is_over = true;
            return Next::Over;
        }
        if let Some(answer) = &mut self.answer {
            // Directors do not answer a request twice.
            self.request.number = self.request.number.wrapping_add(1);
            self.request.slower = self.request.slower.wrapping_add(1);
            answer.is_whole = false;
        }
        let wait = (2 * SECOND) << self.sent.min(2);
        self.sent = self.sent.wrapping_add(1);
        self.due = now.wrapping_add(wait);
        Next::Request(self.request)
    }

    /// Handles a received part of an answer to any request.
    pub(super) fn part_received(&mut self, part: &Part, now: u32) {
        match &mut self.answer {
            Some(answer) if answer.number == part.answer => {
                answer.is_whole &= answer.next == part.number;
                answer.next = part.number.wrapping_add(1);
            }
            // This answer goes on, and the other one has no more conns.
            Some(answer) if answer.is_whole && part.total <= answer.total => return,
            // The first parts of the other one were lost.
            Some(_) if part.number != 0 => return,
            _ => {
                self.answer = Some(Answer {
                    number: part.answer,
                    total: part.total,
                    next: part.number.wrapping_add(1),
                    is_whole: part.number == 0,
                });
            }
        }
        self.due = now.wrapping_add(STALLED);
        if part.is_last {
            match self.answer.as_ref().is_some_and(|answer| answer.is_whole) {
                true => self.is_over = true,
                false => self.due = now.wrapping_add(SECOND / 4),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(answer: u32, total: u32, number: u32, is_last: bool) -> Part {
        Part {
            request: 7,
            answer,
            total,
            number,
            is_last,
        }
    }

    fn request(number: u32, slower: u32) -> Next {
        Next::Request(Request { number, slower })
    }

    /// The times of the requests in seconds, and the time of the end.
    fn times(requests: &mut Requests, from: u32) -> (Vec<u32>, u32) {
        let (mut now, mut times) = (from, vec![]);
        loop {
            match requests.next(now) {
                Next::Request(_) => times.push(now.wrapping_sub(from) / SECOND),
                Next::Wait(time) => now = now.wrapping_add(time),
                Next::Over => return (times, now.wrapping_sub(from) / SECOND),
            }
        }
    }

    #[test]
    fn without_an_answer() {
        for from in [0, 0_u32.wrapping_sub(3 * SECOND)] {
            let mut requests = Requests::new(from, 5);
            assert_eq!(times(&mut requests, from), (vec![0, 2, 6, 14], 22));
        }
        let requests = Requests::new(0, u64::MAX);
        assert!(requests.due < SECOND / 10 && requests.is(u32::MAX));
    }

    #[test]
    fn a_whole_answer_ends_it() {
        let mut requests = Requests::new(0, 5);
        assert_eq!(requests.next(0), request(5, 0));
        assert_eq!(requests.next(0), Next::Wait(2 * SECOND));
        requests.part_received(&part(1, 90, 0, false), SECOND);
        assert_eq!(requests.next(SECOND), Next::Wait(STALLED));
        requests.part_received(&part(1, 90, 1, false), 2 * SECOND);
        requests.part_received(&part(1, 90, 2, true), 2 * SECOND);
        assert_eq!(requests.next(2 * SECOND), Next::Over);
        let mut single = Requests::new(0, 5);
        single.part_received(&part(1, 1, 0, true), 0);
        assert_eq!(single.next(0), Next::Over);
    }

    #[test]
    fn a_lost_part_is_requested_again() {
        let mut requests = Requests::new(0, 5);
        assert_eq!(requests.next(0), request(5, 0));
        requests.part_received(&part(1, 90, 0, false), 1);
        requests.part_received(&part(1, 90, 2, true), 1);
        assert_eq!(requests.next(1), Next::Wait(SECOND / 4));
        assert_eq!(requests.next(SECOND), request(6, 1));
        requests.part_received(&part(2, 90, 0, true), SECOND);
        assert_eq!(requests.next(SECOND), Next::Over);
        // The end is lost.
        let mut requests = Requests::new(0, 5);
        assert_eq!(requests.next(0), request(5, 0));
        requests.part_received(&part(1, 90, 0, false), 1);
        assert_eq!(requests.next(1 + STALLED), request(6, 1));
        assert_eq!(times(&mut requests, 1 + STALLED).0.len(), 6);
    }

    #[test]
    fn the_answer_with_the_most_conns_counts() {
        let mut requests = Requests::new(0, 5);
        assert_eq!(requests.next(0), request(5, 0));
        requests.part_received(&part(1, 3, 0, false), 1);
        requests.part_received(&part(2, 90, 0, false), 1);
        requests.part_received(&part(1, 3, 1, true), 1);
        assert_eq!(requests.next(1), Next::Wait(STALLED));
        requests.part_received(&part(3, 4, 0, true), 1);
        assert_eq!(requests.next(1), Next::Wait(STALLED));
        requests.part_received(&part(2, 90, 1, true), 1);
        assert_eq!(requests.next(1), Next::Over);
        // An answer that was under way before is not whole.
        let mut late = Requests::new(0, 5);
        late.part_received(&part(1, 90, 5, false), 0);
        late.part_received(&part(1, 90, 6, true), 0);
        assert_eq!(late.next(SECOND), request(6, 1));
    }
}
