//! The one thread that owns the model: takes requests from a channel and steps the engine while any runs.
//!
//! Handlers hold the other end. One that goes away, because its client did, is noticed before the next step and its
//! request cancelled. A panic in a step costs its culprit alone: the others are generated again, one at a time, and
//! since a request's tokens depend on nothing but itself, they go on where they were.

use picnic_engine::{Dropped, Engine, Event, Finish, Request, RequestError, RequestId, Step};
use picnic_model::{Ops, OutOfMemory};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// What generates: the engine with its model, or a script in tests.
pub(crate) trait Generator: Send + 'static {
    fn submit(&mut self, request: Request) -> Result<RequestId, RequestError>;
    fn cancel(&mut self, id: RequestId);
    fn step(&mut self) -> Step;
    /// Forgets all requests, after a panic.
    fn reset(&mut self);
}

impl<O: Ops> Generator for Engine<O> {
    fn submit(&mut self, request: Request) -> Result<RequestId, RequestError> {
        Engine::submit(self, request)
    }

    fn cancel(&mut self, id: RequestId) {
        Engine::cancel(self, id);
    }

    fn step(&mut self) -> Step {
        Engine::step(self)
    }

    fn reset(&mut self) {
        self.clear();
    }
}

/// A way to the thread.
pub(crate) struct Worker {
    jobs: UnboundedSender<Job>,
    places: Arc<Semaphore>,
}

/// The right to have one request under way. Both channels are bounded by the number of these.
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
}

/// One step of a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Update {
    /// A token; `reused` tokens of the prompt were in the cache.
    Token {
        id: u32,
        finish: Option<Finish>,
        reused: usize,
    },
    OutOfMemory(OutOfMemory),
    Panicked,
}

/// Why a request was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SubmitError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("the thread that generates has ended")]
    Ended,
}

struct Job {
    request: Request,
    taken: oneshot::Sender<Result<(), RequestError>>,
    running: Running,
}

/// A request under way.
struct Running {
    updates: UnboundedSender<Update>,
    /// Tokens sent.
    sent: usize,
    _place: Place,
}

impl Worker {
    /// Starts the thread; it ends when the worker is dropped and the last request is done.
    pub(crate) fn start(generator: impl Generator, places: usize) -> std::io::Result<Worker> {
        let (jobs, receiver) = unbounded_channel();
        let state = State { generator, running: Vec::new(), suspects: VecDeque::new() };
        std::thread::Builder::new().name("engine".to_owned()).spawn(move || state.run(receiver))?;
        Ok(Worker { jobs, places: Arc::new(Semaphore::new(places)) })
    }

    /// A place, unless all are taken.
    pub(crate) fn place(&self) -> Option<Place> {
        Arc::clone(&self.places).try_acquire_owned().ok().map(|permit| Place { _permit: permit })
    }

    /// Hands a request over and waits until the engine has accepted it. Dropping the receiver cancels it.
    pub(crate) async fn submit(
        &self,
        place: Place,
        request: Request,
    ) -> Result<UnboundedReceiver<Update>, SubmitError> {
        let (updates, receiver) = unbounded_channel();
        let (taken, answer) = oneshot::channel();
        let job = Job { request, taken, running: Running { updates, sent: 0, _place: place } };
        self.jobs.send(job).map_err(|_| SubmitError::Ended)?;
        answer.await.map_err(|_| SubmitError::Ended)??;
        Ok(receiver)
    }
}

/// What the thread knows.
struct State<G> {
    generator: G,
    running: Vec<Entry>,
    /// Requests that were running when a step panicked, each to be run alone.
    suspects: VecDeque<(Request, Running)>,
}

struct Entry {
    id: RequestId,
    request: Request,
    running: Running,
    /// Tokens generated since it was last submitted.
    generated: usize,
}

impl<G: Generator> State<G> {
    fn run(mut self, mut jobs: UnboundedReceiver<Job>) {
        loop {
            self.drop_abandoned();
            if !self.suspects.is_empty() {
                self.try_next_suspect();
            } else if self.running.is_empty() {
                match jobs.blocking_recv() {
                    Some(job) => self.take(job),
                    None => return,
                }
            }
            while !self.is_recovering()
                && let Ok(job) = jobs.try_recv()
            {
                self.take(job);
            }
            if !self.running.is_empty() {
                self.step();
            }
        }
    }

