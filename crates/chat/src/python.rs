//! What chat templates expect of Python and `transformers`, beyond the string methods that `minijinja-contrib` brings:
//! `tojson`, `%` on strings, `raise_exception`, `strftime_now`, and that tools are not there.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::SystemTime;

use minijinja::formatting::{self, FormatStyle};
use minijinja::value::{Enumerator, Kwargs, Object, ObjectRepr, Rest, Tuple, Value, from_args};
use minijinja::{Error, ErrorKind, State};
use serde::{Deserialize, Serialize};
use serde_json::ser::{Formatter, Serializer};

/// The filter `tojson`, which in `transformers` is `json.dumps(value, ensure_ascii=False, indent=None, separators=None,
/// sort_keys=False)`: no HTML escapes, keys in their order unless asked otherwise.
pub(crate) fn tojson(value: &Value, arguments: Rest<Value>, kwargs: Kwargs) -> Result<Value, Error> {
    if value.is_undefined() {
        return Err(Error::new(ErrorKind::UndefinedError, "tojson: there is nothing to write"));
    }
    if is_nothing(value) {
        return Ok(Value::from("null"));
    }
    let [mut ascii, mut indent, mut separators, mut sorted] = [(); 4].map(|()| None);
    let names = ["ensure_ascii", "indent", "separators", "sort_keys"];
    if arguments.len() > names.len() {
        return Err(Error::new(ErrorKind::TooManyArguments, "tojson takes at most four arguments"));
    }
    for (i, slot) in [&mut ascii, &mut indent, &mut separators, &mut sorted].into_iter().enumerate() {
        let by_name: Option<Value> = kwargs.get(names[i])?;
        *slot = by_name.or_else(|| arguments.get(i).cloned()).filter(|value| !value.is_none());
    }
    kwargs.assert_all_used()?;
    let indent = match &indent {
        None => None,
        Some(text) if text.as_str().is_some() => text.as_str().map(str::to_owned),
        // Nobody indents deeper, and a hostile number must not fill the memory.
        Some(number) => Some(" ".repeat(i64::try_from(number.clone())?.clamp(0, 16) as usize)),
    };
    let (mut comma, mut colon) = (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned());
    if let Some(separators) = &separators {
        (comma, colon) = Deserialize::deserialize(separators.clone())?;
    }
    let is_true = |flag: Option<Value>| flag.is_some_and(|flag| flag.is_true());
    let style = Style { comma, colon, indent, ascii: is_true(ascii), depth: 0, is_empty: true };
    let failed = |error| Error::new(ErrorKind::BadSerialization, "tojson failed").with_source(error);
    let written = match is_true(sorted) {
        true => serde_json::to_value(value).and_then(|json| write(&by_key(json), style)),
        false => write(value, style),
    };
    written.map(Value::from).map_err(failed)
}

/// `json.dumps(value, ensure_ascii=False)`.
pub(crate) fn dumps(value: &impl Serialize) -> serde_json::Result<String> {
    let (comma, colon) = (", ".to_owned(), ": ".to_owned());
    write(value, Style { comma, colon, indent: None, ascii: false, depth: 0, is_empty: true })
}

fn write(value: &impl Serialize, style: Style) -> serde_json::Result<String> {
    let mut json = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut json, style))?;
    Ok(String::from_utf8_lossy(&json).into_owned())
}

/// The same value with the keys of every object sorted.
fn by_key(json: serde_json::Value) -> serde_json::Value {
    match json {
        serde_json::Value::Array(items) => items.into_iter().map(by_key).collect(),
        serde_json::Value::Object(map) => {
            let sorted: BTreeMap<String, serde_json::Value> = map.into_iter().collect();
            sorted.into_iter().map(|(key, value)| (key, by_key(value))).collect()
        }
        other => other,
    }
}

/// How Python lays JSON out.
struct Style {
    /// Between items.
    comma: String,
    /// Between a key and its value.
    colon: String,
    /// Before each item, once a level, on a line of its own.
    indent: Option<String>,
    /// Whether only ASCII is written.
    ascii: bool,
    depth: usize,
    /// Whether the innermost list or object has had no item yet.
    is_empty: bool,
}

impl Style {
    fn open<W: ?Sized + Write>(&mut self, out: &mut W, bracket: &[u8]) -> io::Result<()> {
        (self.depth, self.is_empty) = (self.depth + 1, true);
        out.write_all(bracket)
    }

