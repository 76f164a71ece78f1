//! Stop strings: ends a growing text before the first that appears, wherever the text is cut.

/// Looks for strings in a text that comes in pieces.
#[derive(Clone, Debug)]
pub(crate) struct StopStrings {
    stops: Vec<String>,
    /// The beginning of what may become a stop string.
    held: String,
    /// The one that ended the text.
    found: Option<String>,
}

impl StopStrings {
    /// Empty strings are ignored.
    pub(crate) fn new(mut stops: Vec<String>) -> StopStrings {
        stops.retain(|stop| !stop.is_empty());
        StopStrings { stops, held: String::new(), found: None }
    }

    /// Adds text. Returns what is certain to come before any stop string, and whether one is complete.
    pub(crate) fn push(&mut self, text: &str) -> (String, bool) {
        let mut text = std::mem::take(&mut self.held) + text;
        // The one that is complete first; of those that end together, the longest.
        let found = self.stops.iter().filter_map(|stop| Some((text.find(stop)?, stop)));
        if let Some((at, stop)) = found.min_by_key(|&(at, stop)| (at + stop.len(), at)) {
            text.truncate(at);
            self.found = Some(stop.clone());
            return (text, true);
        }
        let held = begun(&text, self.stops.iter().map(String::as_str));
        self.held = text.split_off(text.len() - held);
        (text, false)
    }

    /// The stop string that ended the text.
    pub(crate) fn found(&self) -> Option<&str> {
        self.found.as_deref()
    }

    /// Ends the text: the beginning of a stop string that never came is text.
    pub(crate) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// Bytes at the end of `text` that are the beginning of one of `marks`, but not all of it.
pub(crate) fn begun<'m>(text: &str, marks: impl Iterator<Item = &'m str>) -> usize {
    let of = |mark: &str| {
        let lengths = (1..mark.len()).rev().filter(|&n| mark.is_char_boundary(n));
        lengths.into_iter().find(|&n| text.ends_with(&mark[..n])).unwrap_or(0)
    };
    marks.map(of).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Character by character, keeping the whole text.
    fn slow(stops: &[String], text: &str) -> (String, bool) {
        let mut seen = String::new();
        for c in text.chars() {
            seen.push(c);
            let ending = stops.iter().filter(|stop| !stop.is_empty() && seen.ends_with(*stop)).map(String::len).max();
            if let Some(len) = ending {
                seen.truncate(seen.len() - len);
                return (seen, true);
            }
        }
        (seen, false)
    }

    proptest! {
        #[test]
        fn equals_the_slow_search(
            stops in prop::collection::vec("[abé]{0,4}", 0..4),
            pieces in prop::collection::vec("[abcé]{0,5}", 0..8),
        ) {
            let mut fast = StopStrings::new(stops.clone());
            let (mut out, mut stopped) = (String::new(), false);
            for piece in &pieces {
                let (text, now) = fast.push(piece);
                out += &text;
                stopped = now;
                if stopped {
                    break;
                }
            }
            if !stopped {
                out += &fast.finish();
            }
            prop_assert_eq!((out, stopped), slow(&stops, &pieces.concat()));
        }
    }
}
