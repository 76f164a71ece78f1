//! From a checkpoint to a model and its parameters, and back.

use crate::arch::mtp_mark;
use crate::checkpoint::{Checkpoint, CheckpointError, FloatType, TensorView, Values, write_folder};
use crate::init::initial_values;
use crate::ops::{OutOfMemory, WeightForm};
use crate::params::Source;
use crate::{Model, Ops, ParamStore};
use std::path::Path;

/// The model of `checkpoint` and its parameters, which learn in f32 if `weights` is `None`, and do not in the form that it
/// names, as far as [`Role::kept_in`](crate::Role::kept_in) allows.
///
/// The module of multi-token prediction is there if the configuration names one and the checkpoint holds it: folders
/// that transformers saved have the key without the tensors. Of several modules the first is read. Tensors that the
/// architecture does not use are left unread.
///
/// # Errors
/// A missing tensor, a wrong shape or an unreadable type, with file, tensor and cure.
pub fn load<O: Ops>(
    ops: &O,
    checkpoint: &Checkpoint,
    weights: Option<WeightForm>,
) -> Result<(Model, ParamStore<O>), CheckpointError> {
    let mut config = checkpoint.config()?;
    let held = config.num_nextn_predict_layers > 0 && checkpoint.shape(&mtp_mark(&config)).is_some();
    config.num_nextn_predict_layers = usize::from(held);
    let model = Model::new(config);
    let mut read = None;
    let params = ParamStore::new(ops, model.specs().to_vec(), weights.is_none(), |spec| {
        // What was read before is in memory by now, so the file's pages need not be.
        if let Some(name) = read.replace(spec.name.clone()) {
            checkpoint.release(&name);
        }
        match (&spec.shape[..], weights) {
            (&[n, k], Some(form)) => {
                let rows = checkpoint.stored_rows(&spec.name, [n, k])?;
                Ok::<_, CheckpointError>(Source::Stored(rows, spec.role.kept_in(form)))
            }
            _ => Ok(Source::Values(checkpoint.read_expected(&spec.name, &spec.shape)?)),
        }
    })?;
    if let Some(name) = read {
        checkpoint.release(&name);
    }
    Ok((model, params))
}

/// Fresh parameters for `model`.
///
/// # Errors
/// If memory runs out.
pub fn initialise<O: Ops>(ops: &O, model: &Model, seed: u64) -> Result<ParamStore<O>, OutOfMemory> {
    let std = model.config().initializer_range;
    ParamStore::new(ops, model.specs().to_vec(), true, |spec| Ok(Source::Values(initial_values(spec, std, seed))))
}

/// Writes `config.json` and `model.safetensors` into the folder `dir`, whole or not at all; a model of more than
/// `shard_bytes` as shards with their index. As upstream has it, the module of multi-token prediction goes with copies
/// of the embedding and the head.
///
/// # Errors
/// Shards where a model is already; the system's refusal, such as a full disk. What was in the folder is then
/// unchanged.
pub fn save<O: Ops>(
    ops: &O,
    model: &Model,
    params: &ParamStore<O>,
    dir: &Path,
    dtype: FloatType,
    shard_bytes: u64,
) -> Result<(), CheckpointError> {
    // A tensor's rows are made when it is written: never is the whole model there a second time.
    type Rows<'r> = Box<dyn Fn() -> Vec<f32> + 'r>;
    let rows: Vec<Rows> = params.iter().map(|param| Box::new(|| param.to_rows(ops)) as Rows).collect();
    let tensors = params.iter().zip(&rows).map(|(param, rows)| TensorView {
        name: &param.spec.name,
        shape: &param.spec.shape,
        data: Values::Made(rows),
    });
    let copies = model.mtp_copies();
    let copies = copies.iter().map(|(name, id)| {
        let shape = &params.get(*id).spec.shape;
        TensorView { name, shape, data: Values::Made(&rows[id.0]) }
    });
    write_folder(dir, model.config(), tensors.chain(copies), dtype, shard_bytes)
}
