//! What chat templates expect of Python and `transformers`, beyond the string methods that
//! `minijinja-contrib` brings: `tojson`, `raise_exception`, `strftime_now`.

use std::io::{self, Write};
use std::time::SystemTime;

use minijinja::value::{Kwargs, Value};
use minijinja::{Error, ErrorKind};
use serde::Serialize as _;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

/// `json.dumps(value, ensure_ascii=False, indent=indent)`: no HTML escapes, keys in their order.
pub(crate) fn tojson(value: &Value, kwargs: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = kwargs.get("indent")?;
    if kwargs.get::<Option<bool>>("ensure_ascii")? == Some(true) {
        let message = "tojson: `ensure_ascii=True` is not supported";
        return Err(Error::new(ErrorKind::InvalidOperation, message));
    }
    kwargs.assert_all_used()?;
    let mut json = Vec::new();
    let written = match indent {
        None => value.serialize(&mut Serializer::with_formatter(&mut json, PythonFormatter)),
        Some(indent) => {
            let spaces = vec![b' '; indent.min(16)];
            let formatter = PrettyFormatter::with_indent(&spaces);
            value.serialize(&mut Serializer::with_formatter(&mut json, formatter))
        }
    };
    written.map_err(|error| Error::new(ErrorKind::BadSerialization, "tojson failed").with_source(error))?;
    Ok(Value::from(String::from_utf8_lossy(&json)))
}

/// `json.dumps` puts a space after each comma and colon.
struct PythonFormatter;

impl Formatter for PythonFormatter {
    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        out.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        out.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }
}

/// How a template refuses a conversation.
pub(crate) fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

/// The function `strftime_now(format)`, which gives the time `now` in UTC.
pub(crate) fn strftime_now(now: SystemTime) -> crate::Result<Value> {
    let now = jiff::Timestamp::try_from(now)
        .map_err(|error| crate::Error::Template(format!("the clock is out of range: {error}")))?
        .to_zoned(jiff::tz::TimeZone::UTC);
    Ok(Value::from_function(move |format: &str| {
        jiff::fmt::strtime::format(format, &now)
            .map_err(|error| Error::new(ErrorKind::InvalidOperation, format!("strftime_now: {error}")))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use minijinja::context;
    use std::time::Duration;

    fn eval(expression: &'static str) -> Result<String, String> {
        let mut environment = minijinja::Environment::new();
        environment.add_filter("tojson", tojson);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(86_400 * 20_000);
        let context = context! { strftime_now => strftime_now(now).unwrap() };
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
            (r#"{"a": [1, 2], "b": {}} | tojson(indent=2)"#, "{\n  \"a\": [\n    1,\n    2\n  ],\n  \"b\": {}\n}"),
            (r#"[1] | tojson(ensure_ascii=false)"#, "[1]"),
        ] {
            assert_eq!(eval(expression).unwrap(), expected, "{expression}");
        }
        assert!(eval("[1] | tojson(nonsense=1)").is_err());
    }

    #[test]
    fn the_date_is_an_input() {
        assert_eq!(eval("strftime_now('%d %b %Y')").unwrap(), "04 Oct 2024");
        assert!(eval("strftime_now('%')").is_err());
    }
}
