//! The named tensors of a model, and gradients for those that learn.
//!
//! A weight knows its product. One that learns is kept once, in the layout of its product, and so are its gradient and
//! moments; rows exist only in checkpoints. One that does not learn stays in the type in which it was stored. Whatever
//! is no matrix of a product is kept in rows.

use crate::checkpoint::StoredRows;
use crate::ops::{Dims, Ops, OutOfMemory, Table, Weight, WeightForm};

/// What a tensor is for, which decides how it starts and how it is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// `[n, k]` weight of a linear layer other than the head and what routes to experts.
    Linear,
    /// `[n, k]` weight of the gate that routes tokens to experts.
    Router,
    /// `[V, d]` weight of a head that is not tied to the embedding.
    Head,
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

impl Role {
    /// The form of a matrix of this role in a model whose weights are asked for in `form`. What routes to experts is
    /// exact in every form, because a token that goes elsewhere is another token; what tokens are drawn by has 8 bits
    /// at least.
    pub fn kept_in(self, form: WeightForm) -> WeightForm {
        match (self, form) {
            (Role::Router, _) => WeightForm::Exact,
            (Role::Head | Role::TiedEmbedding, WeightForm::Q4) => WeightForm::Q8,
            _ => form,
        }
    }
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

    /// Outputs and inputs of a matrix that products use; `None` for a tensor that none does.
    pub fn product(&self) -> Option<Dims> {
        matches!(self.role, Role::Linear | Role::Router | Role::Head | Role::TiedEmbedding).then(|| self.dims())
    }

    /// The sizes of a matrix.
    pub(crate) fn dims(&self) -> Dims {
        let [n, k] = self.shape[..] else { panic!("{} has {:?}, not two sizes", self.name, self.shape) };
        Dims { n, k }
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
    value: Value<O>,
}

/// How a tensor is kept.
enum Value<O: Ops> {
    /// In rows.
    Rows(O::Buffer),
    /// A weight in the layout of its product.
    Weight(O::Buffer),
    /// As it was stored.
    Frozen(O::Frozen),
}

/// Where a tensor's first values come from.
pub enum Source {
    /// Numbers.
    Values(Vec<f32>),
    /// A matrix that does not learn, as it is stored, and the form in which it is to be kept.
    Stored(StoredRows, WeightForm),
}

impl<O: Ops> Param<O> {
    /// The values of a tensor that is no matrix: a norm's weight, a bias. Panics for others.
    pub fn value(&self) -> &O::Buffer {
        match &self.value {
            Value::Rows(value) => value,
            _ => panic!("{} is a weight", self.spec.name),
        }
    }

    /// What a product multiplies by. Panics for a tensor that is no weight.
    pub fn weight(&self) -> Weight<'_, O> {
        match &self.value {
            Value::Weight(value) => Weight::Learning(value),
            Value::Frozen(value) => Weight::Frozen(value),
            Value::Rows(_) => panic!("{} is no weight", self.spec.name),
        }
    }

    /// What an embedding looks rows up in.
    pub fn table(&self) -> Table<'_, O> {
        match &self.value {
            Value::Rows(value) => Table::Rows(value),
            Value::Weight(value) => Table::Tied(value),
            Value::Frozen(value) => Table::Frozen(value),
        }
    }

    /// The values in rows, as a checkpoint has them.
    pub fn to_rows(&self, ops: &O) -> Vec<f32> {
        match &self.value {
            Value::Rows(value) => ops.download(value),
            Value::Weight(value) => ops.weight_rows(value, self.spec.dims()),
            Value::Frozen(value) => ops.frozen_rows(value),
        }
    }

    /// The values in the layout in which they learn; `None` for a tensor that is kept as it was stored.
    pub fn learning(&self) -> Option<&O::Buffer> {
        match &self.value {
            Value::Rows(value) | Value::Weight(value) => Some(value),
            Value::Frozen(_) => None,
        }
    }

    /// Bytes of the values.
    pub fn bytes(&self, ops: &O) -> usize {
        match &self.value {
            Value::Rows(value) | Value::Weight(value) => size_of::<f32>() * ops.len(value),
            Value::Frozen(value) => ops.frozen_bytes(value),
        }
    }

    /// Values in the layout in which the tensor learns.
    fn layout_len(&self, ops: &O) -> usize {
        self.spec.product().map_or(self.spec.len(), |dims| ops.weight_len(dims))
    }
}

/// Overwrites a tensor, its gradient or a moment by rows, as a checkpoint has them.
pub fn write_rows<O: Ops>(ops: &O, spec: &ParamSpec, value: &mut O::Buffer, rows: &[f32]) {
    match spec.product() {
        Some(dims) => ops.write_weight(value, rows, dims),
        None => ops.write(value, rows),
    }
}

/// The rows of a tensor's gradient or of a moment.
pub fn rows_of<O: Ops>(ops: &O, spec: &ParamSpec, value: &O::Buffer) -> Vec<f32> {
    match spec.product() {
        Some(dims) => ops.weight_rows(value, dims),
        None => ops.download(value),
    }
}

/// All tensors of one model: the policy, a reference, a copy that draws each have a store of their own.
pub struct ParamStore<O: Ops> {
    params: Vec<Param<O>>,
}

