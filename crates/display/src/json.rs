//! One JSON object a line, for programs: what happens, as it happens.
//!
//! A step is flat, `{"stage", "step", "total", "seconds", …metrics}`; a metric that is not finite is null. A sentence is
//! `{"note": …}`. Every other event is an object with one key, its name; an evaluation has its sentence beside it.

use crate::lines::write_line;
use crate::words::measured;
use picnic_train::progress::{Display, Event, Step};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::{Map, Value};
use std::io::Write;

/// Writes objects.
pub struct Json<W>(W);

impl<W: Write + Send> Json<W> {
    /// Objects to wherever.
    pub fn new(output: W) -> Json<W> {
        Json(output)
    }
}

impl<W: Write + Send> Display for Json<W> {
    fn show(&mut self, event: &Event) {
        match event {
            // Standard output is for programs, and this is for whoever wonders why they wait.
            Event::Stalled(note) => eprintln!("{note}"),
            event => write_line(&mut self.0, &to_line(event)),
        }
    }
}

/// The object of an event.
pub fn to_line(event: &Event) -> String {
    // Strings and numbers always have a JSON form.
    let line = match event {
        Event::Step(step) => serde_json::to_string(&Flat(step)),
        Event::Evaluated(found) => serde_json::to_string(&serde_json::json!({
            "note": measured(&found.part, found.accuracy, found.ci95, found.well_formed),
            "evaluated": found,
        })),
        event => serde_json::to_string(event),
    };
    line.unwrap_or_default()
}

/// The event of an object; `None` for one that is none, like the report at the end.
pub fn from_line(line: &str) -> Option<Event> {
    let mut object: Map<String, Value> = serde_json::from_str(line).ok()?;
    if object.contains_key("stage") && object.contains_key("step") {
        let mut take = |key: &str| object.remove(key);
        let stage = take("stage")?.as_str()?.to_owned();
        let (step, total, seconds) = (take("step")?.as_u64()?, take("total")?.as_u64()?, take("seconds")?.as_f64()?);
        let metrics = object.into_iter().map(|(name, value)| (name, value.as_f64().unwrap_or(f64::NAN))).collect();
        return Some(Event::Step(Step { stage, step, total, seconds, metrics }));
    }
    if object.contains_key("evaluated") {
        object.remove("note");
    }
    serde_json::from_value(Value::Object(object)).ok()
}

struct Flat<'s>(&'s Step);

impl Serialize for Flat<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Step { stage, step, total, seconds, metrics } = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("stage", stage)?;
        map.serialize_entry("step", step)?;
        map.serialize_entry("total", total)?;
        map.serialize_entry("seconds", seconds)?;
        for (name, value) in metrics {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
