//! Speculation: one pass checks several guesses at once (Leviathan et al. 2023). They come from n-grams of the sequence
//! itself, because what followed the last time that it had these tokens may follow again (Saxena 2023, prompt lookup
//! decoding), or from the model's module for multi-token prediction (`mtp.rs`).
//!
//! A token is drawn from every checked row as it would be without guesses, by its own number of the request's random
//! stream; a guess only decides whether the row after it was computed for nothing. So the answer is the same bit by bit,
//! and when to guess may be decided by the clock.

use std::collections::HashMap;
use std::time::Duration;

/// Tokens by which an earlier place is recognized.
pub(crate) const GRAM: usize = 3;

/// How fast old observations fade.
const FADING: f64 = 0.1;

/// Tokens after which a sequence whose guesses were wrong guesses again.
const REST: usize = 32;

/// Guesses for one sequence: by its own n-grams where these promise something, else the one that the model's module for
/// multi-token prediction made after the last pass.
#[derive(Default)]
pub(crate) struct Drafts {
    /// Where each run of tokens was followed last.
    followed: HashMap<[u32; GRAM], usize>,
    /// Tokens whose runs are in there.
    known: usize,
    grams: Trust,
    module: Trust,
    /// What the module says comes next.
    said: Option<u32>,
    /// Whether what is tried now is what the module said.
    is_by_module: bool,
}

/// How likely guesses must be to pay for what they cost.
#[derive(Clone, Copy)]
pub(crate) struct Bars {
    /// Guesses that are there already.
    pub(crate) grams: f64,
    /// Guesses that the module has to make first.
    pub(crate) module: f64,
}

impl Drafts {
    /// What may follow `tokens`, at most `most` tokens; of n-grams only such as are likelier to be right than `bar`. That
    /// of the module was judged before it was made.
    pub(crate) fn next(&mut self, tokens: &[u32], most: usize, bar: f64) -> Vec<u32> {
        self.is_by_module = false;
        if most == 0 {
            return Vec::new();
        }
        // The last run is looked up before it is known.
        for end in self.known.max(GRAM)..tokens.len() {
            self.followed.extend(run(&tokens[..end]).map(|run| (run, end)));
        }
        self.known = tokens.len();
        if let Some(&at) = run(tokens).and_then(|run| self.followed.get(&run)) {
            self.grams.rested += 1;
            let count = self.grams.count(most, bar);
            if count > 0 {
                return tokens[at..].iter().copied().take(count).collect();
            }
        }
        self.is_by_module = self.said.is_some();
        self.said.into_iter().collect()
    }

    /// Whether the module is to say what follows a text that ends with the tokens `end`: it is likely enough to be right, and
    /// no n-gram says it for nothing.
    pub(crate) fn wants_module(&self, end: &[u32], bars: Bars) -> bool {
        let is_known = run(end).is_some_and(|run| self.followed.contains_key(&run));
        self.module.count(1, bars.module) > 0 && !(is_known && self.grams.count(1, bars.grams) > 0)
    }

    /// What the module says comes after the tokens that are there now, if it was asked.
    pub(crate) fn hear(&mut self, said: Option<u32>) {
        self.module.rested += usize::from(said.is_none());
        self.said = said;
    }

    /// Whether what is tried now is what the module said.
    pub(crate) fn is_by_module(&self) -> bool {
        self.is_by_module
    }

    /// Of `tried` guesses the first `right` came true.
    pub(crate) fn learn(&mut self, right: usize, tried: usize) {
        let trust = if self.is_by_module { &mut self.module } else { &mut self.grams };
        for at in 0..tried.min(right + 1) {
            trust.right += FADING * (f64::from(u8::from(at < right)) - trust.right);
            trust.rested = 0;
        }
    }
}

/// The last tokens, by which a place is recognized.
fn run(tokens: &[u32]) -> Option<[u32; GRAM]> {
    tokens.last_chunk().copied()
}

/// How guesses of one kind did.
struct Trust {
    /// Share of them that came true of late.
    right: f64,
    /// Tokens since the last one, of those for which there could have been one.
    rested: usize,
}

impl Default for Trust {
    fn default() -> Trust {
        Trust { right: 0.5, rested: 0 }
    }
}

impl Trust {
    /// How many guesses in a row, at most `most`, are likelier to be right than `bar`; one that tries again after a rest.
    fn count(&self, most: usize, bar: f64) -> usize {
        let promising = (1..=most as i32).take_while(|&n| self.right.powi(n) > bar).count();
        if self.rested > REST { promising.max(1) } else { promising }
    }
}

