//! How many requests and tokens a key may have a minute: two token buckets for each key, in memory.
//!
//! A bucket of `limit` a minute holds `limit` when it is full, and `limit / 60` flow in each second. What is taken may
//! leave it in debt: an answer's tokens are known when it is over. Amounts are whole numbers of 1/(60 · 10⁹), of which
//! `limit` flow in each nanosecond, so that nothing is rounded.
//!
//! The clock is an argument. One that goes backwards stops the inflow until it is where it was.
//!
//! Left out: a memory over restarts, after which all buckets are full.

use crate::{Limits, Refusal, Timestamp};
use std::collections::HashMap;
use std::time::Duration;

/// Amounts in one request or token: nanoseconds in a minute.
const UNIT: i128 = 60_000_000_000;

/// The buckets of all keys that came by.
#[derive(Default)]
pub(crate) struct Limiter(HashMap<i64, Buckets>);

#[derive(Default)]
struct Buckets {
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
}

impl Limiter {
    /// Takes one request from `key`, if there is one and tokens are left. A refusal takes nothing.
    pub fn admit(&mut self, key: i64, limits: &Limits, now: Timestamp) -> Result<(), Refusal> {
        if limits.requests_per_minute.is_none() && limits.tokens_per_minute.is_none() {
            return Ok(());
        }
        let buckets = self.0.entry(key).or_default();
        let requests = Bucket::at(&mut buckets.requests, limits.requests_per_minute, now);
        let tokens = Bucket::at(&mut buckets.tokens, limits.tokens_per_minute, now);
        // Both are asked, so that the client waits once, for the later one.
        let waits = [(&requests, "requests"), (&tokens, "tokens")]
            .map(|(bucket, what)| (bucket.as_ref().and_then(|bucket| bucket.wait(UNIT)), what));
        if let (Some(wait), what) = waits.into_iter().max_by_key(|(wait, _)| *wait).unwrap_or((None, "")) {
            return Err(Refusal::RateLimited { what, retry_after: wait });
        }
        if let Some(requests) = requests {
            requests.level -= UNIT;
        }
        Ok(())
    }

    /// Takes the tokens of an answer.
    pub fn charge(&mut self, key: i64, limits: &Limits, tokens: u64, now: Timestamp) {
        if limits.tokens_per_minute.is_none() {
            return;
        }
        let buckets = self.0.entry(key).or_default();
        if let Some(bucket) = Bucket::at(&mut buckets.tokens, limits.tokens_per_minute, now) {
            bucket.level = bucket.level.saturating_sub(UNIT * i128::from(tokens));
        }
    }
}

struct Bucket {
    limit: u64,
    level: i128,
    /// Nanoseconds since 1970 up to which the inflow is counted.
    counted: i128,
}

impl Bucket {
    /// The bucket in `place` with what flowed in until `now`; a full one if there was none of this limit.
    fn at(place: &mut Option<Bucket>, limit: Option<u64>, now: Timestamp) -> Option<&mut Bucket> {
        let (limit, now) = (limit?, now.as_nanosecond());
        let full = UNIT * i128::from(limit);
        let of_this_limit = place.take().filter(|bucket| bucket.limit == limit);
        let bucket = place.insert(of_this_limit.unwrap_or(Bucket { limit, level: full, counted: now }));
        let inflow = (now - bucket.counted).max(0).saturating_mul(i128::from(limit));
        bucket.level = bucket.level.saturating_add(inflow).min(full);
        bucket.counted = bucket.counted.max(now);
        Some(bucket)
    }

