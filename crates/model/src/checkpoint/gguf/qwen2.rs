//! `qwen2`: Qwen2 and Qwen2.5, and what was distilled into them. Q, K and V have biases.

use super::architecture::{ATTENTION, Architecture, COMMON, DENSE};
use super::metadata::Metadata;
use super::settings::Settings;
use crate::checkpoint::CheckpointError;
use crate::config::{Family, ModelConfig};

pub(super) const ARCHITECTURE: Architecture =
    Architecture { name: "qwen2", families: &[Family::QWEN2], block: &[COMMON, ATTENTION, DENSE], read, write };

fn read(settings: &Settings) -> Result<ModelConfig, CheckpointError> {
    settings.grouped(Family::QWEN2)
}

fn write(config: &ModelConfig, out: &mut Metadata) -> Result<(), String> {
    out.grouped(config);
    Ok(())
}
