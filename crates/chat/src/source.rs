//! The source of a chat template, rewritten where `minijinja` does not read what Jinja2 and `transformers` read.
//!
//! * `{% generation %}…{% endgeneration %}`, with which `transformers` marks what the assistant said, becomes a block
//!   that only opens a scope, as it does there when nobody asks for the marks.
//! * The operator `%`, which formats where a string stands before it, becomes the filter
//!   [`percent`](crate::python::percent), which binds to the same operands.
//! * `tools == none` becomes the test `tools is none`, which is also true of what stands here for tools that are not there
//!   ([`nothing`](crate::python::nothing)); so do other comparisons with `none`.
//!
//! Text, comments, raw blocks and strings stay as they are, and so do the numbers of lines.

/// `template` as `minijinja` can read it. What is malformed stays so, for the parser to refuse.
pub(crate) fn readable(template: &str) -> String {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = ["{{", "{%", "{#"].iter().filter_map(|open| rest.find(open)).min() {
        let (text, tagged) = rest.split_at(at);
        let end = match &tagged[..2] {
            "{#" => tagged.find("#}").map(|end| end + 2),
            "{%" => end_of_code(tagged, "%}"),
            _ => end_of_code(tagged, "}}"),
        };
        let (tag, after) = tagged.split_at(end.unwrap_or(tagged.len()));
        out += text;
        rest = after;
        match statement(tag) {
            _ if tag.starts_with("{#") => out += tag,
            Some("raw") => {
                let (raw, after) = rest.split_at(end_of_raw(rest));
                out += tag;
                out += raw;
                rest = after;
            }
            Some("generation") => out += &tag.replacen("generation", "with", 1),
            Some("endgeneration") => out += &tag.replacen("endgeneration", "endwith", 1),
            _ => out += &with_percent(&with_tests_for_none(tag)),
        }
    }
    out + rest
}

/// The first word of a `{% … %}`.
fn statement(tag: &str) -> Option<&str> {
    let code = tag.strip_prefix("{%")?.trim_start_matches(['-', '+']).trim_start();
    Some(&code[..code.find(|c| !is_of_word(c)).unwrap_or(code.len())])
}

