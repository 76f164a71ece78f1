//! `picnic parity`: our numbers beside those of an implementation that we did not write.
//!
//! A folder holds a checkpoint, `golden.safetensors` (input ids and logits; perhaps a longer pass, greedy tokens and the
//! loss) and perhaps `golden_grads.safetensors` (gradient of the loss by every parameter), as `golden/make.py` makes them
//! with transformers. A folder is compared in what it has, and what it lacks is said.

use crate::error::Error;
use picnic_engine::{Limits, Request, generate};
use picnic_model::checkpoint::{Checkpoint, CheckpointError};
use picnic_model::layers::{Past, Targets};
use picnic_model::ops::Loss;
use picnic_model::{
    Backend, Balance, Batch, Grads, Model, Ops, OutOfMemory, ParamStore, SharedModel, Tape, WeightForm, load, rows_of,
};
use std::collections::HashSet;
use std::path::Path;

/// Largest difference of a logit. Between f32 and f64 transformers itself differs by 4e-6.
pub const LOGITS_TOLERANCE: f64 = 2e-5;
/// Largest difference of a gradient over the largest entry of its tensor; f32 against f64: 2.2e-6.
pub const GRADS_TOLERANCE: f64 = 5e-5;
/// Tokens of row 0 from which greedy decoding starts, and how many follow.
const PROMPT: usize = 10;
const GREEDY: usize = 24;

/// Our numbers for a golden folder.
pub struct Ours {
    /// For `input_ids`, `[rows, length, vocabulary]`.
    pub logits: Vec<f32>,
    /// Its sizes.
    pub logits_shape: Vec<usize>,
    /// For `input_ids_long`; empty without it.
    pub logits_long: Vec<f32>,
    /// Its sizes.
    pub logits_long_shape: Vec<usize>,
    /// The first ten tokens of row 0 and the 24 likeliest after them; empty where there is nothing to compare.
    pub greedy: Vec<i64>,
    /// Mean cross-entropy of the next token over `input_ids`.
    pub loss: f64,
}

/// How far ours are from the golden numbers; `None` for what the folder lacks.
#[derive(Debug)]
pub struct Differences {
    /// Largest absolute difference of a logit.
    pub logits: f64,
    /// The same over `input_ids_long`.
    pub logits_long: Option<f64>,
    /// Greedy tokens that differ, or that only one side has.
    pub greedy: Option<usize>,
    /// Absolute difference of the loss.
    pub loss: Option<f64>,
    /// For each golden gradient, its name and the largest difference over its largest entry; infinite for one that is
    /// missing on either side.
    pub grads: Option<Vec<(String, f64)>>,
}

impl Differences {
    /// Whether everything that was compared is within tolerance.
    pub fn within(&self) -> bool {
        let close = |difference: f64| difference <= LOGITS_TOLERANCE;
        close(self.logits)
            && self.logits_long.is_none_or(close)
            && self.greedy.is_none_or(|differ| differ == 0)
            && self.loss.is_none_or(close)
            && self
                .grads
                .as_ref()
                .is_none_or(|grads| !grads.is_empty() && grads.iter().all(|(_, d)| *d <= GRADS_TOLERANCE))
    }
}

