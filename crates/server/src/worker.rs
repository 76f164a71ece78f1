//! The one thread that owns the model: takes jobs from a channel and steps the engine while any runs.
//!
//! A job is one or several requests whose answers go to one handler. Handlers hold the other end. One that goes away,
//! because its client did, is noticed before the next step and its requests are cancelled. A panic in a step costs its
//! culprit alone: the others are generated again, one at a time, and since a request's tokens depend on nothing but
//! itself, they go on where they were.

use picnic_engine::{Counters, Dropped, Engine, Event, Request, RequestError, RequestId, Step};
use picnic_model::{Ops, OutOfMemory};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What generates: the engine with its model, or a script in tests.
pub(crate) trait Generator: Send + 'static {
    fn submit(&mut self, request: Request) -> Result<RequestId, RequestError>;
    fn cancel(&mut self, id: RequestId);
    fn step(&mut self) -> Step;
    /// Forgets all requests, after a panic.
    fn reset(&mut self);
    fn counters(&self) -> Counters;
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

    fn counters(&self) -> Counters {
        Engine::counters(self)
    }
}

/// How long a step may take before the server is said to be stalled.
const STALL: Duration = Duration::from_secs(120);

/// A way to the thread.
pub(crate) struct Worker {
    jobs: UnboundedSender<Job>,
    places: Arc<Semaphore>,
    pulse: Arc<Mutex<Pulse>>,
    thread: JoinHandle<()>,
}

/// The right to have one job under way or in the line. Both channels are bounded by the number of these.
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
}

/// What can be seen of the thread at any time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pulse {
    /// Of the engine, after its last step.
    pub(crate) counters: Counters,
    /// Requests that the engine has not been given yet.
    pub(crate) in_line: usize,
    /// Since when the step under way has been.
    stepping: Option<Instant>,
}

/// One step of a request.
#[derive(Debug, PartialEq)]
pub(crate) enum Update {
    /// A token and what was read with it.
    Token(Event),
    Refused(RequestError),
    OutOfMemory(OutOfMemory),
    Panicked,
}

/// The thread has ended, which it does only with the server.
#[derive(Debug, thiserror::Error)]
#[error("the thread that generates has ended")]
pub(crate) struct Ended;

/// Requests whose answers one handler waits for, each with its number.
struct Job {
    requests: VecDeque<(usize, Request)>,
    running: Arc<Running>,
}

/// What a handler waits for.
struct Running {
    updates: UnboundedSender<(usize, Update)>,
    unwanted: Arc<[AtomicBool]>,
    _place: Place,
}

impl Running {
    /// A handler that is gone does not listen; its requests are dropped before the next step.
    fn tell(&self, number: usize, update: Update) {
        let _ = self.updates.send((number, update));
    }

    fn is_abandoned(&self) -> bool {
        self.updates.is_closed()
    }

    fn is_wanted(&self, number: usize) -> bool {
        !self.is_abandoned() && !self.unwanted.get(number).is_some_and(|unwanted| unwanted.load(Ordering::Relaxed))
    }
}

/// A handler's end of a job. Dropping it cancels all of its requests.
pub(crate) struct Updates {
    receiver: UnboundedReceiver<(usize, Update)>,
    unwanted: Arc<[AtomicBool]>,
}

impl Updates {
    /// The next update and which request it is of; `None` once all have ended.
    pub(crate) async fn next(&mut self) -> Option<(usize, Update)> {
        self.receiver.recv().await
    }

    /// Cancels one of the requests.
    pub(crate) fn cancel(&self, number: usize) {
        if let Some(unwanted) = self.unwanted.get(number) {
            unwanted.store(true, Ordering::Relaxed);
        }
    }
}

