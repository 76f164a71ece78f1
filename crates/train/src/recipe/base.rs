//! Whether a recipe fits the model that it starts from.
//!
//! A recipe with a `[model]` is tuned for that model, and its learning rates would ruin a far larger one within a few
//! steps. So where `base` has more than [`FAR_LARGER`] times the parameters, the learning rate must be the choice of
//! whoever chose the base: it has to stand on the command line, or in the file that names the base. All else stays as
//! the recipe has it, and [`Recipe::note_on_base`] says so. A recipe without a `[model]` is for bases only, and a base
//! brings its own tokenizer and chat template in any case.

use std::path::Path;

use picnic_model::checkpoint::Checkpoint;
use toml::Value;

use super::layers::{COMMAND_LINE, Layers};
use super::read::Fault;
use super::{Common, Recipe, Stage, model_config};

/// How many times the parameters make another model of it, as far as a learning rate is concerned.
const FAR_LARGER: f64 = 10.0;

/// Parameters of a base and of the model that its recipe is for.
struct Sizes {
    base: f64,
    own: f64,
}

/// Refuses a learning rate that a far larger base would get from a recipe for another model.
///
/// # Errors
/// The first such rate.
pub(super) fn check_rates<S: Stage>(common: &Common, layers: &Layers) -> Result<(), Fault> {
    let (Some(base), Some(Sizes { base: parameters, own })) = (&common.base, sizes(common)) else { return Ok(()) };
    for table in S::TUNED {
        let key = if table.is_empty() { "optimizer.lr".to_owned() } else { format!("{table}.optimizer.lr") };
        let Some((place, value)) = layers.written(&key) else { continue };
        let is_chosen = place == COMMAND_LINE || layers.written("base").is_some_and(|(beside, _)| beside == place);
        if !is_chosen {
            let problem = format!(
                "{value} is for this recipe's own model of {}, and {} has {}",
                millions(own),
                base.display(),
                millions(parameters)
            );
            let cure = format!("give {key} where you give base, or name a recipe for such models (recipes/smollm2)");
            return Err(Fault::new(&key, problem, cure));
        }
    }
    Ok(())
}

impl<S: Stage> Recipe<S> {
    /// What a person should know who starts from a model that is far larger than the one that the recipe is for.
    pub fn note_on_base(&self) -> Option<String> {
        let Sizes { base, own } = sizes(&self.common).filter(|_| !S::TUNED.is_empty())?;
        let path = self.common.base.as_deref().unwrap_or(Path::new(""));
        let tasks = Value::try_from(&self.common.tasks).ok()?;
        let names = tasks.as_array().into_iter().flatten().filter_map(|task| task.get("name")?.as_str());
        let tasks: Vec<&str> = names.collect();
        Some(format!(
            "{} has {}, and the recipe is for a model of {}: beside the learning rate, its tasks ({}), lengths, steps and \
             batches stay as they are, so change what does not fit",
            path.display(),
            millions(base),
            millions(own),
            tasks.join(", ")
        ))
    }
}

/// The sizes of the base and of the recipe's own model, if it has both and the base is far larger. A base that cannot be
/// read is refused by the stage that reads it.
fn sizes(common: &Common) -> Option<Sizes> {
    let (base, model) = (common.base.as_ref()?, common.model.as_ref()?);
    let vocab_size = common.tokenizer.as_ref().map_or(0, |tokenizer| tokenizer.vocab_size);
    let own = model_config(model, vocab_size.max(1)).ok()?.num_parameters() as f64;
    let base = Checkpoint::open(base).ok()?.config().ok()?.num_parameters() as f64;
    (base > FAR_LARGER * own).then_some(Sizes { base, own })
}

fn millions(parameters: f64) -> String {
    format!("{:.1} million parameters", parameters / 1e6)
}
