//! The named tensors of a model, and gradients for those that learn.
//!
//! A matrix that products use is kept twice: as rows, which is what optimizers and checkpoints see, and in panels
//! derived from them. The store owns both and lets nobody change one without the other.

use crate::ops::{Ops, OutOfMemory};

/// What a tensor is for, which decides how it starts and whether decay and panels apply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// `[n, k]` weight of a linear layer.
    Linear,
    /// `[V, d]` table that only looks rows up.
    Embedding,
    /// `[V, d]` table that is also the head (tied embeddings).
    TiedEmbedding,
    /// Weight of a norm; starts at one.
    Norm,
    /// Bias of a linear layer; starts at zero.
    Bias,
    /// `e_score_correction_bias`: moved by expert load, never by a gradient.
    RouterBias,
}

/// A tensor's name, shape and role.
#[derive(Clone, Debug)]
pub struct ParamSpec {
    /// Upstream (Hugging Face) name.
    pub name: String,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: Role,
}

impl ParamSpec {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the tensor holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Index of a tensor in its [`ParamStore`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParamId(pub usize);

/// One tensor.
pub struct Param<O: Ops> {
    /// Its index.
    pub id: ParamId,
    /// Its name, shape and role.
    pub spec: ParamSpec,
    /// Whether it gets a gradient.
    pub trainable: bool,
    value: O::Buffer,
    panels: Option<O::Panels>,
}

impl<O: Ops> Param<O> {
    /// The values in rows.
    pub fn value(&self) -> &O::Buffer {
        &self.value
    }

    /// The values in panels. Panics for a tensor that is no linear weight.
    pub fn panels(&self) -> &O::Panels {
        self.panels.as_ref().expect("only linear weights have panels")
    }
}

/// All tensors of one model: the policy, a reference, an average each have a store of their own.
pub struct ParamStore<O: Ops> {
    params: Vec<Param<O>>,
}

impl<O: Ops> ParamStore<O> {
    /// A store of `specs`, the values of each given by `values`; all but router biases learn if `trainable`.
    ///
    /// # Errors
    /// The first error of `values`, or no memory.
    pub fn new<E: From<OutOfMemory>>(
        ops: &O,
        specs: Vec<ParamSpec>,
        trainable: bool,
        mut values: impl FnMut(&ParamSpec) -> Result<Vec<f32>, E>,
    ) -> Result<Self, E> {
        let mut params = Vec::with_capacity(specs.len());
        for (i, spec) in specs.into_iter().enumerate() {
            let values = values(&spec)?;
            assert_eq!(values.len(), spec.len(), "{}", spec.name);
            let mut param = Param {
                id: ParamId(i),
                trainable: trainable && spec.role != Role::RouterBias,
                value: ops.upload(&values).map_err(|e| e.during("the parameters"))?,
                panels: matches!(spec.role, Role::Linear | Role::TiedEmbedding).then(|| ops.empty_panels()),
                spec,
            };
            param.refresh(ops);
            params.push(param);
        }
        Ok(ParamStore { params })
    }

    /// The tensor `id`.
    pub fn get(&self, id: ParamId) -> &Param<O> {
        &self.params[id.0]
    }

    /// The tensor called `name`.
    pub fn by_name(&self, name: &str) -> Option<&Param<O>> {
        self.params.iter().find(|p| p.spec.name == name)
    }

    /// All tensors in order.
    pub fn iter(&self) -> impl Iterator<Item = &Param<O>> {
        self.params.iter()
    }

    /// Keeps the tensors `ids` from learning: they get no gradient, no moments and no decay.
    pub fn freeze(&mut self, ids: impl IntoIterator<Item = ParamId>) {
        ids.into_iter().for_each(|id| self.params[id.0].trainable = false);
    }

    /// Changes values in place through `change`, then derives the panels anew.
    pub fn update(&mut self, ops: &O, mut change: impl FnMut(ParamId, &ParamSpec, &mut O::Buffer)) {
        for param in &mut self.params {
            change(param.id, &param.spec, &mut param.value);
            param.refresh(ops);
        }
    }

    /// Changes one tensor, then derives its panels anew.
    pub fn update_one(&mut self, ops: &O, id: ParamId, change: impl FnOnce(&mut O::Buffer)) {
        let param = &mut self.params[id.0];
        change(&mut param.value);
        param.refresh(ops);
    }

    /// A frozen copy, such as a reference policy.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn frozen_copy(&self, ops: &O) -> Result<Self, OutOfMemory> {
        let params = self.params.iter().map(|p| {
            let mut copy = Param {
                id: p.id,
                spec: p.spec.clone(),
                trainable: false,
                value: ops.copy(&p.value).map_err(|e| e.during("a copy of the parameters"))?,
                panels: p.panels.as_ref().map(|_| ops.empty_panels()),
            };
            copy.refresh(ops);
            Ok(copy)
        });
        Ok(ParamStore { params: params.collect::<Result<_, OutOfMemory>>()? })
    }

    /// Number of values.
    pub fn count(&self) -> usize {
        self.params.iter().map(|p| p.spec.len()).sum()
    }
}

impl<O: Ops> Param<O> {
    fn refresh(&mut self, ops: &O) {
        if let Some(panels) = &mut self.panels {
            ops.pack(&self.value, self.spec.shape[1], panels);
        }
    }
}

/// One gradient for each trainable tensor of a store.
pub struct Grads<O: Ops> {
    buffers: Vec<Option<O::Buffer>>,
}

impl<O: Ops> Grads<O> {
    /// Zeros.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn new(ops: &O, params: &ParamStore<O>) -> Result<Self, OutOfMemory> {
        let zeros = |len| ops.zeros(len).map_err(|e| e.during("the gradients of the parameters"));
        let buffers = params.iter().map(|p| p.trainable.then(|| zeros(p.spec.len())).transpose());
        Ok(Grads { buffers: buffers.collect::<Result<_, OutOfMemory>>()? })
    }

    /// The gradient of tensor `id`; `None` if it is frozen.
    pub fn get(&self, id: ParamId) -> Option<&O::Buffer> {
        self.buffers[id.0].as_ref()
    }

    /// The gradient of tensor `id`; `None` if it is frozen.
    pub fn get_mut(&mut self, id: ParamId) -> Option<&mut O::Buffer> {
        self.buffers[id.0].as_mut()
    }

    /// Takes the gradient of tensor `id` out, to be given back.
    pub(crate) fn lend(&mut self, id: ParamId) -> Option<O::Buffer> {
        self.buffers[id.0].take()
    }

    /// Puts back what was lent.
    pub(crate) fn give_back(&mut self, id: ParamId, gradient: Option<O::Buffer>) {
        self.buffers[id.0] = gradient;
    }

    /// Sets every gradient to zero.
    pub fn clear(&mut self, ops: &O) {
        self.buffers.iter_mut().flatten().for_each(|g| ops.clear(g));
    }

    /// Adds `other`: one node of the tree over lanes.
    pub fn add(&mut self, ops: &O, other: &Self) {
        for (mine, theirs) in self.buffers.iter_mut().zip(&other.buffers) {
            if let (Some(mine), Some(theirs)) = (mine, theirs) {
                ops.add_assign(mine, theirs);
            }
        }
    }

    /// Euclidean norm over all gradients, tensors in order.
    pub fn norm(&self, ops: &O) -> f64 {
        ops.sum_of_squares(&self.buffers.iter().flatten().collect::<Vec<_>>()).sqrt()
    }
}