impl Worker {
    /// Starts the thread; it ends when the worker is dropped and the last request is done. At most `width` requests are
    /// given to the generator at once, the others wait in line; `places` jobs may do so.
    pub(crate) fn start(generator: impl Generator, width: usize, places: usize) -> std::io::Result<Worker> {
        let (jobs, receiver) = unbounded_channel();
        let pulse = Arc::<Mutex<Pulse>>::default();
        let state = State {
            generator,
            width,
            line: Line::default(),
            running: Vec::new(),
            suspects: VecDeque::new(),
            pulse: Arc::clone(&pulse),
        };
        let thread = std::thread::Builder::new().name("engine".to_owned()).spawn(move || state.run(receiver))?;
        Ok(Worker { jobs, places: Arc::new(Semaphore::new(places)), pulse, thread })
    }

    /// A place, unless all are taken.
    pub(crate) fn place(&self) -> Option<Place> {
        Arc::clone(&self.places).try_acquire_owned().ok().map(|permit| Place { _permit: permit })
    }

    /// Hands requests over. Dropping the receiver cancels them.
    pub(crate) fn submit(&self, place: Place, requests: Vec<Request>) -> Result<Updates, Ended> {
        let (updates, receiver) = unbounded_channel();
        let unwanted: Arc<[AtomicBool]> = requests.iter().map(|_| AtomicBool::new(false)).collect();
        let running = Arc::new(Running { updates, unwanted: Arc::clone(&unwanted), _place: place });
        let requests = requests.into_iter().enumerate().collect();
        self.jobs.send(Job { requests, running }).map_err(|_| Ended)?;
        Ok(Updates { receiver, unwanted })
    }

    /// Whether the thread goes on: it has not ended, and no step takes so long that something is wrong.
    pub(crate) fn is_well(&self) -> bool {
        !self.thread.is_finished() && !self.pulse().is_stalled()
    }

    /// What the thread is doing.
    pub(crate) fn pulse(&self) -> Pulse {
        *lock(&self.pulse)
    }

    /// Waits until what runs is done and the model is gone, so that another may have its memory.
    pub(crate) fn end(self) {
        drop(self.jobs);
        let _ = self.thread.join();
    }
}

impl Pulse {
    /// Whether a step has taken so long that something is wrong.
    fn is_stalled(&self) -> bool {
        self.stepping.is_some_and(|since| since.elapsed() > STALL)
    }
}

/// Jobs that wait, a line for each tenant. The tenants take turns, so that whoever sends many does not hold up whoever sends
/// one.
#[derive(Default)]
struct Line {
    tenants: VecDeque<(u64, VecDeque<Job>)>,
}

impl Line {
    fn push(&mut self, job: Job) {
        let tenant = job.requests.front().map_or(0, |(_, request)| request.tenant);
        match self.tenants.iter_mut().find(|(waiting, _)| *waiting == tenant) {
            Some((_, jobs)) => jobs.push_back(job),
            None => self.tenants.push_back((tenant, VecDeque::from([job]))),
        }
    }

    /// The next request whose handler still waits, with its number.
    fn pop(&mut self) -> Option<(usize, Request, Arc<Running>)> {
        while let Some((tenant, mut jobs)) = self.tenants.pop_front() {
            jobs.retain(|job| !job.running.is_abandoned());
            let next = jobs.front_mut().and_then(|job| {
                let (number, request) = job.requests.pop_front()?;
                Some((number, request, Arc::clone(&job.running)))
            });
            jobs.retain(|job| !job.requests.is_empty());
            if !jobs.is_empty() {
                self.tenants.push_back((tenant, jobs));
            }
            if next.is_some() {
                return next;
            }
        }
        None
    }

    /// Forgets the jobs that nobody waits for any more.
    fn drop_abandoned(&mut self) {
        self.tenants.retain_mut(|(_, jobs)| {
            jobs.retain(|job| !job.running.is_abandoned());
            !jobs.is_empty()
        });
    }

    /// Requests of all jobs.
    fn len(&self) -> usize {
        self.tenants.iter().flat_map(|(_, jobs)| jobs).map(|job| job.requests.len()).sum()
    }
}

/// What the thread knows.
struct State<G> {
    generator: G,
    width: usize,
    line: Line,
    running: Vec<Entry>,
    /// Requests that were running when a step panicked, each to be run alone.
    suspects: VecDeque<Entry>,
    pulse: Arc<Mutex<Pulse>>,
}

