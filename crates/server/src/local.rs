//! The engine with the model that it runs, behind the worker's seam.

use crate::worker::Generator;
use picnic_engine::{Engine, Event, Limits, Request, RequestError, RequestId};
use picnic_model::{Model, Ops, ParamStore};

/// A model in this process.
pub(crate) struct Local<O: Ops> {
    ops: O,
    model: Model,
    params: ParamStore<O>,
    limits: Limits,
    engine: Engine<O>,
}

impl<O: Ops> Local<O> {
    pub(crate) fn new(ops: O, model: Model, params: ParamStore<O>, limits: Limits) -> Local<O> {
        let engine = Engine::new(&ops, &model, limits);
        Local { ops, model, params, limits, engine }
    }
}

impl<O: Ops> Generator for Local<O> {
    fn submit(&mut self, request: Request) -> Result<RequestId, RequestError> {
        self.engine.submit(request)
    }

    fn cancel(&mut self, id: RequestId) {
        self.engine.cancel(id);
    }

    fn step(&mut self) -> Vec<Event> {
        self.engine.step(&self.ops, &self.model, &self.params)
    }

    fn reset(&mut self) {
        self.engine = Engine::new(&self.ops, &self.model, self.limits);
    }
}