/// Computes everything for the golden folder `dir`. Weights are read as they are stored, unless there are gradients to
/// compare.
///
/// # Errors
/// A file that is missing or cannot be read, or golden numbers that cannot be this model's.
pub fn parity(ops: &Backend, dir: &Path) -> Result<(Ours, Differences), Error> {
    let golden = Checkpoint::open(dir.join("golden.safetensors"))?;
    let grads_path = dir.join("golden_grads.safetensors");
    let golden_grads = grads_path.exists().then(|| Checkpoint::open(&grads_path)).transpose()?;
    let (model, mut params) = load(ops, &Checkpoint::open(dir)?, golden_grads.is_none().then_some(WeightForm::Exact))?;
    // The golden loss is that of the next token.
    params.freeze(model.mtp_params());
    let shared = SharedModel::new(model, params);
    let (model, params) = (shared.model(), shared.params());
    let vocabulary = model.config().vocab_size;
    let has = |name: &str| golden.shape(name).is_some();
    let short = read_rows(&golden, "input_ids", vocabulary)?;
    let mut ours = Ours {
        logits: logits_of(ops, model, &params, &short)?,
        logits_shape: [golden.shape("input_ids").unwrap_or_default(), &[vocabulary]].concat(),
        logits_long: Vec::new(),
        logits_long_shape: vec![0],
        greedy: Vec::new(),
        loss: loss(ops, model, &params, &short, None)?,
    };
    let mut differences = Differences {
        logits: largest_difference(&ours.logits, &golden.read_f32("logits")?),
        logits_long: None,
        greedy: None,
        loss: None,
        grads: None,
    };
    if has("input_ids_long") || has("logits_long") {
        ours.logits_long = logits_of(ops, model, &params, &read_rows(&golden, "input_ids_long", vocabulary)?)?;
        ours.logits_long_shape = [golden.shape("input_ids_long").unwrap_or_default(), &[vocabulary]].concat();
        differences.logits_long = Some(largest_difference(&ours.logits_long, &golden.read_f32("logits_long")?));
    }
    if has("greedy") {
        ours.greedy = greedy(ops, &shared, &short[0])?;
        let theirs = golden.read_i64("greedy")?;
        let differ = ours.greedy.iter().zip(&theirs).filter(|(a, b)| a != b).count();
        differences.greedy = Some(differ + ours.greedy.len().abs_diff(theirs.len()));
    }
    if has("loss") {
        let [theirs] = golden.read_f32("loss")?[..] else {
            return Err(wrong(&golden, "loss", "is not one number"));
        };
        differences.loss = Some((ours.loss - f64::from(theirs)).abs());
    }
    if let Some(golden_grads) = &golden_grads {
        let mut grads = Grads::new(ops, &params)?;
        loss(ops, model, &params, &short, Some(&mut grads))?;
        differences.grads = Some(compare_grads(ops, &params, &grads, golden_grads)?);
    }
    Ok((ours, differences))
}

/// The rows of the ids `name`: at least one, of two tokens or more, all in the vocabulary.
fn read_rows(golden: &Checkpoint, name: &str, vocabulary: usize) -> Result<Vec<Vec<u32>>, Error> {
    let ids = golden.read_i64(name)?;
    let length = golden.shape(name).and_then(|shape| shape.last().copied()).unwrap_or(0);
    if ids.is_empty() || length < 2 {
        return Err(wrong(golden, name, "has no row of two tokens"));
    }
    let known = |&id: &i64| u32::try_from(id).ok().filter(|&id| (id as usize) < vocabulary);
    let row = |row: &[i64]| row.iter().map(|id| known(id).ok_or(*id)).collect::<Result<Vec<u32>, i64>>();
    ids.chunks(length).map(row).collect::<Result<_, i64>>().map_err(|id| {
        wrong(golden, name, &format!("holds the id {id}, but the model's vocabulary has {vocabulary} entries"))
    })
}

fn wrong(golden: &Checkpoint, tensor: &str, problem: &str) -> Error {
    let problem = format!("tensor `{tensor}` {problem}");
    let cure = "make the golden files from this folder's model, as golden/make.py does".to_owned();
    CheckpointError::Damaged { file: golden.path().to_owned(), problem, cure }.into()
}

fn logits_of(
    ops: &Backend,
    model: &Model,
    params: &ParamStore<Backend>,
    sequences: &[Vec<u32>],
) -> Result<Vec<f32>, OutOfMemory> {
    let batch = Batch::sequences(sequences.iter().map(Vec::as_slice));
    let mut tape = Tape::inference(ops);
    let hidden = model.forward(&mut tape, params, &batch, &mut Past::Within(batch.spans.clone()))?;
    let all: Vec<u32> = (0..batch.ids.len() as u32).collect();
    let logits = tape.logits(&hidden, model.head(params), &all)?;
    Ok(ops.download(logits.value()))
}

fn greedy(ops: &Backend, model: &SharedModel<Backend>, row: &[u32]) -> Result<Vec<i64>, Error> {
    let prompt = row[..PROMPT.min(row.len())].to_vec();
    let request = Request::new(prompt.clone(), GREEDY);
    let limits = Limits::new(1, 64, 4096);
    let answers = generate(ops, model, limits, vec![request])?;
    Ok(prompt.into_iter().chain(answers.into_iter().flat_map(|answer| answer.tokens)).map(i64::from).collect())
}