struct Entry {
    id: RequestId,
    request: Request,
    running: Arc<Running>,
    /// Which of its job's requests it is.
    number: usize,
    /// Tokens sent.
    sent: usize,
    /// Tokens generated since it was last submitted.
    generated: usize,
}

impl<G: Generator> State<G> {
    fn run(mut self, mut jobs: UnboundedReceiver<Job>) {
        loop {
            self.drop_abandoned();
            if !self.suspects.is_empty() {
                self.try_next_suspect();
            } else if self.running.is_empty() && self.line.tenants.is_empty() {
                self.tell_pulse();
                match jobs.blocking_recv() {
                    Some(job) => self.line.push(job),
                    None => return,
                }
            }
            while let Ok(job) = jobs.try_recv() {
                self.line.push(job);
            }
            while !self.is_recovering()
                && self.running.len() < self.width
                && let Some((number, request, running)) = self.line.pop()
            {
                self.take(number, request, running);
            }
            self.tell_pulse();
            if !self.running.is_empty() {
                self.step();
            }
        }
    }

    fn tell_pulse(&self) {
        *lock(&self.pulse) = Pulse { counters: self.generator.counters(), in_line: self.line.len(), stepping: None };
    }

    /// Whether a request that may have caused a panic is generated again, which it is alone.
    fn is_recovering(&self) -> bool {
        !self.suspects.is_empty() || self.running.iter().any(|entry| entry.generated < entry.sent)
    }

    fn take(&mut self, number: usize, request: Request, running: Arc<Running>) {
        match self.generator.submit(request.clone()) {
            Ok(id) => self.running.push(Entry { id, request, running, number, sent: 0, generated: 0 }),
            Err(error) => running.tell(number, Update::Refused(error)),
        }
    }

    fn try_next_suspect(&mut self) {
        if self.running.is_empty()
            && let Some(entry) = self.suspects.pop_front()
        {
            match self.generator.submit(entry.request.clone()) {
                Ok(id) => self.running.push(Entry { id, generated: 0, ..entry }),
                Err(error) => entry.running.tell(entry.number, Update::Refused(error)),
            }
        }
    }

    fn drop_abandoned(&mut self) {
        let generator = &mut self.generator;
        self.running.retain(|entry| {
            let is_wanted = entry.running.is_wanted(entry.number);
            if !is_wanted {
                generator.cancel(entry.id);
            }
            is_wanted
        });
        self.suspects.retain(|entry| entry.running.is_wanted(entry.number));
        self.line.drop_abandoned();
    }

    fn step(&mut self) {
        lock(&self.pulse).stepping = Some(Instant::now());
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
        let (entry, ends) = (&mut self.running[at], event.finish.is_some());
        entry.generated += 1;
        // Again up to here, after a panic: its reader has these.
        if entry.generated > entry.sent {
            entry.sent += 1;
            entry.running.tell(entry.number, Update::Token(event));
        }
        if ends {
            self.running.remove(at);
        }
    }

    /// Ends a request that did not fit into memory; the others go on.
    fn refuse(&mut self, dropped: Dropped) {
        if let Some(at) = self.running.iter().position(|entry| entry.id == dropped.id) {
            let entry = self.running.remove(at);
            entry.running.tell(entry.number, Update::OutOfMemory(dropped.source));
        }
    }

    fn recover(&mut self) {
        self.generator.reset();
        if let [culprit] = &self.running[..] {
            culprit.running.tell(culprit.number, Update::Panicked);
            self.running.clear();
        }
        self.suspects.extend(self.running.drain(..));
    }
}

