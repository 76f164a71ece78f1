//! Answers under way: what the engine draws, made into text and handed on as it comes.

use super::ask::{Ask, Asked};
use super::encode::{Encoded, Reader};
use crate::App;
use crate::caller::{Bill, Caller};
use crate::error::ApiError;
use crate::hosted::Hosted;
use crate::metrics::Watch;
use crate::worker::{Update, Updates};
use picnic_chat::{CallDelta, Piece};
use picnic_engine::{Event, Finish, Reading};
use std::sync::Arc;
use std::time::Duration;

/// How long a stream waits for its first token before its headers are sent.
const BEGINNING: Duration = Duration::from_secs(1);

/// All answers to one prompt while they are generated. Dropping it cancels them.
pub(crate) struct Answer {
    pub(crate) hosted: Arc<Hosted>,
    updates: Updates,
    readers: Vec<Reader>,
    endings: Vec<Option<Ending>>,
    /// Whether log-probabilities are told.
    tells_tokens: bool,
    /// The prompt, where it is told too.
    pub(crate) prompt: Vec<u32>,
    /// Whether its first token was set before a text that had none.
    pub(crate) begins_with_mark: bool,
    prompt_tokens: usize,
    cached_tokens: usize,
    /// What was changed about the request, in a line for its sender.
    pub(crate) note: Option<String>,
    /// What came while the answer began.
    first: Option<Said>,
    watch: Watch,
    /// Until it is settled.
    bill: Option<Bill>,
}

/// More of one of the answers.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Said {
    /// Which of the answers.
    pub(crate) number: usize,
    /// More text; both sides may be empty where tokens are told.
    pub(crate) piece: Piece,
    /// The token drawn, if log-probabilities were asked for.
    pub(crate) tokens: Vec<TokenLogprob>,
    /// Why the answer ended, with its last piece.
    pub(crate) ending: Option<Ending>,
    /// What was read of the prompt, with the last piece.
    pub(crate) reading: Option<Box<Reading>>,
}

/// A token with the logarithm of its probability, in nats, and the likeliest ones in its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TokenLogprob {
    pub(crate) id: u32,
    pub(crate) logprob: f32,
    pub(crate) likeliest: Vec<(u32, f32)>,
    /// Whether it belongs to the thinking.
    pub(crate) is_thinking: bool,
}

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The model ended it.
    Stop,
    /// The model ended it, and waits for the results of the calls in it.
    Calls,
    /// This stop string did.
    String(String),
    /// It has as many tokens as it may.
    Length,
}

/// Tokens read and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tokens {
    pub(crate) prompt: usize,
    /// Those of the prompt that were in the cache.
    pub(crate) cached: usize,
    pub(crate) completion: usize,
    /// Those of the completion that are thinking.
    pub(crate) reasoning: usize,
}

impl std::ops::AddAssign for Tokens {
    fn add_assign(&mut self, more: Tokens) {
        self.prompt += more.prompt;
        self.cached += more.cached;
        self.completion += more.completion;
        self.reasoning += more.reasoning;
    }
}

impl Answer {
    /// Begins to answer.
    pub(crate) async fn start(
        app: &App,
        caller: &Caller,
        hosted: Arc<Hosted>,
        mut ask: Ask,
    ) -> Result<Answer, ApiError> {
        ask.check()?;
        ask.tenant = caller.tenant();
        let watch = Watch::start(&app.metrics, &hosted.name);
        let place = hosted.worker.place().ok_or(ApiError::Overloaded)?;
        let (tells_tokens, is_text) = (ask.likeliest.is_some(), matches!(ask.asked, Asked::Text(_)));
        // A long conversation takes a while to encode, and holds its place even if its client goes away meanwhile.
        let (encoded, place) = hosted.in_background(move |hosted| (hosted.encode(ask), place)).await?;
        let encoded = encoded?;
        let Encoded { requests, readers, note } = encoded;
        let prompt = requests.first().map(|request| request.prompt.clone()).unwrap_or_default();
        let begins_with_mark =
            is_text && !prompt.is_empty() && prompt.first().copied() == hosted.chat.tokenizer().bos();
        let (prompt_tokens, endings) = (prompt.len(), vec![None; readers.len()]);
        let updates = hosted.worker.submit(place, requests).map_err(|_| ApiError::Panicked)?;
        Ok(Answer {
            hosted,
            updates,
            readers,
            endings,
            tells_tokens,
            prompt,
            begins_with_mark,
            prompt_tokens,
            cached_tokens: 0,
            note,
            first: None,
            watch,
            bill: Bill::of(app, caller),
        })
    }

