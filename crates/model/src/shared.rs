//! One model for everyone who uses it: whoever trains it, the engines that generate from it, evaluation.
//!
//! A handle is cheap to clone and copies no weight. Whoever reads holds the parameters still for as long; whoever
//! changes them waits for the readers and leaves a new version number, by which a reader sees that what it derived from
//! the old ones (cached keys and values) is worth nothing any more.

use crate::arch::Model;
use crate::ops::Ops;
use crate::params::ParamStore;
use std::ops::Deref;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// An architecture with its parameters.
pub struct SharedModel<O: Ops>(Arc<Shared<O>>);

struct Shared<O: Ops> {
    model: Arc<Model>,
    params: RwLock<Versioned<O>>,
}

struct Versioned<O: Ops> {
    params: ParamStore<O>,
    version: u64,
}

/// The parameters, unchanged as long as this lives.
pub struct Params<'m, O: Ops>(RwLockReadGuard<'m, Versioned<O>>);

impl<O: Ops> Clone for SharedModel<O> {
    fn clone(&self) -> Self {
        SharedModel(Arc::clone(&self.0))
    }
}

impl<O: Ops> SharedModel<O> {
    /// Shares `model` with the parameters that were made from its [`Model::specs`].
    pub fn new(model: Model, params: ParamStore<O>) -> SharedModel<O> {
        SharedModel::assemble(Arc::new(model), params)
    }

    /// The same architecture with other parameters, made from its specs. A change of one model's parameters is none of
    /// the other's.
    pub fn with_params(&self, params: ParamStore<O>) -> SharedModel<O> {
        SharedModel::assemble(Arc::clone(&self.0.model), params)
    }

    fn assemble(model: Arc<Model>, params: ParamStore<O>) -> SharedModel<O> {
        SharedModel(Arc::new(Shared { model, params: RwLock::new(Versioned { params, version: 0 }) }))
    }

    /// The architecture.
    pub fn model(&self) -> &Model {
        &self.0.model
    }

    /// The parameters. A thread that holds them must not change them before it lets go.
    pub fn params(&self) -> Params<'_, O> {
        // Whoever panicked while changing them has ended its run; a reader can do no better than read.
        Params(self.0.params.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the parameters once nobody reads them.
    pub fn change<T>(&self, change: impl FnOnce(&Model, &mut ParamStore<O>) -> T) -> T {
        let mut versioned = self.0.params.write().unwrap_or_else(PoisonError::into_inner);
        versioned.version += 1;
        change(&self.0.model, &mut versioned.params)
    }
}

impl<O: Ops> Params<'_, O> {
    /// How often they were changed.
    pub fn version(&self) -> u64 {
        self.0.version
    }
}

impl<O: Ops> Deref for Params<'_, O> {
    type Target = ParamStore<O>;
    fn deref(&self) -> &ParamStore<O> {
        &self.0.params
    }
}