fn lock(pulse: &Mutex<Pulse>) -> std::sync::MutexGuard<'_, Pulse> {
    // A panic elsewhere leaves numbers whole.
    pulse.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use picnic_engine::Finish;
    use std::sync::mpsc;

    /// Says what it is asked to do and waits for leave before each step. A request ends with its first token if it asks for
    /// one.
    struct Gated {
        said: mpsc::Sender<String>,
        leave: mpsc::Receiver<()>,
        running: Vec<(RequestId, usize)>,
        next: u64,
    }

    fn gated() -> (Gated, mpsc::Receiver<String>, mpsc::Sender<()>) {
        let ((said, heard), (give, leave)) = (mpsc::channel(), mpsc::channel());
        (Gated { said, leave, running: Vec::new(), next: 0 }, heard, give)
    }

    impl Generator for Gated {
        fn submit(&mut self, request: Request) -> Result<RequestId, RequestError> {
            self.said.send(format!("submit {}", request.tenant)).unwrap();
            let id = RequestId(self.next);
            self.next += 1;
            self.running.push((id, request.max_tokens));
            Ok(id)
        }
        fn cancel(&mut self, id: RequestId) {
            self.said.send("cancel".to_owned()).unwrap();
            self.running.retain(|(running, _)| *running != id);
        }
        fn step(&mut self) -> Step {
            self.said.send("step".to_owned()).unwrap();
            self.leave.recv().unwrap();
            let event =
                |&(id, left): &(RequestId, usize)| Event { finish: (left == 1).then_some(Finish::Length), ..token(id) };
            let events: Vec<Event> = self.running.iter().map(event).collect();
            self.running.retain(|(_, left)| *left > 1);
            Step { events, dropped: Vec::new() }
        }
        fn reset(&mut self) {}
        fn counters(&self) -> Counters {
            Counters::default()
        }
    }

    fn token(id: RequestId) -> Event {
        Event { id, token: 7, logprob: 0.0, likeliest: Vec::new(), finish: None, reading: None, reused: 0 }
    }

    fn asked(tenant: u64, max_tokens: usize) -> Request {
        Request { tenant, ..Request::new(vec![1], max_tokens) }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_request_that_nobody_reads_ends_within_one_step() {
        let (generator, heard, give) = gated();
        let worker = Worker::start(generator, 4, 1).unwrap();
        let mut updates = worker.submit(worker.place().unwrap(), vec![asked(0, 9)]).unwrap();
        assert!(worker.place().is_none());
        give.send(()).unwrap();
        assert_eq!(updates.next().await, Some((0, Update::Token(token(RequestId(0))))));
        // The second step is under way or about to be; there is no third.
        drop(updates);
        give.send(()).unwrap();
        drop(worker);
        let heard: Vec<_> = heard.iter().collect();
        let heard: Vec<&str> = heard.iter().map(String::as_str).collect();
        assert!(
            matches!(heard[..], ["submit 0", "step", "cancel"] | ["submit 0", "step", "step", "cancel"]),
            "{heard:?}"
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn tenants_take_turns() {
        let (generator, heard, give) = gated();
        let worker = Worker::start(generator, 1, 8).unwrap();
        let submit = |tenant| worker.submit(worker.place().unwrap(), vec![asked(tenant, 1)]).unwrap();
        // While the first is generated, three more of the same tenant and one of another come.
        let mut waiting = vec![submit(1)];
        assert_eq!((heard.recv().unwrap(), heard.recv().unwrap()), ("submit 1".to_owned(), "step".to_owned()));
        waiting.extend([1, 1, 1, 2].map(submit));
        for _ in 0..5 {
            give.send(()).unwrap();
        }
        for updates in &mut waiting {
            assert!(matches!(updates.next().await, Some((0, Update::Token(_)))));
            assert_eq!(updates.next().await, None);
        }
        drop(waiting);
        drop(worker);
        let order: Vec<String> = heard.iter().filter(|said| said.starts_with("submit")).collect();
        assert_eq!(order, ["submit 1", "submit 2", "submit 1", "submit 1"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_requests_of_a_job_have_numbers() {
        let (generator, _heard, give) = gated();
        let worker = Worker::start(generator, 4, 1).unwrap();
        let mut updates = worker.submit(worker.place().unwrap(), vec![asked(0, 1), asked(0, 1)]).unwrap();
        give.send(()).unwrap();
        let numbers = [updates.next().await.unwrap().0, updates.next().await.unwrap().0];
        assert_eq!((numbers, updates.next().await), ([0, 1], None));
    }
}
