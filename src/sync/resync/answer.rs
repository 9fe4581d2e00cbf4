// SPDX-License-Identifier: GPL-2.0

//! The answers of a director to requests: the start and the rate of an answer.
//!
//! Any host on the network can forge a request. Requests are therefore answered at a limited rate,
//! [`BURST`] at once and then one each [`INTERVAL`], and the conns of an answer are sent at
//! [`RATE`]. An answer reaches all directors, so one is enough. Each director delays its answer by
//! a random time, shorter for masters than for backups, and does not answer if another director
//! answers that has no fewer conns. Times are the low 32 bits of jiffies.

use crate::{
    shim::HZ,
    sync::message::{
        Part,
        Request, //
    },
};

const SECOND: u32 = HZ as u32;

/// The number of conns sent per second.
const RATE: u32 = 20_000;
/// The maximum number of times that a request halves it.
const MAX_SLOWER: u32 = 4;
/// The time between two steps of an answer.
const STEP: u32 = if SECOND < 100 { 1 } else { SECOND / 100 };
/// The number of answers that may begin without a limit.
const BURST: u32 = 4;
/// The time between two answers after these.
const INTERVAL: u32 = 30 * SECOND;
/// For this time after the end of an answer, its request is not answered again.
const RECENT: u32 = SECOND / 2;

/// The position of a walk over the conns; all 0 at the start.
pub(crate) type Place = [usize; 3];

/// An answer that is being sent.
pub(super) struct Answer {
    /// The fields of the next part.
    pub(super) part: Part,
    /// How far the conns were sent.
    pub(super) place: Place,
    /// The number of conns sent per second.
    rate: u32,
    /// The time up to which conns were sent.
    since: u32,
}

/// A request that is not answered yet.
#[derive(Clone, Copy)]
struct Pending {
    request: Request,
    due: u32,
}

/// The requests and answers of a daemon.
pub(super) struct Answers {
    pending: Option<Pending>,
    pub(super) answer: Option<Answer>,
    /// The last request that was answered, and when the answer ended.
    last: Option<(u32, u32)>,
    /// The number of answers that may begin, and when it was last increased.
    allowed: u32,
    allowed_since: u32,
}

impl Answers {
    /// No requests.
    pub(super) fn new(now: u32) -> Self {
        Self {
            pending: None,
            answer: None,
            last: None,
            allowed: BURST,
            allowed_since: now,
        }
    }

    /// Handles a received request. `random` is a random number.
    pub(super) fn requested(&mut self, request: Request, is_master: bool, random: u64, now: u32) {
        let number = request.number;
        let is_answered = match (&self.answer, self.last) {
            (Some(answer), _) => answer.part.request == number,
            (None, Some((last, at))) => last == number && now.wrapping_sub(at) < RECENT,
            (None, None) => false,
        };
        if is_answered {
            return;
        }
        let delay = match is_master {
            true => random as u32 % (SECOND / 10),
            false => (SECOND / 5).wrapping_add(random as u32 % (SECOND / 2)),
        };
        let due = match self.pending {
            Some(pending) => pending.due,
            None => now.wrapping_add(delay),
        };
        self.pending = Some(Pending { request, due });
    }

    /// Handles a received part of another director's answer. `total` is the number of own conns.
    pub(super) fn part_received(&mut self, part: &Part, total: u32) {
        let slack = (total / 64).wrapping_add(16);
        let is_as_good = part.total.saturating_add(slack) >= total;
        if is_as_good {
            self.pending = self.pending.filter(|it| it.request.number != part.request);
        }
    }

    /// Begins an answer, if one is due. `total` is the number of own conns.
    pub(super) fn begin(&mut self, total: u32, random: u64, now: u32) {
        while self.allowed < BURST && now.wrapping_sub(self.allowed_since) >= INTERVAL {
            self.allowed = self.allowed.wrapping_add(1);
            self.allowed_since = self.allowed_since.wrapping_add(INTERVAL);
        }
        let Some(Pending { request, due }) = self.pending else {
            return;
        };
        let is_due = now.wrapping_sub(due) as i32 >= 0;
        if self.answer.is_some() || !is_due {
            return;
        }
        if total == 0 {
            self.pending = None;
            return;
        }
        let Some(allowed) = self.allowed.checked_sub(1) else {
            return;
        };
        if self.allowed == BURST {
            self.allowed_since = now;
        }
        (self.allowed, self.pending) = (allowed, None);
        self.answer = Some(Answer {
            part: Part {
                request: request.number,
                answer: random as u32,
                total,
                number: 0,
                is_last: false,
            },
            place: [0; 3],
            rate: RATE >> request.slower.min(MAX_SLOWER),
            since: now,
        });
    }

    /// Ends the answer.
    pub(super) fn end(&mut self, now: u32) {
        if let Some(answer) = self.answer.take() {
            self.last = Some((answer.part.request, now));
        }
    }