    /// Whether a request that may have caused a panic is generated again, which it is alone.
    fn is_recovering(&self) -> bool {
        !self.suspects.is_empty() || self.running.iter().any(|entry| entry.generated < entry.running.sent)
    }

    fn take(&mut self, Job { request, taken, running }: Job) {
        let submitted = self.generator.submit(request.clone());
        let accepted = submitted.map(|id| self.running.push(Entry { id, request, running, generated: 0 }));
        // A handler that is gone does not listen; its request is dropped before the next step.
        let _ = taken.send(accepted);
    }

    fn try_next_suspect(&mut self) {
        if self.running.is_empty()
            && let Some((request, running)) = self.suspects.pop_front()
            && let Ok(id) = self.generator.submit(request.clone())
        {
            self.running.push(Entry { id, request, running, generated: 0 });
        }
    }

    fn drop_abandoned(&mut self) {
        let generator = &mut self.generator;
        self.running.retain(|entry| {
            let abandoned = entry.running.updates.is_closed();
            if abandoned {
                generator.cancel(entry.id);
            }
            !abandoned
        });
        self.suspects.retain(|(_, running)| !running.updates.is_closed());
    }

    fn step(&mut self) {
        let generator = &mut self.generator;
        // What a panic leaves behind is reset before it is used again.
        match catch_unwind(AssertUnwindSafe(|| generator.step())) {
            Ok(Step { events, dropped }) => {
                events.into_iter().for_each(|event| self.deliver(event));
                dropped.into_iter().for_each(|dropped| self.refuse(dropped));
            }
            Err(_) => self.recover(),
        }
    }

    fn deliver(&mut self, event: Event) {
        let Some(at) = self.running.iter().position(|entry| entry.id == event.id) else { return };
        let entry = &mut self.running[at];
        entry.generated += 1;
        // Again up to here, after a panic: its reader has these.
        if entry.generated > entry.running.sent {
            entry.running.sent += 1;
            let Event { token, finish, reused, .. } = event;
            let _ = entry.running.updates.send(Update::Token { id: token, finish, reused });
        }
        if event.finish.is_some() {
            self.running.remove(at);
        }
    }

    /// Ends a request that did not fit into memory; the others go on.
    fn refuse(&mut self, dropped: Dropped) {
        if let Some(at) = self.running.iter().position(|entry| entry.id == dropped.id) {
            let entry = self.running.remove(at);
            let _ = entry.running.updates.send(Update::OutOfMemory(dropped.source));
        }
    }

    fn recover(&mut self) {
        self.generator.reset();
        if let [culprit] = &self.running[..] {
            let _ = culprit.running.updates.send(Update::Panicked);
            self.running.clear();
        }
        self.suspects.extend(self.running.drain(..).map(|entry| (entry.request, entry.running)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Says what it is asked to do and waits for leave before each step.
    struct Gated {
        said: mpsc::Sender<&'static str>,
        leave: mpsc::Receiver<()>,
    }

    impl Generator for Gated {
        fn submit(&mut self, _: Request) -> Result<RequestId, RequestError> {
            self.said.send("submit").unwrap();
            Ok(RequestId(0))
        }
        fn cancel(&mut self, _: RequestId) {
            self.said.send("cancel").unwrap();
        }
        fn step(&mut self) -> Step {
            self.said.send("step").unwrap();
            self.leave.recv().unwrap();
            let (id, likeliest) = (RequestId(0), Vec::new());
            let event = Event { id, token: 7, logprob: 0.0, likeliest, finish: None, reading: None, reused: 0 };
            Step { events: vec![event], dropped: Vec::new() }
        }
        fn reset(&mut self) {}
    }

    #[tokio::test]
    async fn a_request_that_nobody_reads_ends_within_one_step() {
        let ((said, heard), (give, leave)) = (mpsc::channel(), mpsc::channel());
        let worker = Worker::start(Gated { said, leave }, 1).unwrap();
        let request = Request::new(vec![1], 9);
        let mut updates = worker.submit(worker.place().unwrap(), request).await.unwrap();
        assert!(worker.place().is_none());
        give.send(()).unwrap();
        assert_eq!(updates.recv().await, Some(Update::Token { id: 7, finish: None, reused: 0 }));
        // The second step is under way or about to be; there is no third.
        drop(updates);
        give.send(()).unwrap();
        drop(worker);
        let heard: Vec<_> = heard.iter().collect();
        assert!(matches!(heard[..], ["submit", "step", "cancel"] | ["submit", "step", "step", "cancel"]), "{heard:?}");
    }
}
