//! Presets of RL: the keys of an objective that belong together, with the paper that each is from.
//!
//! A preset is a file of `recipes/presets`, compiled in so that an installed program has it. `preset = "dapo"` lays its
//! keys below those of the recipe and of the command line. The loop knows no preset: a resolved recipe has every key
//! written out and keeps the name for the reader, so that resolving it again changes nothing.

use toml::{Table, Value};

use super::layers::Layers;
use super::read::{Fault, shorten};

/// Name and text of each.
pub(super) const PRESETS: [(&str, &str); 7] = [
    ("r1-zero", include_str!("../../../../recipes/presets/r1-zero.toml")),
    ("r1", include_str!("../../../../recipes/presets/r1.toml")),
    ("dapo", include_str!("../../../../recipes/presets/dapo.toml")),
    ("dr-grpo", include_str!("../../../../recipes/presets/dr-grpo.toml")),
    ("gspo", include_str!("../../../../recipes/presets/gspo.toml")),
    ("cispo", include_str!("../../../../recipes/presets/cispo.toml")),
    ("v3.2", include_str!("../../../../recipes/presets/v3.2.toml")),
];

/// Lays the preset that the table `name` asks for, if it does, below its keys.
///
/// # Errors
/// A name that is none of [`PRESETS`].
pub(super) fn lay_under(layers: &mut Layers, name: &str) -> Result<(), Fault> {
    let table = match name {
        "" => Some(&layers.table),
        name => layers.table.get(name).and_then(Value::as_table),
    };
    let Some(preset) = table.and_then(|table| table.get("preset")) else { return Ok(()) };
    let fault = |problem: String| {
        let known = PRESETS.map(|(name, _)| name).join(", ");
        let fault = Fault::new("preset", problem, format!("use one of {known}"));
        if name.is_empty() { fault } else { fault.under(name) }
    };
    let Some(preset) = preset.as_str() else { return Err(fault(format!("is {}, not a name", preset.type_str()))) };
    let Some((preset, text)) = PRESETS.iter().find(|(known, _)| *known == preset) else {
        return Err(fault(format!("{:?} is unknown", shorten(preset))));
    };
    let below: Table = toml::from_str(text).expect("shipped presets are TOML, as the tests see to");
    layers.lay_under(name, below, &format!("preset {preset}"));
    Ok(())
}