    /// The time in jiffies until something is to be done; `None` if there is no request.
    pub(super) fn wait(&self, now: u32) -> Option<u32> {
        if self.answer.is_some() {
            return Some(STEP);
        }
        let pending = self.pending?;
        let left = |time: u32| time.wrapping_sub(now) as i32;
        let left = match self.allowed {
            0 => left(pending.due).max(left(self.allowed_since.wrapping_add(INTERVAL))),
            _ => left(pending.due),
        };
        Some(left.max(STEP as i32) as u32)
    }
}

impl Answer {
    /// Returns how many conns are to be sent now: those of 40 ms at most.
    pub(super) fn budget(&mut self, now: u32) -> u32 {
        let passed = now.wrapping_sub(self.since).min(SECOND / 25);
        self.since = now;
        passed.wrapping_mul(self.rate) / SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(request: u32, total: u32) -> Part {
        Part {
            request,
            answer: 9,
            total,
            number: 0,
            is_last: false,
        }
    }

    fn numbered(number: u32) -> Request {
        Request { number, slower: 0 }
    }

    /// Whether an answer begins.
    fn begins(answers: &mut Answers, total: u32, now: u32) -> bool {
        answers.begin(total, 3, now);
        answers.answer.is_some()
    }

    #[test]
    fn delays() {
        let mut answers = Answers::new(0);
        assert_eq!(answers.wait(0), None);
        answers.requested(numbered(1), true, 0, 0);
        assert!(begins(&mut answers, 5, 0));
        let answer = answers.answer.as_ref().unwrap();
        assert_eq!((answer.part.request, answer.part.total), (1, 5));
        for (is_master, least, most) in [(true, 0, SECOND / 10), (false, SECOND / 5, SECOND)] {
            for random in [0, 7, 12345, u64::MAX] {
                let mut answers = Answers::new(0);
                answers.requested(numbered(1), is_master, random, 0);
                let wait = answers.wait(0).unwrap();
                assert!(wait >= least.max(STEP) && wait < most);
                assert!(wait == STEP || !begins(&mut answers, 5, wait - 1));
                assert!(begins(&mut answers, 5, wait));
            }
        }
    }

    #[test]
    fn without_conns_there_is_no_answer() {
        let mut answers = Answers::new(0);
        answers.requested(numbered(1), true, 0, 0);
        assert!(!begins(&mut answers, 0, SECOND));
        assert!(!begins(&mut answers, 5, SECOND));
    }

    #[test]
    fn another_answer() {
        for (request, total, is_enough) in [
            (1, 1000, true),
            (1, 2000, true),
            (1, 970, true),
            (1, 900, false),
            (2, 1000, false),
        ] {
            let mut answers = Answers::new(0);
            answers.requested(numbered(1), false, 0, 0);
            answers.part_received(&part(request, total), 1000);
            assert_eq!(begins(&mut answers, 1000, SECOND), !is_enough, "{total}");
        }
    }

    #[test]
    fn a_request_is_answered_once() {
        let mut answers = Answers::new(0);
        answers.requested(numbered(1), true, 0, 0);
        assert!(begins(&mut answers, 5, 0));
        answers.requested(numbered(1), true, 0, 1);
        answers.end(5);
        answers.requested(numbered(1), true, 0, 6);
        assert!(!begins(&mut answers, 5, SECOND));
        // The answer was lost.
        answers.requested(numbered(1), true, 0, SECOND);
        assert!(begins(&mut answers, 5, SECOND));
        // Another request meanwhile.
        answers.requested(numbered(2), true, 0, SECOND);
        answers.end(SECOND);
        assert!(begins(&mut answers, 5, SECOND));
    }

    #[test]
    fn the_number_of_answers_is_limited() {
        for from in [0, 0_u32.wrapping_sub(60 * SECOND)] {
            let mut answers = Answers::new(from);
            let mut times = vec![];
            for passed in 0..200 {
                let now = from.wrapping_add(passed * SECOND);
                answers.requested(numbered(passed), true, 0, now);
                if begins(&mut answers, 5, now) {
                    times.push(passed);
                    answers.end(now);
                }
            }
            assert_eq!(times, [0, 1, 2, 3, 30, 60, 90, 120, 150, 180]);
        }
    }

    #[test]
    fn the_rate() {
        let mut answers = Answers::new(0);
        answers.requested(numbered(1), true, 0, 0);
        assert!(begins(&mut answers, 100_000, 0));
        let answer = answers.answer.as_mut().unwrap();
        assert_eq!(answer.budget(0), 0);
        let (mut now, mut sent) = (0, 0);
        while sent < 100_000 {
            now += STEP;
            sent += answer.budget(now);
        }
        assert!(now >= 5 * SECOND - STEP && now <= 5 * SECOND + STEP);
        assert_eq!(answer.budget(now + 100 * SECOND), 800);
        for (slower, want) in [(1, 400), (4, 50), (5, 50), (u32::MAX, 50)] {
            let mut answers = Answers::new(0);
            answers.requested(Request { number: 1, slower }, true, 0, 0);
            assert!(begins(&mut answers, 100_000, 0));
            assert_eq!(answers.answer.as_mut().unwrap().budget(SECOND), want);
        }
    }
}
