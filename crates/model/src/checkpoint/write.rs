//! Writes a Hugging Face folder: `model.safetensors` and `config.json`.
//!
//! Each file is made under a temporary name in the same folder, synced and then renamed, so a
//! reader sees the old file or the new one and a failure leaves the old. Equal tensors give equal
//! bytes. Left out: shards, tokenizer files.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use half::{bf16, f16};
use serde_json::json;

use super::CheckpointError;
use crate::config::ModelConfig;

/// A tensor to be written.
#[derive(Debug, Clone, Copy)]
pub struct TensorView<'a> {
    /// Its Hugging Face name.
    pub name: &'a str,
    /// Its sizes, the fastest-running last.
    pub shape: &'a [usize],
    /// Its values in row-major order.
    pub data: &'a [f32],
}

/// How floats are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FloatType {
    /// 32 bits, exact.
    F32,
    /// The upper half of an f32, rounded to nearest even.
    Bf16,
    /// IEEE half precision, rounded to nearest even.
    F16,
}

/// Writes `tensors` and `config` into the folder `dir`, which is made if it does not exist.
///
/// Router biases (`e_score_correction_bias`) stay F32 whatever `dtype` says, as upstream has them:
/// their steps are smaller than the other types' precision.
///
/// # Errors
/// A tensor whose data do not fill its shape, a name given twice, a value beyond F16's range; or
/// the system's refusal, such as a full disk. What was in the folder is then unchanged.
pub fn write_folder<'a>(
    dir: &Path,
    config: &ModelConfig,
    tensors: impl IntoIterator<Item = TensorView<'a>>,
    dtype: FloatType,
) -> Result<(), CheckpointError> {
    let mut tensors: Vec<(FloatType, TensorView)> =
        tensors.into_iter().map(|tensor| (stored_as(tensor.name, dtype), tensor)).collect();
    // Wide types first keeps every tensor aligned to its own width.
    tensors.sort_by_key(|(dtype, tensor)| (std::cmp::Reverse(dtype.width()), tensor.name));
    check(&tensors)?;
    let mut json = config.to_json();
    for key in ["dtype", "torch_dtype"] {
        json[key] = json!(dtype.torch_name());
    }
    let json = format!("{json:#}\n");

    fs::create_dir_all(dir).map_err(|e| refused(dir, e))?;
    let weights = staged(&dir.join("model.safetensors"), |out| write_safetensors(out, &tensors))?;
    let config = staged(&dir.join("config.json"), |out| out.write_all(json.as_bytes()))?;
    for (staged, name) in [(weights, "model.safetensors"), (config, "config.json")] {
        let path = dir.join(name);
        staged.persist(&path).map_err(|e| refused(&path, e.error))?;
    }
    // The renames themselves are durable once the folder is synced; only Unix can open one.
    if cfg!(unix) {
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(|e| refused(dir, e))?;
    }
    Ok(())
}

/// Writes a temporary file beside `path` and syncs it. Dropping it instead of renaming removes it.
fn staged(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> Result<tempfile::NamedTempFile, CheckpointError> {
    let stage = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".writing-").suffix(".tmp");
        // Temporary files are private by default; a checkpoint is an ordinary file.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        let file = builder.tempfile_in(path.parent().unwrap_or(Path::new("")))?;
        let mut out = BufWriter::with_capacity(1 << 20, file.as_file());
        write(&mut out)?;
        out.flush()?;
        drop(out);
        file.as_file().sync_all()?;
        Ok(file)
    };
    stage().map_err(|e| refused(path, e))
}

fn refused(file: &Path, source: io::Error) -> CheckpointError {
    CheckpointError::Io {
        file: file.to_owned(),
        action: "write it",
        source,
        cure: "what was there is unchanged; make room or check permissions, then try again",
    }
}

/// The format: length of the header, the header padded to 8 bytes, the data in the same order.
fn write_safetensors(out: &mut impl Write, tensors: &[(FloatType, TensorView)]) -> io::Result<()> {
    let mut header = String::from(r#"{"__metadata__":{"format":"pt"}"#);
    let mut offset = 0;
    for (dtype, tensor) in tensors {
        let end = offset + tensor.data.len() * dtype.width();
        let info = json!({
            "dtype": dtype.name(), "shape": tensor.shape, "data_offsets": [offset, end],
        });
        header.push_str(&format!(",{}:{info}", json!(tensor.name)));
        offset = end;
    }
    header.push('}');
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    for (dtype, tensor) in tensors {
        for &x in tensor.data {
            match dtype {
                FloatType::F32 => out.write_all(&x.to_le_bytes())?,
                FloatType::Bf16 => out.write_all(&bf16::from_f32(x).to_le_bytes())?,
                FloatType::F16 => out.write_all(&f16::from_f32(x).to_le_bytes())?,
            }
        }
    }
    Ok(())
}

fn check(tensors: &[(FloatType, TensorView)]) -> Result<(), CheckpointError> {
    let unwritable =
        |tensor: &TensorView, problem: String| CheckpointError::Unwritable { tensor: tensor.name.to_owned(), problem };
    for (i, (dtype, tensor)) in tensors.iter().enumerate() {
        let (shape, have) = (tensor.shape, tensor.data.len());
        let size = shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size));
        if size != Some(have) {
            let problem = format!("its shape {shape:?} does not hold its {have} values");
            return Err(unwritable(tensor, problem));
        }
        if i > 0 && tensors[i - 1].1.name == tensor.name {
            return Err(unwritable(tensor, "the name is given twice".into()));
        }
        let overflows = |x: &&f32| x.is_finite() && f16::from_f32(**x).is_infinite();
        if *dtype == FloatType::F16
            && let Some(x) = tensor.data.iter().find(overflows)
        {
            let problem = format!("F16 cannot hold {x}; write BF16 or F32");
            return Err(unwritable(tensor, problem));
        }
    }
    Ok(())
}

fn stored_as(name: &str, dtype: FloatType) -> FloatType {
    if name.ends_with("e_score_correction_bias") { FloatType::F32 } else { dtype }
}

impl FloatType {
    fn width(self) -> usize {
        match self {
            FloatType::F32 => 4,
            FloatType::Bf16 | FloatType::F16 => 2,
        }
    }

    /// The name in a safetensors header.
    fn name(self) -> &'static str {
        match self {
            FloatType::F32 => "F32",
            FloatType::Bf16 => "BF16",
            FloatType::F16 => "F16",
        }
    }

    /// The name in `config.json`.
    fn torch_name(self) -> &'static str {
        match self {
            FloatType::F32 => "float32",
            FloatType::Bf16 => "bfloat16",
            FloatType::F16 => "float16",
        }
    }
}
