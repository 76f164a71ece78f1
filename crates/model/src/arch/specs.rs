//! The list of a model's tensors while its layers write it.

use crate::params::{ParamId, ParamSpec, Role};

/// The tensors so far, in the order in which they were named.
#[derive(Default)]
pub(super) struct Specs(Vec<ParamSpec>);

impl Specs {
    /// One tensor more.
    pub(super) fn add(&mut self, name: impl Into<String>, shape: &[usize], role: Role) -> ParamId {
        self.0.push(ParamSpec { name: name.into(), shape: shape.to_vec(), role });
        ParamId(self.0.len() - 1)
    }

    /// The weight of a linear layer, `[n, k]`.
    pub(super) fn linear(&mut self, name: impl AsRef<str>, n: usize, k: usize) -> ParamId {
        self.add(format!("{}.weight", name.as_ref()), &[n, k], Role::Linear)
    }

    /// The bias of a linear layer of `n` outputs, if it has one.
    pub(super) fn bias(&mut self, has_one: bool, name: impl AsRef<str>, n: usize) -> Option<ParamId> {
        has_one.then(|| self.add(format!("{}.bias", name.as_ref()), &[n], Role::Bias))
    }

    /// The weight of a norm over `width` values.
    pub(super) fn norm(&mut self, name: impl AsRef<str>, width: usize) -> ParamId {
        self.add(format!("{}.weight", name.as_ref()), &[width], Role::Norm)
    }

    /// Number of tensors.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// All of them.
    pub(super) fn into_vec(self) -> Vec<ParamSpec> {
        self.0
    }
}