/// Where a tag ends: past the `close` that stands neither in a string nor in brackets.
fn end_of_code(tag: &str, close: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut at = 2;
    while let Some(c) = tag[at..].chars().next() {
        if depth == 0 && tag[at..].starts_with(close) {
            return Some(at + close.len());
        }
        match c {
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += if c == '"' || c == '\'' { length_of_string(&tag[at..]) } else { c.len_utf8() };
    }
    None
}

/// Where the `{% endraw %}` begins.
fn end_of_raw(text: &str) -> usize {
    let mut tags = text.match_indices("{%");
    tags.find(|(at, _)| statement(&text[*at..]) == Some("endraw")).map_or(text.len(), |(at, _)| at)
}

/// Bytes of the string that `text` begins with, its quotes included.
fn length_of_string(text: &str) -> usize {
    let mut characters = text.char_indices();
    let quote = characters.next().map(|(_, c)| c);
    while let Some((at, c)) = characters.next() {
        if c == '\\' {
            characters.next();
        } else if Some(c) == quote {
            return at + c.len_utf8();
        }
    }
    text.len()
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// What `tag` is written with, white space left out.
fn tokens(tag: &str) -> Vec<(usize, &str)> {
    let (mut tokens, mut at) = (Vec::new(), 0);
    while let Some(c) = tag[at..].chars().next() {
        let rest = &tag[at..];
        let length = match c {
            '"' | '\'' => length_of_string(rest),
            c if is_of_word(c) => rest.find(|c| !is_of_word(c)).unwrap_or(rest.len()),
            '*' if rest.starts_with("**") => 2,
            '{' if rest.starts_with("{%") => 2,
            '%' if rest == "%}" => 2,
            c => c.len_utf8(),
        };
        if !c.is_whitespace() {
            tokens.push((at, &rest[..length]));
        }
        at += length;
    }
    tokens
}

/// Words that are operators or belong to a statement, not operands.
const KEYWORDS: [&str; 11] = ["and", "or", "not", "in", "is", "if", "elif", "else", "set", "for", "recursive"];

/// Goes through `tokens` and knows at each whether the operand that it belongs to is a chain so far, a product or a sum:
/// `step` says what it is from an operator on. `None` leaves that to what most tokens mean: attributes, filters, names and
/// strings go on, anything else begins anew, and brackets have an operand of their own.
fn walk(tokens: &[(usize, &str)], mut step: impl FnMut(usize, bool) -> Option<bool>) {
    let mut chains = vec![false];
    for (i, (_, token)) in tokens.iter().enumerate() {
        let so_far = chains.last().copied().unwrap_or(false);
        match *token {
            "(" | "[" | "{" => chains.push(false),
            ")" | "]" | "}" => drop(chains.pop()),
            token => {
                let goes_on = matches!(token, "." | "|") || is_operand(token);
                let now = step(i, so_far).unwrap_or(goes_on && so_far);
                if let Some(chain) = chains.last_mut() {
                    *chain = now;
                }
            }
        }
    }
}

/// `tag` with each operator `%` as a filter. A product before it, as in `a * b % c`, would bind otherwise: there it stays,
/// as do a test or a power after it.
fn with_percent(tag: &str) -> String {
    let tokens = tokens(tag);
    let mut edits: Vec<(usize, &str, &str)> = Vec::new();
    walk(&tokens, |i, in_product| match tokens[i] {
        (_, "%") if in_product || i == 0 || !ends_operand(tokens[i - 1].1) => Some(in_product),
        (at, "%") => match operand(&tokens, i + 1) {
            Some(end) if !matches!(tokens.get(end), Some((_, "is" | "**"))) => {
                let (last, text) = tokens[end - 1];
                edits.push((at, "%", "|percent("));
                edits.push((last + text.len(), "", ")"));
                Some(false)
            }
            _ => Some(true),
        },
        (_, "*" | "**" | "/") => Some(true),
        _ => None,
    });
    edited(tag, edits)
}

/// `tag` with comparisons with `none` as tests, `a == none` and `none == a` alike. At the end of a sum it stays, where a
/// test would belong to the last summand.
fn with_tests_for_none(tag: &str) -> String {
    let tokens = tokens(tag);
    let text = |i: usize| tokens.get(i).map_or("", |(_, text)| *text);
    let test = |i: usize| match (text(i), text(i + 1)) {
        ("=", "=") => Some((" is none", "==")),
        ("!", "=") => Some((" is not none", "!=")),
        _ => None,
    };
    let is_none = |i: usize| matches!(text(i), "none" | "None");
    let is_arithmetic = |i: usize| matches!(text(i), "+" | "-" | "*" | "**" | "/" | "~" | "%");
    let follows_operand = |i: usize| i > 0 && ends_operand(text(i - 1));
    let mut edits: Vec<(usize, &str, &str)> = Vec::new();
    walk(&tokens, |i, in_sum| {
        let (at, token) = tokens[i];
        if is_arithmetic(i) {
            return Some(follows_operand(i));
        }
        if let Some((new, sign)) = test(i) {
            if is_none(i + 2) && follows_operand(i) && !in_sum {
                let (none, text) = tokens[i + 2];
                edits.extend([(at, sign, new), (none, text, "")]);
            }
            return Some(false);
        }
        let begins = is_none(i) && !in_sum && !follows_operand(i) && (i == 0 || !matches!(text(i - 1), "." | "|"));
        if begins
            && let (Some((new, sign)), Some(end)) = (test(i + 1), operand(&tokens, i + 3))
            && !is_none(i + 3)
            && !is_arithmetic(end)
            && text(end) != "is"
        {
            let (last, operand) = tokens[end - 1];
            edits.extend([(at, token, ""), (tokens[i + 1].0, sign, ""), (last + operand.len(), "", new)]);
        }
        None
    });
    edited(tag, edits)
}

/// `tag` with each edit: where, what stands there, and what comes instead.
fn edited(tag: &str, mut edits: Vec<(usize, &str, &str)>) -> String {
    edits.sort_by_key(|&(at, old, _)| (at, old.len()));
    let (mut out, mut from) = (String::new(), 0);
    for (at, old, new) in edits {
        out += &tag[from..at];
        out += new;
        from = at + old.len();
    }
    out + &tag[from..]
}

/// A name, a number or a string.
fn is_operand(token: &str) -> bool {
    token.starts_with(['"', '\'']) || token.starts_with(is_of_word) && !KEYWORDS.contains(&token)
}

fn ends_operand(token: &str) -> bool {
    token.ends_with([')', ']', '}']) || is_operand(token)
}

/// Past the operand that begins at token `i`, with what binds to it more tightly than `%`: attributes, subscripts, calls
/// and filters.
fn operand(tokens: &[(usize, &str)], mut i: usize) -> Option<usize> {
    let text = |i: usize| tokens.get(i).map_or("", |(_, text)| *text);
    while matches!(text(i), "-" | "+") {
        i += 1;
    }
    i = match text(i) {
        "(" | "[" | "{" => closing(tokens, i)?,
        word if word.starts_with(is_of_word) && !KEYWORDS.contains(&word) => i + 1,
        string if string.starts_with(['"', '\'']) => i + 1,
        _ => return None,
    };
    loop {
        i = match text(i) {
            "." | "|" if text(i + 1).starts_with(is_of_word) => i + 2,
            "(" | "[" => closing(tokens, i)?,
            _ => return Some(i),
        }
    }
}

/// Past the bracket that closes the one at token `i`.
fn closing(tokens: &[(usize, &str)], i: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (j, (_, token)) in tokens.iter().enumerate().skip(i) {
        match *token {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return Some(j + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn generation_becomes_a_scope_and_keeps_its_white_space() {
        for (source, expected) in [
            ("a\n  {% generation %}\nb{%- endgeneration -%} c", "a\n  {% with %}\nb{%- endwith -%} c"),
            ("{%-generation%}{%+  endgeneration  +%}", "{%-with%}{%+  endwith  +%}"),
            ("{# {% generation %} #}{{ '{% generation %}' }}", "{# {% generation %} #}{{ '{% generation %}' }}"),
            ("{% raw %}{% generation %}{%- endraw %}", "{% raw %}{% generation %}{%- endraw %}"),
            ("{% set x = \"%}{% generation %}\\\"\" %}", "{% set x = \"%}{% generation %}\\\"\" %}"),
            ("{{ generation }}{% if generation %}", "{{ generation }}{% if generation %}"),
            ("{{ {'a': {'b': '}}'}} }}{% generation %}", "{{ {'a': {'b': '}}'}} }}{% with %}"),
        ] {
            assert_eq!(readable(source), expected);
        }
    }

    #[test]
    fn percent_becomes_a_filter_that_binds_alike() {
        for (source, expected) in [
            ("{{ '%s' % x }}", "{{ '%s' |percent( x) }}"),
            ("{{ loop.index0 % 2 == 0 }}", "{{ loop.index0 |percent( 2) == 0 }}"),
            ("{{ a ~ f % (b, c) ~ d }}", "{{ a ~ f |percent( (b, c)) ~ d }}"),
            ("{{ f[0] % g(x).y[1]|trim }}", "{{ f[0] |percent( g(x).y[1]|trim) }}"),
            ("{{ a % b % c }}", "{{ a |percent( b) |percent( c) }}"),
            ("{{ a % (b % c) }}", "{{ a |percent( (b |percent( c))) }}"),
            ("{{ a * b % c + d % e }}", "{{ a * b % c + d |percent( e) }}"),
            ("{{ x if a % 2 else y % -3 }}", "{{ x if a |percent( 2) else y |percent( -3) }}"),
            ("{%- if a % 2 -%}100 % b{% endif %}", "{%- if a |percent( 2) -%}100 % b{% endif %}"),
            ("{{ '100 % sure' }}{# a % b #}", "{{ '100 % sure' }}{# a % b #}"),
        ] {
            assert_eq!(readable(source), expected);
        }
    }

    #[test]
    fn a_comparison_with_none_becomes_a_test() {
        for (source, expected) in [
            ("{% if tools == none %}", "{% if tools  is none  %}"),
            ("{%- if tools!=None and not (docs) == none -%}", "{%- if tools is not none and not (docs)  is none  -%}"),
            ("{{ none == tools }}{{ x if None != m['a'] }}", "{{   tools is none }}{{ x if   m['a'] is not none }}"),
            ("{{ a ~ b == none }}{{ none == a + 1 }}", "{{ a ~ b == none }}{{ none == a + 1 }}"),
            ("{{ tools == nonesuch }}{{ f(x == none) }}", "{{ tools == nonesuch }}{{ f(x  is none ) }}"),
            ("{{ 'tools == none' }}tools == none", "{{ 'tools == none' }}tools == none"),
        ] {
            assert_eq!(readable(source), expected);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

        #[test]
        fn any_text_is_read(parts in prop::collection::vec(prop::sample::select(vec![
            "{{", "}}", "{%", "%}", "{#", "#}", "%", "'", "\"", "\\", "raw", "endraw", "generation", "(", ")", "[", "]",
            "{", "}", " ", "\n", "é", "a", "-", "*", "|", ".", "is", "1",
        ]), 0..30)) {
            let source = parts.concat();
            let out = readable(&source);
            // Without the two things that are rewritten, nothing is.
            if !source.contains("generation") && !source.replace("{%", "").replace("%}", "").contains('%') {
                prop_assert_eq!(out, source);
            }
        }
    }
}
