//! Speculation by n-grams of the sequence itself: what followed the last time that it had these tokens may follow again
//! (Saxena 2023, prompt lookup decoding), and one pass checks several guesses at once (Leviathan et al. 2023).
//!
//! A token is drawn from every checked row as it would be without guesses, by its own number of the request's random
//! stream; a guess only decides whether the row after it was computed for nothing. So the answer is the same bit by bit,
//! and when to guess may be decided by the clock.

use std::collections::HashMap;
use std::time::Duration;

/// Tokens by which an earlier place is recognized.
const GRAM: usize = 3;

/// How fast old observations fade.
const FADING: f64 = 0.1;

/// Tokens after which a sequence whose guesses were wrong guesses again.
const REST: usize = 32;

/// Guesses for one sequence.
pub(crate) struct Drafts {
    /// Where each run of tokens was followed last.
    followed: HashMap<[u32; GRAM], usize>,
    /// Tokens whose runs are in there.
    known: usize,
    /// Share of guesses that came true of late.
    right: f64,
    /// Tokens since the last guess.
    rested: usize,
}

impl Default for Drafts {
    fn default() -> Drafts {
        Drafts { followed: HashMap::new(), known: 0, right: 0.5, rested: 0 }
    }
}

impl Drafts {
    /// What may follow `tokens`, at most `most` tokens, and only such as are likelier to be right than `bar`.
    pub(crate) fn next(&mut self, tokens: &[u32], most: usize, bar: f64) -> Vec<u32> {
        if most == 0 || tokens.len() < GRAM {
            return Vec::new();
        }
        let run = |end: usize| -> Option<[u32; GRAM]> { tokens.get(end.checked_sub(GRAM)?..end)?.try_into().ok() };
        // The last run is looked up before it is known.
        for end in self.known.max(GRAM)..tokens.len() {
            self.followed.extend(run(end).map(|run| (run, end)));
        }
        self.known = tokens.len();
        let Some(&at) = run(tokens.len()).and_then(|run| self.followed.get(&run)) else { return Vec::new() };
        self.rested += 1;
        let promising = (1..=most as i32).take_while(|&n| self.right.powi(n) > bar).count();
        let count = if self.rested > REST { promising.max(1) } else { promising };
        tokens[at..].iter().copied().take(count).collect()
    }

    /// Of `tried` guesses the first `right` came true.
    pub(crate) fn learn(&mut self, right: usize, tried: usize) {
        for at in 0..tried.min(right + 1) {
            self.right += FADING * (f64::from(u8::from(at < right)) - self.right);
            self.rested = 0;
        }
    }
}

/// What rows cost in passes that only write: `seconds ≈ pass + row · rows`, by least squares over fading observations.
#[derive(Default)]
pub(crate) struct Cost {
    /// Sums of 1, rows, rows², seconds, rows · seconds.
    sums: [f64; 5],
}

impl Cost {
    /// A pass over `rows` rows took `time`.
    pub(crate) fn observe(&mut self, rows: usize, time: Duration) {
        let (rows, seconds) = (rows as f64, time.as_secs_f64());
        for (sum, x) in self.sums.iter_mut().zip([1.0, rows, rows * rows, seconds, rows * seconds]) {
            *sum += FADING / 4.0 * (x - *sum);
        }
    }

    /// How likely a guess must be to pay for its row, in a pass that writes `rows` tokens anyway: one row's share of the
    /// time that a token takes. An eighth of a pass for a row, as long as nothing else was seen.
    pub(crate) fn bar(&self, rows: usize) -> f64 {
        let [n, x, xx, y, xy] = self.sums;
        let rows = rows as f64;
        if y <= 0.0 {
            return rows / (rows + 8.0);
        }
        let spread = n * xx - x * x;
        let row = if spread > 1e-9 * xx { ((n * xy - x * y) / spread).max(0.0) } else { y / (x + 8.0 * n) };
        let pass = ((y - row * x) / n).max(0.0);
        row * rows / (pass + row * rows).max(f64::MIN_POSITIVE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_followed_last_is_guessed() {
        let mut drafts = Drafts::default();
        assert!(drafts.next(&[1, 2, 3], 4, 0.0).is_empty());
        let tokens = [1, 2, 3, 4, 5, 1, 2, 3, 6, 7, 1, 2, 3];
        assert_eq!(drafts.next(&tokens, 4, 0.0), [6, 7, 1, 2]);
        assert!(drafts.next(&tokens, 0, 0.0).is_empty());
        // Half, a quarter: what is less likely than the bar is left out.
        assert_eq!(drafts.next(&tokens, 4, 0.2), [6, 7]);
        assert_eq!(Drafts::default().next(&[7, 7, 7, 7, 7], 4, 0.0), [7]);
    }

    #[test]
    fn who_is_wrong_rests() {
        let (tokens, mut drafts) = ([1, 2, 3, 4, 5, 1, 2, 3], Drafts::default());
        let mut guessed = 0;
        for _ in 0..200 {
            let count = drafts.next(&tokens, 4, 0.15).len();
            drafts.learn(0, count);
            guessed += count;
        }
        assert!((10..40).contains(&guessed), "{guessed} guesses");
        for _ in 0..40 {
            drafts.learn(4, 4);
        }
        assert_eq!(drafts.next(&tokens, 4, 0.85).len(), 4);
    }

    #[test]
    fn the_bar_is_a_row_s_share() {
        let mut cost = Cost::default();
        assert!((cost.bar(8) - 0.5).abs() < 1e-9);
        for i in 0..200 {
            let rows = 1 + i % 4;
            cost.observe(rows, Duration::from_micros(4000 + 500 * rows as u64));
        }
        assert!((cost.bar(1) - 1.0 / 9.0).abs() < 1e-3 && (cost.bar(8) - 0.5).abs() < 1e-3, "{}", cost.bar(8));
    }
}
