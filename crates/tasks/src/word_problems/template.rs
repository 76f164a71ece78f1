//! Sentences with gaps and choices.

/// A template's text. In `[finds|find]` the second way is taken if `other[1]` is set, in `<has~had>` if `other[0]` is,
/// and for `{key}` stands what `word` says; angles may hold brackets, and both may hold keys.
pub(super) fn fill(template: &str, other: [bool; 2], word: impl Fn(&str) -> String) -> String {
    let ways =
        choose(template, ['<', '~', '>'], |first, second| if other[0] { second.to_owned() } else { first.to_owned() });
    let text =
        choose(&ways, ['[', '|', ']'], |first, second| if other[1] { second.to_owned() } else { first.to_owned() });
    choose(&text, ['{', '}', '}'], |key, _| word(key))
}

/// Puts what `choice` makes of its two parts in the place of each `[one|other]` of these three signs.
fn choose(text: &str, [open, middle, close]: [char; 3], choice: impl Fn(&str, &str) -> String) -> String {
    let mut made = String::new();
    let mut rest = text;
    while let Some((before, (inside, after))) =
        rest.split_once(open).and_then(|(before, behind)| Some((before, behind.split_once(close)?)))
    {
        made += before;
        let (first, second) = inside.split_once(middle).unwrap_or((inside, ""));
        made += &choice(first, second);
        rest = after;
    }
    made + rest
}

/// With a capital at the beginning of every sentence.
pub(super) fn capitalised(text: &str) -> String {
    let mut begins = true;
    let mut made = String::new();
    for c in text.chars() {
        if begins && c.is_alphanumeric() {
            made.extend(c.to_uppercase());
            begins = false;
            continue;
        }
        begins |= matches!(c, '.' | '?' | '!');
        made.push(c);
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_choices() {
        let template = "{A} <[has|have]~had> {n}";
        let word = |key: &str| if key == "A" { "I" } else { "7" }.to_owned();
        assert_eq!(fill(template, [false, false], word), "I has 7");
        assert_eq!(fill(template, [false, true], word), "I have 7");
        assert_eq!(fill(template, [true, true], word), "I had 7");
        assert_eq!(fill("open { and [", [false; 2], word), "open { and [");
        assert_eq!(capitalised("so. it is? \u{439}es"), "So. It is? \u{419}es");
    }
}
