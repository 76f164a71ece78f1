//! Writes a Hugging Face folder: `config.json` and `model.safetensors`, or shards and their index.
//!
//! Each file is made under a temporary name in the same folder, synced and then renamed, so a
//! reader sees the old file or the new one and a failure leaves the old. Several files cannot be
//! exchanged at once: shards are only written where no model is, and their index comes last, so
//! they are a model or they are not. Equal tensors give equal bytes. Left out: tokenizer files.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use half::{bf16, f16};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::CheckpointError;
use super::folder::{INDEX, WHOLE};
use crate::config::ModelConfig;

/// What one file holds at most unless told otherwise, in bytes: upstream's size of a shard.
pub const SHARD_BYTES: u64 = 5_000_000_000;

/// A tensor to be written.
#[derive(Clone, Copy)]
pub struct TensorView<'a> {
    /// Its Hugging Face name.
    pub name: &'a str,
    /// Its sizes, the fastest-running last.
    pub shape: &'a [usize],
    /// Its values in row-major order.
    pub data: Values<'a>,
}

/// Where a tensor's values come from.
#[derive(Clone, Copy)]
pub enum Values<'a> {
    /// They are there.
    Given(&'a [f32]),
    /// They are made when they are written, so that no two tensors need be in memory. As many as the shape says, and the
    /// same each time.
    Made(&'a dyn Fn() -> Vec<f32>),
}

impl Values<'_> {
    pub(super) fn get(&self) -> Cow<'_, [f32]> {
        match self {
            Values::Given(values) => Cow::Borrowed(values),
            Values::Made(make) => Cow::Owned(make()),
        }
    }
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
/// Tensors of more than `shard_bytes` in all are cut into files of at most that, listed in
/// `model.safetensors.index.json`; a tensor is never cut, so one may exceed it alone. Router biases
/// (`e_score_correction_bias`) stay F32 whatever `dtype` says, as upstream has them: their steps are
/// smaller than the other types' precision.
///
/// # Errors
/// A tensor whose data do not fill its shape, a name given twice, a value beyond F16's range; shards
/// where a model is already; or the system's refusal, such as a full disk. What was in the folder is
/// then unchanged.
pub fn write_folder<'a>(
    dir: &Path,
    config: &ModelConfig,
    tensors: impl IntoIterator<Item = TensorView<'a>>,
    dtype: FloatType,
    shard_bytes: u64,
) -> Result<(), CheckpointError> {
    let mut tensors: Vec<Stored> =
        tensors.into_iter().map(|tensor| Stored { dtype: stored_as(tensor.name, dtype), tensor }).collect();
    // Wide types first keeps every tensor aligned to its own width.
    tensors.sort_by_key(|stored| (Reverse(stored.dtype.width()), stored.tensor.name));
    check(&tensors)?;
    let shards = cut(&tensors, shard_bytes);
    if dir.join(INDEX).exists() || shards.len() > 1 && dir.join(WHOLE).exists() {
        return Err(CheckpointError::damaged(
            dir,
            "holds a model already, and shards cannot be exchanged at once",
            "give another folder, or remove that model first",
        ));
    }

    fs::create_dir_all(dir).map_err(|e| refused(dir, e))?;
    let mut files = Vec::new();
    for (i, shard) in shards.iter().enumerate() {
        let name = match shards.len() {
            1 => WHOLE.to_owned(),
            n => format!("model-{:05}-of-{n:05}.safetensors", i + 1),
        };
        let path = dir.join(&name);
        files.push((staged(&path, |out| write_safetensors(out, shard).map_err(|e| refused(&path, e)))?, name));
    }
    let index = (shards.len() > 1).then(|| index_of(&shards, &files));
    let mut json = config.to_json();
    for key in ["dtype", "torch_dtype"] {
        json[key] = json!(dtype.torch_name());
    }
    for (name, json) in [("config.json", Some(json)), (INDEX, index)] {
        if let Some(json) = json {
            let path = dir.join(name);
            files.push((
                staged(&path, |out| writeln!(out, "{json:#}").map_err(|e| refused(&path, e)))?,
                name.to_owned(),
            ));
        }
    }
    for (staged, name) in files {
        let path = dir.join(name);
        staged.persist(&path).map_err(|e| refused(&path, e.error))?;
    }
    sync_folder(dir)
}

/// A tensor and the type that it gets in the file.
struct Stored<'a> {
    dtype: FloatType,
    tensor: TensorView<'a>,
}

impl Stored<'_> {
    /// Values in the tensor, by its shape, which was checked.
    fn len(&self) -> usize {
        self.tensor.shape.iter().product()
    }

    fn bytes(&self) -> u64 {
        (self.len() * self.dtype.width()) as u64
    }
}

