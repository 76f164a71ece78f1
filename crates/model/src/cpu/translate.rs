//! From the words of [`Ops`](crate::Ops) to those of the kernels.

use super::{CpuFrozen, CpuOps};
use crate::config::{GroupScore, RopeStyle, Scoring};
use crate::ops::{
    AdamW, AllowedTokens, AttentionShape, CacheForm, Dims, Draw, DrawLimits, Growth, LogitChange, MlaDims, Muon,
    Position, RotaryTable, RouterConfig, Weight,
};
use picnic_kernels::panels::Panels;
use picnic_kernels::rope::{self, RopeTable, Style};
use picnic_kernels::{adamw, attention, columns, muon, router, sampling, weight};
use std::sync::{Arc, Mutex, PoisonError, Weak};

pub(super) fn attention(shape: &AttentionShape) -> attention::Shape {
    let AttentionShape { heads, kv_heads, dk, dv, scale, latent } = *shape;
    attention::Shape { heads, kv_heads, dk, dv, scale, latent }
}

pub(super) fn cache_form(form: CacheForm) -> attention::Form {
    match form {
        CacheForm::Exact => attention::Form::F32,
        CacheForm::F16 => attention::Form::F16,
        CacheForm::Q8 => attention::Form::Q8,
    }
}

pub(super) fn weight(weight: Weight<'_, CpuOps>, dims: Dims) -> weight::Weight<'_> {
    match weight {
        Weight::Learning(values) => Panels::new(values, dims.n, dims.k).into(),
        Weight::Frozen(CpuFrozen::Weight(frozen)) => frozen.into(),
        Weight::Frozen(CpuFrozen::Integer(frozen)) => weight::Weight::Integer(frozen),
        Weight::Frozen(CpuFrozen::Table(_)) => panic!("a table that only looks rows up is no weight"),
    }
}

pub(super) fn weights<'a>(weights: &[Weight<'a, CpuOps>], dims: Dims) -> Vec<weight::Weight<'a>> {
    weights.iter().map(|&w| weight(w, dims)).collect()
}

pub(super) fn mla(dims: MlaDims) -> columns::MlaDims {
    let MlaDims { heads, nope, rope, v } = dims;
    columns::MlaDims { heads, nope, rope, v }
}

pub(super) fn adamw(config: &AdamW) -> adamw::AdamW {
    let AdamW { lr, beta1, beta2, eps, weight_decay, step } = *config;
    adamw::AdamW { lr, beta1, beta2, eps, weight_decay, step }
}

pub(super) fn muon(config: &Muon) -> muon::Muon {
    let Muon { lr, momentum, weight_decay } = *config;
    muon::Muon { lr, momentum, weight_decay }
}

pub(super) fn draw(draw: &Draw) -> sampling::Draw {
    let Draw { changes, allowed, temperature, limits, uniform, likeliest } = draw;
    let change = |&LogitChange { token, repetition, add }: &LogitChange| sampling::Change { token, repetition, add };
    let DrawLimits { top_k, top_p, min_p, typical_p } = *limits;
    sampling::Draw {
        changes: changes.iter().map(change).collect(),
        allowed: match allowed {
            AllowedTokens::All => sampling::Allowed::All,
            AllowedTokens::One(token) => sampling::Allowed::One(*token),
            AllowedTokens::Of(words) => sampling::Allowed::Of(words.clone()),
        },
        temperature: *temperature,
        limits: sampling::Limits { top_k, top_p, min_p, typical_p },
        uniform: *uniform,
        likeliest: *likeliest,
    }
}

pub(super) fn style(style: RopeStyle) -> Style {
    match style {
        RopeStyle::Interleaved => Style::Interleaved,
        RopeStyle::Half => Style::Half,
    }
}

pub(super) fn router(config: &RouterConfig) -> router::Config {
    let RouterConfig { experts, top_k, groups, top_groups, normalise, scale, .. } = *config;
    let scoring = match config.scoring {
        Scoring::Sigmoid => router::Scoring::Sigmoid,
        Scoring::Softmax => router::Scoring::Softmax,
    };
    let group_score = match config.group_score {
        GroupScore::SumTop2 => router::GroupScore::SumTop2,
        GroupScore::Max => router::GroupScore::Max,
    };
    router::Config { experts, top_k, groups, top_groups, scoring, group_score, normalise, scale }
}

/// Positions in the kernels' words.
pub(super) fn positions(positions: &[Position]) -> Vec<rope::Position> {
    positions.iter().map(|&Position { at, length }| rope::Position { at, length }).collect()
}

/// The cosines and sines of every table that lives.
#[derive(Default)]
pub(super) struct Cosines(Mutex<Vec<(Weak<RotaryTable>, Arc<RopeTable>)>>);

impl Cosines {
    /// Those of `table`, computed when they are first asked for.
    pub(super) fn of(&self, table: &Arc<RotaryTable>) -> Arc<RopeTable> {
        // A panic elsewhere leaves the list whole.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, cosines)) = known.iter().find(|(of, _)| std::ptr::eq(of.as_ptr(), Arc::as_ptr(table))) {
            return Arc::clone(cosines);
        }
        known.retain(|(of, _)| of.strong_count() > 0);
        let growth = table.growth.map(|Growth { theta, factor, positions }| rope::Growth {
            theta,
            factor,
            positions: u32::try_from(positions).unwrap_or(u32::MAX),
        });
        let cosines = Arc::new(RopeTable::new(&table.inv_freq, table.attention_factor).growing(growth));
        known.push((Arc::downgrade(table), Arc::clone(&cosines)));
        cosines
    }
}