    fn item<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.is_empty = false;
        if !first {
            out.write_all(self.comma.as_bytes())?;
        }
        self.line(out)
    }

    fn close<W: ?Sized + Write>(&mut self, out: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth -= 1;
        if !self.is_empty {
            self.line(out)?;
        }
        self.is_empty = false;
        out.write_all(bracket)
    }

    fn line<W: ?Sized + Write>(&self, out: &mut W) -> io::Result<()> {
        let Some(indent) = &self.indent else { return Ok(()) };
        out.write_all(b"\n")?;
        (0..self.depth).try_for_each(|_| out.write_all(indent.as_bytes()))
    }
}

impl Formatter for Style {
    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.open(out, b"[")
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.item(out, first)
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.close(out, b"]")
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.open(out, b"{")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.item(out, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(self.colon.as_bytes())
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.close(out, b"}")
    }

    fn write_f64<W: ?Sized + Write>(&mut self, out: &mut W, value: f64) -> io::Result<()> {
        // The same digits as Rust's; only where and how an exponent stands is Python's own.
        let scientific = format!("{value:e}");
        let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        match exponent.parse::<i32>() {
            Ok(exponent) if !(-4..16).contains(&exponent) => {
                let sign = if exponent < 0 { '-' } else { '+' };
                write!(out, "{digits}e{sign}{:02}", exponent.abs())
            }
            _ => write!(out, "{value:?}"),
        }
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, text: &str) -> io::Result<()> {
        if !self.ascii {
            return out.write_all(text.as_bytes());
        }
        for c in text.chars() {
            match c {
                ' '..='~' => out.write_all(&[c as u8])?,
                c => c.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(out, "\\u{unit:04x}"))?,
            }
        }
        Ok(())
    }
}

/// The operator `%` of Python: what remains of a division, or a string with values in its places (`%s`, `%d`, `%.2f`,
/// `%(key)s`, …). A tuple is several values.
pub(crate) fn percent(left: &Value, right: &Value) -> Result<Value, Error> {
    if let Some(text) = left.as_str() {
        let values = match right.downcast_object_ref::<Tuple>() {
            Some(_) => right.try_iter()?.collect(),
            None => vec![right.clone()],
        };
        return formatting::format(FormatStyle::Printf, text, &values).map(Value::from);
    }
    let impossible = || {
        let problem = format!("cannot take {} modulo {}", left.kind(), right.kind());
        Error::new(ErrorKind::InvalidOperation, problem)
    };
    // The remainder has the sign of the divisor.
    if let (Ok(a), Ok(b)) = (i64::try_from(left.clone()), i64::try_from(right.clone())) {
        let remainder = a.checked_rem(b).ok_or_else(impossible)?;
        return Ok(Value::from(if remainder != 0 && (remainder < 0) != (b < 0) { remainder + b } else { remainder }));
    }
    match (f64::try_from(left.clone()), f64::try_from(right.clone())) {
        (Ok(a), Ok(b)) if b != 0.0 => Ok(Value::from(a - b * (a / b).floor())),
        _ => Err(impossible()),
    }
}

/// What stands for tools and documents when there are none. Published templates ask in either way whether a variable
/// `is defined` and whether it `is none`; here both say that nothing is there.
pub(crate) fn nothing() -> Value {
    Value::from_object(Nothing)
}

#[derive(Debug)]
struct Nothing;

impl Object for Nothing {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Empty
    }

    fn is_true(self: &Arc<Self>) -> bool {
        false
    }

    fn render(self: &Arc<Self>, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("None")
    }
}

fn is_nothing(value: &Value) -> bool {
    value.downcast_object_ref::<Nothing>().is_some()
}

/// The test `defined`.
pub(crate) fn is_defined(value: &Value) -> bool {
    !value.is_undefined() && !is_nothing(value) && value.downcast_object_ref::<NoClock>().is_none()
}

/// The test `none`.
pub(crate) fn is_none(value: &Value) -> bool {
    value.is_none() || is_nothing(value)
}

/// How a template refuses a conversation.
pub(crate) fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

/// The function `strftime_now(format)`, which gives the time `now` in UTC. Without one it says that it is not defined, so
/// that a template takes its own fixed date, and gives the first second of 2025 to those that do not ask.
pub(crate) fn strftime_now(now: Option<SystemTime>) -> crate::Result<Value> {
    let Some(now) = now else { return Ok(Value::from_object(NoClock)) };
    let now = jiff::Timestamp::try_from(now)
        .map_err(|error| crate::Error::Template(format!("the clock is out of range: {error}")))?
        .to_zoned(jiff::tz::TimeZone::UTC);
    Ok(Value::from_function(move |format: &str| strftime(format, &now)))
}

fn strftime(format: &str, time: &jiff::Zoned) -> Result<Value, Error> {
    let formatted = jiff::fmt::strtime::format(format, time);
    let failed = |error| Error::new(ErrorKind::InvalidOperation, format!("strftime_now: {error}"));
    formatted.map(Value::from).map_err(failed)
}

