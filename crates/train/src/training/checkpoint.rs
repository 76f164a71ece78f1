//! A checkpoint: the model in f32, and in `training/` what else a run needs to go on as if it had never stopped.

use super::{Outcome, Training};
use crate::error::Error;
use crate::run_folder::{CHECKPOINTS, list, sync_file, sync_folder, write_json};
use crate::watch;
use picnic_model::checkpoint::{Checkpoint, FloatType, SHARD_BYTES};
use picnic_model::{Backend, Ops, ParamSpec, WeightForm, rows_of, save, write_rows};
use picnic_tasks::Curriculum;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fs;
use std::path::Path;
use std::time::Instant;

const MOMENTS: &str = "optimizer.safetensors";

#[derive(Serialize, Deserialize)]
struct State {
    stage: String,
    fingerprint: String,
    step: u64,
    optimizer_steps: u64,
    outcome: Outcome,
    #[serde(default)]
    curriculum: Option<Curriculum>,
}

/// A moment on its way into a file: its rows are made when they are written, one tensor at a time.
struct Moment<'m> {
    ops: &'m Backend,
    spec: &'m ParamSpec,
    len: usize,
    value: &'m <Backend as Ops>::Buffer,
}

impl safetensors::View for Moment<'_> {
    fn dtype(&self) -> safetensors::Dtype {
        safetensors::Dtype::F32
    }
    fn shape(&self) -> &[usize] {
        // What a checkpoint says of a moment is how many values it has.
        std::slice::from_ref(&self.len)
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(bytemuck::cast_slice(&rows_of(self.ops, self.spec, self.value)).to_vec())
    }
    fn data_len(&self) -> usize {
        self.len * size_of::<f32>()
    }
}

impl Training<'_> {
    pub(super) fn checkpoint(&mut self) -> Result<(), Error> {
        self.check_weights()?;
        self.tick();
        let checkpoints = self.setting.out.join(CHECKPOINTS);
        let whole = checkpoints.join(format!("step-{:08}", self.step));
        let partial = checkpoints.join("partial");
        let _writing = watch::at(format!("checkpoint: writing {}", whole.display()));
        let inner = partial.join("training");
        if partial.exists() {
            fs::remove_dir_all(&partial).map_err(Error::writing(&partial))?;
        }
        fs::create_dir_all(&inner).map_err(Error::writing(&inner))?;
        self.chat.save(&partial)?;
        save(&self.ops, self.policy.model(), &self.policy.params(), &partial, FloatType::F32, SHARD_BYTES)?;
        if let Some(reference) = &self.reference {
            save(&self.ops, self.policy.model(), reference, &inner.join("reference"), FloatType::F32, SHARD_BYTES)?;
        }
        self.write_moments(&inner.join(MOMENTS))?;
        let state = State {
            stage: self.stage.into(),
            fingerprint: self.fingerprint.clone(),
            step: self.step,
            optimizer_steps: self.optimizer.step,
            outcome: self.outcome.clone(),
            curriculum: self.curriculum.clone(),
        };
        write_json(&inner.join("state.json"), &state)?;
        sync_folder(&inner)?;
        if whole.exists() {
            fs::remove_dir_all(&whole).map_err(Error::writing(&whole))?;
        }
        fs::rename(&partial, &whole).map_err(Error::writing(&whole))?;
        sync_folder(&checkpoints)?;
        for (step, older) in list(&self.setting.out)? {
            if step < self.step {
                fs::remove_dir_all(&older).map_err(Error::writing(&older))?;
            }
        }
        Ok(())
    }

    fn write_moments(&self, path: &Path) -> Result<(), Error> {
        let params = self.policy.params();
        let mut moments = Vec::new();
        for (param, moments_of) in params.iter().zip(self.optimizer.moments()) {
            for (name, value) in ["m", "v"].iter().zip(moments_of) {
                let name = format!("{name}.{}", param.spec.name);
                moments.push((name, Moment { ops: &self.ops, spec: &param.spec, len: param.spec.len(), value }));
            }
        }
        safetensors::serialize_to_file(moments, None, path)
            .map_err(|e| Error::writing(path)(std::io::Error::other(e)))?;
        sync_file(path)
    }

    pub(super) fn restore(&mut self, folder: &Path) -> Result<(), Error> {
        let inner = folder.join("training");
        let path = inner.join("state.json");
        let text = fs::read_to_string(&path).map_err(Error::reading(&path))?;
        let state: State = serde_json::from_str(&text)
            .map_err(|e| Error::Resume { path: path.clone(), problem: format!("is no state of a run ({e})") })?;
        if state.stage != self.stage || state.fingerprint != self.fingerprint {
            return Err(Error::Resume { path, problem: "was made by another recipe".into() });
        }
        let moments = Checkpoint::open(inner.join(MOMENTS))?;
        let params = self.policy.params();
        for (param, moments_of) in params.iter().zip(self.optimizer.moments_mut()) {
            for (name, moment) in ["m", "v"].iter().zip(moments_of) {
                let values = moments.read_expected(&format!("{name}.{}", param.spec.name), &[param.spec.len()])?;
                write_rows(&self.ops, &param.spec, moment, &values);
            }
        }
        drop(params);
        let reference = inner.join("reference");
        if reference.exists() {
            self.reference =
                Some(picnic_model::load(&self.ops, &Checkpoint::open(&reference)?, Some(WeightForm::Exact))?.1);
        }
        (self.step, self.optimizer.step, self.outcome) = (state.step, state.optimizer_steps, state.outcome);
        self.curriculum = state.curriculum;
        self.started = Instant::now();
        Ok(())
    }
}