    /// Whole seconds until `amount` is there; `None` if it is.
    fn wait(&self, amount: i128) -> Option<Duration> {
        let missing = (amount - self.level).max(0);
        let in_a_second = 1_000_000_000 * i128::from(self.limit.max(1));
        let seconds = (missing + in_a_second - 1) / in_a_second;
        (missing > 0).then(|| Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(milliseconds).unwrap()
    }

    fn limits(requests: Option<u64>, tokens: Option<u64>) -> Limits {
        Limits { requests_per_minute: requests, tokens_per_minute: tokens, tokens: None }
    }

    fn wait(result: Result<(), Refusal>) -> Option<(&'static str, u64)> {
        match result {
            Err(Refusal::RateLimited { what, retry_after }) => Some((what, retry_after.as_secs())),
            _ => None,
        }
    }

    #[test]
    fn requests_come_back_one_by_one() {
        let (mut limiter, limits) = (Limiter::default(), limits(Some(6), None));
        for _ in 0..6 {
            limiter.admit(1, &limits, at(0)).unwrap();
        }
        assert_eq!(wait(limiter.admit(1, &limits, at(0))), Some(("requests", 10)));
        assert_eq!(wait(limiter.admit(1, &limits, at(9_999))), Some(("requests", 1)));
        limiter.admit(2, &limits, at(0)).unwrap();
        limiter.admit(1, &limits, at(10_000)).unwrap();
        assert_eq!(wait(limiter.admit(1, &limits, at(10_000))), Some(("requests", 10)));
        // A clock that goes backwards gives nothing, and takes nothing either.
        assert_eq!(wait(limiter.admit(1, &limits, at(5_000))), Some(("requests", 10)));
    }

    #[test]
    fn tokens_may_be_owed() {
        let (mut limiter, limits) = (Limiter::default(), limits(None, Some(600)));
        limiter.admit(1, &limits, at(0)).unwrap();
        limiter.charge(1, &limits, 1200, at(0));
        assert_eq!(wait(limiter.admit(1, &limits, at(0))), Some(("tokens", 61)));
        limiter.admit(1, &limits, at(61_000)).unwrap();
        limiter.charge(1, &limits, u64::MAX, at(61_000));
        assert!(wait(limiter.admit(1, &limits, at(62_000))).is_some());
    }

    /// The oracle: time goes by in milliseconds, in each of which `limit` of 60,000 parts of one flow in.
    struct Slow {
        limit: i64,
        level: i64,
        time: i64,
    }

    impl Slow {
        fn new(limit: u64, time: i64) -> Slow {
            Slow { limit: limit as i64, level: 60_000 * limit as i64, time }
        }

        fn advance(&mut self, time: i64) {
            while self.time < time {
                self.time += 1;
                self.level = (self.level + self.limit).min(60_000 * self.limit);
            }
        }

        /// Seconds until there is one, by waiting for them.
        fn wait(&self) -> u64 {
            let mut later = Slow { ..*self };
            (0..)
                .find(|_| {
                    later.level >= 60_000 || {
                        later.advance(later.time + 1000);
                        false
                    }
                })
                .unwrap()
        }
    }

    proptest! {
        #[test]
        fn the_slow_oracle_says_the_same(
            requests in 1u64..100,
            tokens in 1u64..5000,
            events in prop::collection::vec((0i64..4000, prop::option::of(0u64..600)), 1..60),
        ) {
            let (mut limiter, limits) = (Limiter::default(), limits(Some(requests), Some(tokens)));
            let (mut slow_requests, mut slow_tokens) = (Slow::new(requests, 0), Slow::new(tokens, 0));
            limiter.charge(1, &limits, 0, at(0));
            let mut time = 0;
            for (pause, charge) in events {
                time += pause;
                slow_requests.advance(time);
                slow_tokens.advance(time);
                if let Some(charge) = charge {
                    limiter.charge(1, &limits, charge, at(time));
                    slow_tokens.level -= 60_000 * charge as i64;
                    continue;
                }
                let expected = slow_requests.wait().max(slow_tokens.wait());
                let said = wait(limiter.admit(1, &limits, at(time)));
                prop_assert_eq!(said.map_or(0, |(_, seconds)| seconds), expected);
                if expected == 0 {
                    slow_requests.level -= 60_000;
                }
            }
        }
    }
}