/// Mean cross-entropy of the next token, whose gradient is added to `grads`.
fn loss(
    ops: &Backend,
    model: &Model,
    params: &ParamStore<Backend>,
    sequences: &[Vec<u32>],
    grads: Option<&mut Grads<Backend>>,
) -> Result<f64, OutOfMemory> {
    let batch = Batch::sequences(sequences.iter().map(Vec::as_slice));
    let predicts = |span: &std::ops::Range<usize>| span.start as u32..span.end.saturating_sub(1) as u32;
    let rows: Vec<u32> = batch.spans.iter().flat_map(predicts).collect();
    let ids: Vec<u32> = rows.iter().map(|&row| batch.ids[row as usize + 1]).collect();
    let mut tape = match grads {
        Some(grads) => Tape::recording(ops, grads, Balance::default()),
        None => Tape::inference(ops),
    };
    let hidden = model.forward(&mut tape, params, &batch, &mut Past::Within(batch.spans.clone()))?;
    let loss = Loss::Constant(-1.0 / rows.len() as f32);
    let targets = Targets { rows: &rows, ids: &ids, entropy: false };
    let said = tape.token_loss(&hidden, model.head(params), targets, loss)?;
    tape.backward()?;
    Ok(-said.logprob.iter().map(|&l| f64::from(l)).sum::<f64>() / rows.len() as f64)
}

/// transformers 5 keeps a layer's experts in two tensors, `gate_up_proj` `[E, 2·inner, d]` and `down_proj`
/// `[E, d, inner]`; ours are one tensor each. Each of ours that learns must be in a golden one.
fn compare_grads(
    ops: &Backend,
    params: &ParamStore<Backend>,
    grads: &Grads<Backend>,
    golden: &Checkpoint,
) -> Result<Vec<(String, f64)>, CheckpointError> {
    let ours = |name: &String| {
        let param = params.by_name(name)?;
        Some(rows_of(ops, &param.spec, grads.get(param.id)?))
    };
    let experts = |at: &str, parts: &[&str]| -> Vec<String> {
        let names = |expert: usize| parts.iter().map(move |part| format!("{at}.{expert}.{part}.weight"));
        let known = |expert: &usize| names(*expert).all(|name| params.by_name(&name).is_some());
        (0..).take_while(known).flat_map(names).collect()
    };
    let mut missing: HashSet<&str> = params.iter().filter(|p| p.trainable).map(|p| p.spec.name.as_str()).collect();
    let mut differences = Vec::new();
    for name in golden.tensor_names() {
        let theirs = golden.read_f32(name)?;
        let parts = match (name.strip_suffix(".gate_up_proj"), name.strip_suffix(".experts.down_proj")) {
            (Some(at), _) => experts(at, &["gate_proj", "up_proj"]),
            (_, Some(at)) => experts(&format!("{at}.experts"), &["down_proj"]),
            _ => vec![name.to_owned()],
        };
        parts.iter().for_each(|part| _ = missing.remove(part.as_str()));
        let mine = parts.iter().map(ours).collect::<Option<Vec<_>>>().map(|parts| parts.concat());
        let largest = theirs.iter().fold(0f64, |m, x| m.max(f64::from(x.abs())));
        let difference = mine.map_or(f64::INFINITY, |mine| largest_difference(&mine, &theirs));
        differences.push((name.to_owned(), difference / largest.max(f64::MIN_POSITIVE)));
    }
    differences.extend(missing.into_iter().map(|name| (name.to_owned(), f64::INFINITY)));
    Ok(differences)
}

