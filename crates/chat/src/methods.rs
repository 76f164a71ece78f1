//! Methods of Python's strings and lists that neither `minijinja` nor its `pycompat` has, for chat templates.
//!
//! Widths are capped, so that a template cannot ask for memory by a number. Left out: what no template has use for, such
//! as `encode`.

use minijinja::value::{Tuple, Value, from_args};
use minijinja::{Error, ErrorKind, State};
use minijinja_contrib::pycompat;

/// The widest that a string is filled up to.
const MAX_WIDTH: usize = 1 << 16;

/// Calls `value.method(arguments)`.
pub(crate) fn call(state: &mut State, value: &Value, method: &str, arguments: &[Value]) -> Result<Value, Error> {
    let known = match value.as_str() {
        Some(text) => of_string(text, method, arguments)?,
        None if method == "index" && value.try_iter().is_ok() => Some(index(value, arguments)?),
        None => None,
    };
    match known {
        Some(result) => Ok(result),
        None => pycompat::unknown_method_callback(state, value, method, arguments),
    }
}

/// `None` for a method that is not here.
fn of_string(text: &str, method: &str, arguments: &[Value]) -> Result<Option<Value>, Error> {
    Ok(Some(match method {
        "rsplit" => {
            let (separator, most): (Option<&str>, Option<i64>) = from_args(arguments)?;
            rsplit(text, separator, most.and_then(|most| usize::try_from(most).ok()))
        }
        "partition" | "rpartition" => {
            let (separator,): (&str,) = from_args(arguments)?;
            let parts = if method == "partition" { text.split_once(separator) } else { text.rsplit_once(separator) };
            let parts = match parts {
                Some((before, after)) => [before, separator, after],
                None if method == "partition" => [text, "", ""],
                None => ["", "", text],
            };
            Value::from(Tuple::from(parts.map(Value::from).to_vec()))
        }
        "removeprefix" | "removesuffix" => {
            let (part,): (&str,) = from_args(arguments)?;
            let rest = if method == "removeprefix" { text.strip_prefix(part) } else { text.strip_suffix(part) };
            Value::from(rest.unwrap_or(text))
        }
        "index" => {
            let (part,): (&str,) = from_args(arguments)?;
            let missing = || Error::new(ErrorKind::InvalidOperation, "substring not found");
            let at = text.find(part).ok_or_else(missing)?;
            Value::from(text[..at].chars().count())
        }
        "ljust" | "rjust" | "center" | "zfill" => {
            let (width, fill): (usize, Option<&str>) = from_args(arguments)?;
            Value::from(filled(text, method, width, fill.unwrap_or(if method == "zfill" { "0" } else { " " })))
        }
        "casefold" => Value::from(text.to_lowercase()),
        "swapcase" => {
            let swapped =
                |c: char| if c.is_uppercase() { c.to_lowercase().to_string() } else { c.to_uppercase().to_string() };
            Value::from(text.chars().map(swapped).collect::<String>())
        }
        _ => return Ok(None),
    }))
}

/// The pieces of `text`, cut from its end at most `most` times: at `separator`, or else at white space.
fn rsplit(text: &str, separator: Option<&str>, most: Option<usize>) -> Value {
    let (mut pieces, mut rest) = (Vec::new(), text);
    if separator.is_none() {
        rest = rest.trim();
    }
    while most.is_none_or(|most| pieces.len() < most) {
        let cut = match separator {
            Some(separator) => rest.rsplit_once(separator),
            None => rest.rsplit_once(char::is_whitespace).map(|(before, after)| (before.trim_end(), after)),
        };
        let Some((before, after)) = cut else { break };
        pieces.push(Value::from(after));
        rest = before;
    }
    if separator.is_some() || !rest.is_empty() {
        pieces.push(Value::from(rest));
    }
    pieces.reverse();
    Value::from(pieces)
}

/// `text` filled up to `width` characters.
fn filled(text: &str, method: &str, width: usize, fill: &str) -> String {
    let lacking = width.min(MAX_WIDTH).saturating_sub(text.chars().count());
    let fill = |count: usize| fill.chars().take(1).collect::<String>().repeat(count);
    match method {
        "ljust" => text.to_owned() + &fill(lacking),
        // Python puts the odd one on the left where the width is odd too.
        "center" => {
            let left = lacking / 2 + (lacking & width & 1);
            fill(left) + text + &fill(lacking - left)
        }
        "zfill" if text.starts_with(['+', '-']) => text[..1].to_owned() + &fill(lacking) + &text[1..],
        _ => fill(lacking) + text,
    }
}

fn index(list: &Value, arguments: &[Value]) -> Result<Value, Error> {
    let (item,): (Value,) = from_args(arguments)?;
    let at = list.try_iter()?.position(|other| other == item);
    at.map(Value::from).ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "the item is not in the list"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn methods_are_those_of_python() {
        let mut environment = minijinja::Environment::new();
        environment.set_unknown_method_callback(super::call);
        // Each right-hand side was printed by Python.
        for (expression, expected) in [
            ("'a,b,c'.rsplit(',', 1)", "['a,b', 'c']"),
            ("'a,b,c'.rsplit(',')", "['a', 'b', 'c']"),
            ("' a  b c '.rsplit()", "['a', 'b', 'c']"),
            ("' a  b c '.rsplit(none, 1)", "['a  b', 'c']"),
            ("'a,b,c'.partition(',')", "('a', ',', 'b,c')"),
            ("'abc'.partition(',')", "('abc', '', '')"),
            ("'a,b,c'.rpartition(',')", "('a,b', ',', 'c')"),
            ("'abc'.rpartition(',')", "('', '', 'abc')"),
            ("'abc'.removeprefix('a').removesuffix('c')", "b"),
            ("'abc'.removeprefix('b')", "abc"),
            ("'éa'.index('a')", "1"),
            ("'7'.zfill(3) ~ '-7'.zfill(4) ~ '1234'.zfill(2)", "007-0071234"),
            ("'a'.ljust(3) ~ '|' ~ 'a'.rjust(3, 'x')", "a  |xxa"),
            ("'a'.center(4, '*') ~ 'ab'.center(5, '*') ~ 'a'.center(5, '*')", "*a****ab***a**"),
            ("'ABC'.casefold() ~ 'aBc'.swapcase()", "abcAbC"),
            ("['a', 'b'].index('b')", "1"),
            ("'abc'.upper() ~ 'a b'.split()[1]", "ABCb"),
        ] {
            let value = environment.compile_expression(expression).unwrap().eval(()).unwrap();
            assert_eq!(value.to_string(), expected, "{expression}");
        }
        for wrong in
            ["'abc'.index('x')", "[1].index(2)", "'a'.nonsense()", "'a'.ljust('b')", "'a'.partition()", "1.index(1)"]
        {
            let expression = environment.compile_expression(wrong);
            assert!(expression.is_err() || expression.unwrap().eval(()).is_err(), "{wrong}");
        }
        let wide = environment.compile_expression("'a'.ljust(999999999999)").unwrap().eval(()).unwrap();
        assert_eq!(wide.len(), Some(super::MAX_WIDTH));
    }
}