/// What rows cost in passes of one kind: `seconds ≈ pass + row · rows`, by least squares over fading observations. Passes of
/// the main model that only write have one, and guesses of the module.
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

    /// How likely guesses must be to pay for their rows, in a pass of this cost that writes `rows` tokens anyway: one row's
    /// share of the time that a token takes. Where the module has to make them first, at the cost `guessing`, its time is
    /// added to that of the rows. As long as no pass was seen, a row counts as an eighth of one, and the module as nothing.
    pub(crate) fn bars(&self, rows: usize, guessing: &Cost) -> Bars {
        let rows = rows as f64;
        let (pass, row, guesses) = match (self.line(), guessing.line()) {
            (None, _) => (8.0, 1.0, 0.0),
            (Some((pass, row)), None) => (pass, row, 0.0),
            (Some((pass, row)), Some((once, each))) => (pass, row, once + each * rows),
        };
        let whole = (pass + row * rows).max(f64::MIN_POSITIVE);
        Bars { grams: row * rows / whole, module: (row * rows + guesses) / whole }
    }

    /// Seconds of a pass and of each row; `None` as long as nothing was seen.
    fn line(&self) -> Option<(f64, f64)> {
        let [n, x, xx, y, xy] = self.sums;
        if y <= 0.0 {
            return None;
        }
        let spread = n * xx - x * x;
        let row = if spread > 1e-9 * xx { ((n * xy - x * y) / spread).max(0.0) } else { y / (x + 8.0 * n) };
        Some((((y - row * x) / n).max(0.0), row))
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
        let (mut cost, mut guessing) = (Cost::default(), Cost::default());
        let bars = |cost: &Cost, guessing: &Cost| {
            let [one, many] = [cost.bars(1, guessing), cost.bars(8, guessing)];
            [one.grams, many.grams, one.module, many.module]
        };
        let near = |bars: [f64; 4], wanted: [f64; 4]| bars.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-3);
        assert!(near(bars(&cost, &guessing), [1.0 / 9.0, 0.5, 1.0 / 9.0, 0.5]));
        for i in 0..200 {
            let rows = 1 + i % 4;
            cost.observe(rows, Duration::from_micros(4000 + 500 * rows as u64));
        }
        // As long as the module has made no guess, it costs nothing.
        assert!(near(bars(&cost, &guessing), [1.0 / 9.0, 0.5, 1.0 / 9.0, 0.5]));
        for i in 0..200 {
            let rows = 1 + i % 4;
            guessing.observe(rows, Duration::from_micros(400 + 50 * rows as u64));
        }
        assert!(near(bars(&cost, &guessing), [1.0 / 9.0, 0.5, 0.95 / 4.5, 4.8 / 8.0]));
    }

    #[test]
    fn the_module_is_asked_where_no_n_gram_knows_and_rests_where_it_is_wrong() {
        let (tokens, bars) = ([1, 2, 3, 4, 5, 1, 2, 3], Bars { grams: 0.3, module: 0.4 });
        let mut drafts = Drafts::default();
        assert!(drafts.wants_module(&[1, 2], bars) && drafts.wants_module(&tokens, bars));
        drafts.hear(Some(9));
        assert_eq!((drafts.next(&tokens, 1, 0.3), drafts.is_by_module()), (vec![4], false), "n-grams come first");
        assert!(!drafts.wants_module(&tokens, bars) && drafts.wants_module(&[7, 7, 7], bars));
        assert!(!drafts.wants_module(&[7, 7, 7], Bars { grams: 0.3, module: 0.6 }), "it costs more than it gives");
        drafts.learn(0, 1);
        drafts.learn(0, 1);
        drafts.learn(0, 1);
        drafts.learn(0, 1);
        drafts.learn(0, 1);
        // Now that n-grams were wrong, it is asked here too.
        assert!(drafts.wants_module(&tokens, bars));
        assert_eq!((drafts.next(&tokens, 4, 0.3), drafts.is_by_module()), (vec![9], true));
        assert!(drafts.next(&tokens, 0, 0.3).is_empty() && !drafts.is_by_module());
        // Its own errors are counted apart.
        let mut asked = 0;
        for _ in 0..200 {
            let said = drafts.wants_module(&[7, 7, 7], bars).then_some(9);
            drafts.hear(said);
            let tried = drafts.next(&[7, 7], 4, 0.3).len();
            assert!(tried == usize::from(said.is_some()) && drafts.is_by_module() == said.is_some());
            drafts.learn(0, tried);
            asked += tried;
        }
        assert!((5..15).contains(&asked), "{asked} times");
    }
}