/// `tensors` in runs of at most `limit` bytes, or of one tensor; at least one run.
fn cut<'s, 'a>(tensors: &'s [Stored<'a>], limit: u64) -> Vec<&'s [Stored<'a>]> {
    let (mut shards, mut rest, mut bytes) = (Vec::new(), tensors, 0);
    let mut len = 0;
    for stored in tensors {
        if len > 0 && bytes + stored.bytes() > limit {
            let (shard, others) = rest.split_at(len);
            shards.push(shard);
            (rest, len, bytes) = (others, 0, 0);
        }
        len += 1;
        bytes += stored.bytes();
    }
    shards.push(rest);
    shards
}

/// The index of `shards`: which of `files` holds which tensor, and the bytes of all.
fn index_of(shards: &[&[Stored]], files: &[(NamedTempFile, String)]) -> Value {
    let placed = shards.iter().zip(files).flat_map(|(shard, (_, file))| shard.iter().map(move |s| (s, file)));
    let weight_map: BTreeMap<&str, &String> = placed.map(|(stored, file)| (stored.tensor.name, file)).collect();
    let total: u64 = shards.iter().flat_map(|shard| shard.iter()).map(Stored::bytes).sum();
    json!({"metadata": {"total_size": total}, "weight_map": weight_map})
}

/// Writes a temporary file beside `path` and syncs it. Dropping it instead of renaming removes it.
pub(super) fn staged(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&File>) -> Result<(), CheckpointError>,
) -> Result<NamedTempFile, CheckpointError> {
    let open = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".writing-").suffix(".tmp");
        // Temporary files are private by default; a checkpoint is an ordinary file.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        // A file's name alone has the empty path as its parent.
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        builder.tempfile_in(parent.unwrap_or(Path::new(".")))
    };
    let file = open().map_err(|e| refused(path, e))?;
    let mut out = BufWriter::with_capacity(1 << 20, file.as_file());
    write(&mut out)?;
    out.flush().map_err(|e| refused(path, e))?;
    drop(out);
    file.as_file().sync_all().map_err(|e| refused(path, e))?;
    Ok(file)
}

/// Gives a staged file its name, durably.
pub(super) fn persist(staged: NamedTempFile, path: &Path) -> Result<(), CheckpointError> {
    staged.persist(path).map_err(|e| refused(path, e.error))?;
    sync_folder(path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

/// Renames are durable once their folder is synced; only Unix can open one.
fn sync_folder(dir: &Path) -> Result<(), CheckpointError> {
    if cfg!(unix) {
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(|e| refused(dir, e))?;
    }
    Ok(())
}

pub(super) fn refused(file: &Path, source: io::Error) -> CheckpointError {
    CheckpointError::Io {
        file: file.to_owned(),
        action: "write it",
        source,
        cure: "what was there is unchanged; make room or check permissions, then try again",
    }
}

/// The format: length of the header, the header padded to 8 bytes, the data in the same order.
fn write_safetensors(out: &mut impl Write, tensors: &[Stored]) -> io::Result<()> {
    let mut header = String::from(r#"{"__metadata__":{"format":"pt"}"#);
    let mut offset = 0;
    for stored in tensors {
        let Stored { dtype, tensor } = stored;
        let end = offset + stored.len() * dtype.width();
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
    for stored in tensors {
        let Stored { dtype, tensor } = stored;
        let values = tensor.data.get();
        // The header has said so; fewer would shift all that follows.
        assert_eq!(values.len(), stored.len(), "{}", tensor.name);
        for &x in values.iter() {
            match dtype {
                FloatType::F32 => out.write_all(&x.to_le_bytes())?,
                FloatType::Bf16 => out.write_all(&bf16::from_f32(x).to_le_bytes())?,
                FloatType::F16 => out.write_all(&f16::from_f32(x).to_le_bytes())?,
            }
        }
    }
    Ok(())
}

fn check(tensors: &[Stored]) -> Result<(), CheckpointError> {
    let unwritable =
        |tensor: &TensorView, problem: String| CheckpointError::Unwritable { tensor: tensor.name.to_owned(), problem };
    for (i, Stored { dtype, tensor }) in tensors.iter().enumerate() {
        let shape = tensor.shape;
        let size = shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size));
        let have = match tensor.data {
            Values::Given(values) => Some(values.len()),
            Values::Made(_) => size,
        };
        if size.is_none() || size != have {
            let have = have.map_or_else(|| "more".to_owned(), |n| n.to_string());
            let problem = format!("its shape {shape:?} does not hold its {have} values");
            return Err(unwritable(tensor, problem));
        }
        if i > 0 && tensors[i - 1].tensor.name == tensor.name {
            return Err(unwritable(tensor, "the name is given twice".into()));
        }
        let overflows = |x: &&f32| x.is_finite() && f16::from_f32(**x).is_infinite();
        if *dtype == FloatType::F16
            && let Some(x) = tensor.data.get().iter().find(overflows)
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