    /// Waits for the first token, but no longer than `BEGINNING`: what goes wrong until then can still be told by a status.
    pub(crate) async fn begin(&mut self) -> Result<(), ApiError> {
        match tokio::time::timeout(BEGINNING, self.next()).await {
            Ok(first) => self.first = first?,
            Err(_elapsed) => {}
        }
        Ok(())
    }

    /// What comes next, of whichever answer; `None` once all are complete. Nothing is lost if it is not waited for to the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Said>, ApiError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        while self.endings.iter().any(Option::is_none) {
            let (number, event) = match self.updates.next().await {
                Some((number, Update::Token(event))) => (number, event),
                Some((_, Update::Refused(error))) => return Err(ApiError::Refused(error)),
                Some((_, Update::OutOfMemory(source))) => return Err(ApiError::OutOfMemory(source)),
                Some((_, Update::Panicked)) | None => return Err(ApiError::Panicked),
            };
            if self.endings[number].is_some() {
                continue;
            }
            let said = self.read(number, event)?;
            if said.ending.is_some() {
                // After a stop string the engine would go on.
                self.updates.cancel(number);
            }
            if said != (Said { number, ..Said::default() }) {
                return Ok(Some(said));
            }
        }
        // An answer ends once what it used cannot be forgotten.
        if let Some(bill) = self.bill.take() {
            bill.settle(self.prompt_tokens, self.tokens().completion).await?;
        }
        Ok(None)
    }

    fn read(&mut self, number: usize, event: Event) -> Result<Said, ApiError> {
        let Event { token, logprob, likeliest, finish, reading, reused, .. } = event;
        // Those of the first answer's prompt: the others find what it has read.
        if number == 0 {
            self.cached_tokens = reused;
            self.watch.token();
        }
        let Reader { reply, failure } = &mut self.readers[number];
        let thought = reply.reasoning_tokens();
        let mut piece = reply.push(&self.hosted.chat, token);
        let is_thinking = reply.reasoning_tokens() > thought;
        if let Some(reason) = failure.reason().filter(|_| finish.is_some()) {
            let problem = format!("could not be kept to until the end: {reason}; ask for a simpler form");
            return Err(ApiError::parameter("response_format", problem));
        }
        if finish.is_some() && !reply.is_stopped() {
            piece += reply.finish();
        }
        let ending = match (reply.stop_string(), finish) {
            (Some(stop), _) => Some(Ending::String(stop.to_owned())),
            (None, Some(Finish::Length)) if !reply.is_stopped() => Some(Ending::Length),
            // By a token of its own, or because the form that it is held to is whole.
            (None, finish) if reply.is_stopped() || finish.is_some() => {
                Some(if reply.has_calls() { Ending::Calls } else { Ending::Stop })
            }
            _ => None,
        };
        if let Some(ending) = &ending {
            self.watch.ended(ending);
        }
        self.endings[number] = ending.clone();
        // The first is the token itself.
        let (logprob, likeliest) = match likeliest.split_first() {
            Some((&(_, logprob), rest)) => (logprob, rest.to_vec()),
            None => (logprob, Vec::new()),
        };
        let tokens = if self.tells_tokens {
            vec![TokenLogprob { id: token, logprob, likeliest, is_thinking }]
        } else {
            Vec::new()
        };
        Ok(Said { number, piece, tokens, ending, reading })
    }

    /// Tokens so far.
    pub(crate) fn tokens(&self) -> Tokens {
        Tokens {
            prompt: self.prompt_tokens,
            cached: self.cached_tokens,
            completion: self.readers.iter().map(|reader| reader.reply.tokens()).sum(),
            reasoning: self.readers.iter().map(|reader| reader.reply.reasoning_tokens()).sum(),
        }
    }

    /// How many answers there are.
    pub(crate) fn len(&self) -> usize {
        self.readers.len()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let tokens = self.tokens();
        self.watch.count(tokens);
        if let Some(bill) = self.bill.take() {
            // Of what still waits in line nothing was read.
            let read = if tokens.completion > 0 { tokens.prompt } else { 0 };
            bill.leave(read, tokens.completion);
        }
    }
}

impl Said {
    /// The calls that it is a part of.
    pub(crate) fn take_calls(&mut self) -> Vec<CallDelta> {
        std::mem::take(&mut self.piece.calls)
    }
}