/// Infinite where lengths differ or a value is no number.
fn largest_difference(a: &[f32], b: &[f32]) -> f64 {
    if a.len() != b.len() {
        return f64::INFINITY;
    }
    let distance = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).abs();
    a.iter().zip(b).map(distance).fold(0.0, |m, d| {
        if d <= m {
            m
        } else if d.is_nan() {
            f64::INFINITY
        } else {
            d
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use picnic_model::backend;
    use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize_to_file};

    #[test]
    fn agrees_with_transformers() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let ops = backend::with_threads(2).unwrap();
        let deepseek = ["deepseek_v3", "deepseek_v3_yarn", "deepseek_v3_nolora", "deepseek_v2", "deepseek_v2_nolora"];
        let names: Vec<&str> =
            deepseek.into_iter().chain(["llama", "llama_dynamic", "llama31", "qwen2", "qwen3", "qwen3_moe"]).collect();
        // A larger set of the same fixtures, where it lies beside the repository, has its own values.
        let shared =
            std::env::var_os("PICNIC_SHARED").map_or_else(|| root.join("../shared"), Into::into).join("golden");
        let own = names.iter().map(|name| root.join("golden").join(name));
        let others = names.iter().map(|name| shared.join(name)).filter(|folder| folder.exists());
        for folder in own.chain(others) {
            let name = folder.display();
            let (_, differences) = parity(&ops, &folder).unwrap();
            let worst = differences.grads.iter().flatten().map(|g| g.1).fold(0.0, f64::max);
            println!("{name}: logits {:.1e} grads {worst:.1e}", differences.logits);
            assert!(differences.within(), "{name}: {differences:?}");
            assert!(differences.grads.is_some() && differences.greedy.is_some(), "{name} is one of the whole ones");
        }
    }

    /// 8-bit floats with a factor for each block: there is no gradient to compare, and weights stay as they are stored.
    #[test]
    fn agrees_with_decoded_8_bit_floats() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/deepseek_v3_fp8");
        let (_, differences) = parity(&backend::with_threads(2).unwrap(), &golden).unwrap();
        assert!(differences.within() && differences.grads.is_none(), "{differences:?}");
    }

    /// What `parity` says of the Llama fixture after `tensor` of `file` became these I64 or F32 values, or went away.
    fn changed(file: &str, tensor: &str, value: Option<(Dtype, Vec<usize>, Vec<u8>)>) -> Result<Differences, Error> {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/llama");
        let folder = tempfile::tempdir().unwrap();
        for name in ["config.json", "model.safetensors", "golden.safetensors", "golden_grads.safetensors"] {
            std::fs::copy(golden.join(name), folder.path().join(name)).unwrap();
        }
        let bytes = std::fs::read(golden.join(file)).unwrap();
        let mut tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
        tensors.retain(|(name, _)| name != tensor);
        if let Some((dtype, shape, data)) = &value {
            tensors.push((tensor.to_owned(), TensorView::new(*dtype, shape.clone(), data).unwrap()));
        }
        serialize_to_file(tensors, None, &folder.path().join(file)).unwrap();
        parity(&backend::with_threads(1).unwrap(), folder.path()).map(|(_, differences)| differences)
    }

    /// The two folders hold models of one shape, so that one can have the other's module.
    #[test]
    fn a_module_for_multi_token_prediction_does_not_show() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden");
        let folder = tempfile::tempdir().unwrap();
        for name in ["config.json", "golden.safetensors", "golden_grads.safetensors"] {
            std::fs::copy(golden.join("deepseek_v3").join(name), folder.path().join(name)).unwrap();
        }
        let files =
            ["deepseek_v3", "mtp"].map(|name| std::fs::read(golden.join(name).join("model.safetensors")).unwrap());
        let [main, other] = files.each_ref().map(|bytes| SafeTensors::deserialize(bytes).unwrap().tensors());
        let module = other.into_iter().filter(|(name, _)| name.starts_with("model.layers.2."));
        let both: Vec<_> = main.into_iter().chain(module).collect();
        serialize_to_file(both, None, &folder.path().join("model.safetensors")).unwrap();
        let ops = backend::with_threads(1).unwrap();
        let [(plain, _), (with, differences)] =
            [&golden.join("deepseek_v3"), folder.path()].map(|folder| parity(&ops, folder).unwrap());
        assert!(
            load(&ops, &Checkpoint::open(folder.path()).unwrap(), Some(WeightForm::Exact))
                .unwrap()
                .0
                .mtp_params()
                .count()
                > 0
        );
        assert!(differences.within(), "{differences:?}");
        assert!(plain.logits == with.logits && plain.logits_long == with.logits_long && plain.greedy == with.greedy);
    }

    #[test]
    fn incomplete_goldens_do_not_pass() {
        let ids = |ids: &[i64]| (Dtype::I64, vec![1, ids.len()], ids.iter().flat_map(|id| id.to_le_bytes()).collect());
        let short = changed("golden.safetensors", "greedy", Some(ids(&[]))).unwrap();
        assert!(short.greedy == Some(PROMPT + GREEDY) && !short.within());
        let grads = changed("golden_grads.safetensors", "model.norm.weight", None).unwrap();
        let missing = ("model.norm.weight".to_owned(), f64::INFINITY);
        assert!(!grads.within() && grads.grads.is_some_and(|grads| grads.contains(&missing)));
        // What is not there is not compared, but one half of a pair is a fault.
        let fewer = changed("golden.safetensors", "greedy", None).unwrap();
        assert!(fewer.greedy.is_none() && fewer.within());
        for (tensor, value) in [
            ("logits", None),
            ("logits_long", None),
            ("input_ids_long", None),
            ("loss", Some((Dtype::F32, vec![0], Vec::new()))),
            ("input_ids", Some(ids(&[]))),
            ("input_ids", Some(ids(&[3]))),
            ("input_ids", Some(ids(&[3, -1]))),
            ("input_ids", Some(ids(&[3, 61]))),
            ("input_ids_long", Some(ids(&[3, 1 << 32]))),
        ] {
            let error = changed("golden.safetensors", tensor, value.clone()).unwrap_err().to_string();
            assert!(error.contains(tensor) && error.contains("golden.safetensors"), "{value:?}: {error}");
        }
    }
}