#[derive(Debug)]
struct NoClock;

impl Object for NoClock {
    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, arguments: &[Value]) -> Result<Value, Error> {
        let (format,): (&str,) = from_args(arguments)?;
        let first = jiff::civil::date(2025, 1, 1).at(0, 0, 0, 0).to_zoned(jiff::tz::TimeZone::UTC);
        let failed = |error| Error::new(ErrorKind::InvalidOperation, format!("strftime_now: {error}"));
        strftime(format, &first.map_err(failed)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use minijinja::context;
    use std::time::Duration;

    fn eval(expression: &'static str) -> Result<String, String> {
        let mut environment = minijinja::Environment::new();
        environment.add_filter("tojson", tojson);
        environment.add_filter("percent", percent);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(86_400 * 20_000);
        let context = context! { strftime_now => strftime_now(Some(now)).unwrap() };
        let expression = environment.compile_expression(expression).unwrap();
        let value = expression.eval(context).map_err(|error| error.to_string())?;
        Ok(value.to_string())
    }

    #[test]
    fn json_is_that_of_python() {
        // Each right-hand side was printed by Python's json.dumps(…, ensure_ascii=False).
        for (expression, expected) in [
            (r#"{"b": 1, "a": [1.5, true, none]} | tojson"#, r#"{"b": 1, "a": [1.5, true, null]}"#),
            (r#""<a href='x'>&\u00e9\n\t\u0001\u007f" | tojson"#, "\"<a href='x'>&é\\n\\t\\u0001\u{7f}\""),
            (r#"[[], {}] | tojson"#, "[[], {}]"),
            (
                r#"[1.0, -2.5, 1e15, 1e16, 1.5e-7, 0.0001, 1e100] | tojson"#,
                "[1.0, -2.5, 1000000000000000.0, 1e+16, 1.5e-07, 0.0001, 1e+100]",
            ),
            (r#"{"a": [1, 2], "b": {}} | tojson(indent=2)"#, "{\n  \"a\": [\n    1,\n    2\n  ],\n  \"b\": {}\n}"),
            (r#"[1] | tojson(ensure_ascii=false)"#, "[1]"),
            (r#"{"b": {"z": 1, "a": []}, "a": 2} | tojson(sort_keys=true)"#, r#"{"a": 2, "b": {"a": [], "z": 1}}"#),
            (r#"{"a": [1, 2]} | tojson(separators=(",", ":"))"#, r#"{"a":[1,2]}"#),
            (r#"[1, [], [2, {}]] | tojson(indent="\t")"#, "[\n\t1,\n\t[],\n\t[\n\t\t2,\n\t\t{}\n\t]\n]"),
            (r#"[1, 2] | tojson(indent=1, separators=("; ", "="))"#, "[\n 1; \n 2\n]"),
            (r#"[1] | tojson(indent=none)"#, "[1]"),
            ("\"é🤖\\n\u{7f}\" | tojson(ensure_ascii=true)", r#""\u00e9\ud83e\udd16\n\u007f""#),
            (r#"{"é": 1} | tojson(true, 2)"#, "{\n  \"\\u00e9\": 1\n}"),
        ] {
            assert_eq!(eval(expression).unwrap(), expected, "{expression}");
        }
        for wrong in ["tojson(nonsense=1)", "tojson(1, 2, 3, 4, 5)", "tojson(separators=1)", "tojson(indent=[])"] {
            assert!(eval(format!("[1] | {wrong}").leak()).is_err(), "{wrong}");
        }
        assert!(eval("nowhere | tojson").is_err());
    }

    #[test]
    fn percent_is_that_of_python() {
        // Each right-hand side was printed by Python.
        for (expression, expected) in [
            (r#""%s is %d years" | percent(("A", 7))"#, "A is 7 years"),
            (r#""%05.1f%%" | percent(2.25)"#, "002.2%"),
            (r#""%s" | percent("é")"#, "é"),
            (r#""%(a)s-%(b)02d" | percent({"a": "x", "b": 3})"#, "x-03"),
            ("7 | percent(3)", "1"),
            ("-7 | percent(3)", "2"),
            ("7 | percent(-3)", "-2"),
            ("7.5 | percent(2)", "1.5"),
        ] {
            assert_eq!(eval(expression).unwrap(), expected, "{expression}");
        }
        for wrong in [r#""%s %s" | percent(1)"#, "1 | percent(0)", "1.5 | percent(0)", "[1] | percent(2)"] {
            assert!(eval(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_date_is_an_input() {
        assert_eq!(eval("strftime_now('%d %b %Y')").unwrap(), "04 Oct 2024");
        assert!(eval("strftime_now('%')").is_err());
    }
}