impl<O: Ops> ParamStore<O> {
    /// A store of `specs`, the values of each given by `source`; all but router biases and what is stored learn if
    /// `trainable`.
    ///
    /// # Errors
    /// The first error of `source`, or no memory.
    pub fn new<E: From<OutOfMemory>>(
        ops: &O,
        specs: Vec<ParamSpec>,
        trainable: bool,
        mut source: impl FnMut(&ParamSpec) -> Result<Source, E>,
    ) -> Result<Self, E> {
        let mut params = Vec::with_capacity(specs.len());
        for (i, spec) in specs.into_iter().enumerate() {
            let value = Value::new(ops, &spec, source(&spec)?).map_err(|e| e.during("the parameters"))?;
            let learns = trainable && spec.role != Role::RouterBias && !matches!(value, Value::Frozen(_));
            params.push(Param { id: ParamId(i), trainable: learns, value, spec });
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

    /// The values that can change, in order, each in the layout in which it learns. What is kept as it was stored is left
    /// out.
    pub fn learning_mut(&mut self) -> impl Iterator<Item = (ParamId, &ParamSpec, &mut O::Buffer)> {
        self.params.iter_mut().filter_map(|param| match &mut param.value {
            Value::Rows(value) | Value::Weight(value) => Some((param.id, &param.spec, value)),
            Value::Frozen(_) => None,
        })
    }

    /// Changes one tensor. Panics if it is kept as it was stored.
    pub fn update_one(&mut self, id: ParamId, change: impl FnOnce(&ParamSpec, &mut O::Buffer)) {
        let param = &mut self.params[id.0];
        match &mut param.value {
            Value::Rows(value) | Value::Weight(value) => change(&param.spec, value),
            Value::Frozen(_) => panic!("{} does not learn", param.spec.name),
        }
    }

    /// A frozen copy, such as a reference policy. Panics if anything is kept as it was stored: that needs no copy.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn frozen_copy(&self, ops: &O) -> Result<Self, OutOfMemory> {
        let params = self.params.iter().map(|p| {
            let copy = |value| ops.copy(value).map_err(|e| e.during("a copy of the parameters"));
            let value = match &p.value {
                Value::Rows(value) => Value::Rows(copy(value)?),
                Value::Weight(value) => Value::Weight(copy(value)?),
                Value::Frozen(_) => panic!("{} does not change", p.spec.name),
            };
            Ok(Param { id: p.id, spec: p.spec.clone(), trainable: false, value })
        });
        Ok(ParamStore { params: params.collect::<Result<_, OutOfMemory>>()? })
    }

    /// A frozen copy whose weights are in `form`, each as [`load`](fn@crate::load) would keep it if a file held it in
    /// f32; what no product multiplies by is copied as it is. One tensor at a time passes through rows.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn copy_in_form(&self, ops: &O, form: WeightForm) -> Result<Self, OutOfMemory> {
        let params = self.params.iter().map(|p| {
            let rows = p.to_rows(ops);
            let value = match p.spec.product() {
                Some(Dims { n, k }) => {
                    let form = p.spec.role.kept_in(form);
                    ops.freeze_weight(&StoredRows::of_values(&rows, [n, k]), form).map(Value::Frozen)
                }
                None => ops.upload(&rows).map(Value::Rows),
            };
            let value = value.map_err(|e| e.during("a copy of the parameters that draws"))?;
            Ok(Param { id: p.id, spec: p.spec.clone(), trainable: false, value })
        });
        Ok(ParamStore { params: params.collect::<Result<_, OutOfMemory>>()? })
    }

    /// Bytes of all values as they are kept.
    pub fn bytes(&self, ops: &O) -> usize {
        self.params.iter().map(|p| p.bytes(ops)).sum()
    }

    /// Number of values.
    pub fn count(&self) -> usize {
        self.params.iter().map(|p| p.spec.len()).sum()
    }
}

impl<O: Ops> Value<O> {
    fn new(ops: &O, spec: &ParamSpec, source: Source) -> Result<Self, OutOfMemory> {
        Ok(match source {
            Source::Stored(stored, _) if spec.role == Role::Embedding => Value::Frozen(ops.freeze_table(stored)?),
            Source::Stored(stored, form) => Value::Frozen(ops.freeze_weight(&stored, form)?),
            Source::Values(values) => {
                assert_eq!(values.len(), spec.len(), "{}", spec.name);
                match spec.product() {
                    None => Value::Rows(ops.upload(&values)?),
                    Some(dims) => {
                        let mut weight = ops.scratch(ops.weight_len(dims))?;
                        ops.write_weight(&mut weight, &values, dims);
                        Value::Weight(weight)
                    }
                }
            }
        })
    }
}

/// One gradient for each trainable tensor of a store, in the layout in which the tensor learns.
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
        let buffers = params.iter().map(|p| p.trainable.then(|| zeros(p.layout_len(ops))).transpose());
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

    /// Euclidean norm over all gradients, tensors in order, values in the order in which they are kept. (What pads a
    /// layout is zero.)
    pub fn norm(&self, ops: &O) -> f64 {
        ops.sum_of_squares(&self.buffers.iter().flatten().collect::<Vec<_>>()).sqrt()
    }
}
