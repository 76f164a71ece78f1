//! One chat completion: the request checked and made into tokens, then its answer as it comes.

use crate::App;
use crate::error::ApiError;
use crate::held::Held;
use crate::wire::{ChatRequest, CompletionTokensDetails, PromptTokensDetails, ResponseFormat, Stop, Usage};
use crate::worker::Update;
use picnic_chat::{ChatOptions, Form, FormFailure, Guidance, Guide, Piece, Prompt, Reply, Splitter};
use picnic_engine::{Constraint, Control, Finish, Request, Sampling, Thinking};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::mpsc::UnboundedReceiver;

/// Stop strings in a request, and bytes in each: they bound the work per token.
const MAX_STOPS: usize = 16;
const MAX_STOP_BYTES: usize = 256;

/// An answer under way. Dropping it cancels the generation.
pub(crate) struct Answer {
    app: Arc<App>,
    updates: UnboundedReceiver<Update>,
    reply: Reply,
    /// Of the form that it is held to.
    failure: FormFailure,
    finish: Option<Finish>,
    prompt_tokens: usize,
    /// Those of them that were in the cache.
    cached_tokens: usize,
}

impl Answer {
    /// Begins to answer.
    pub(crate) async fn start(app: Arc<App>, request: ChatRequest) -> Result<Answer, ApiError> {
        check(&request, &app.name)?;
        let place = app.worker.place().ok_or(ApiError::Overloaded)?;
        // A long conversation takes a while to encode, and holds its place even if its client goes away meanwhile.
        let encoding = tokio::task::spawn_blocking({
            let app = Arc::clone(&app);
            move || (app.encode(request), place)
        });
        let (encoded, place) = encoding.await.map_err(|_| ApiError::Panicked)?;
        let Encoded { request, reply, failure } = encoded?;
        let prompt_tokens = request.prompt.len();
        let updates = app.worker.submit(place, request).await?;
        Ok(Answer { app, updates, reply, failure, finish: None, prompt_tokens, cached_tokens: 0 })
    }

    /// The next text, never empty on both sides; `None` once the answer is complete.
    pub(crate) async fn next(&mut self) -> Result<Option<Piece>, ApiError> {
        while self.finish.is_none() {
            let (id, finish) = match self.updates.recv().await {
                Some(Update::Token { id, finish, reused }) => {
                    self.cached_tokens = reused;
                    (id, finish)
                }
                Some(Update::OutOfMemory(source)) => return Err(ApiError::OutOfMemory(source)),
                Some(Update::Panicked) | None => return Err(ApiError::Panicked),
            };
            let mut piece = self.reply.push(&self.app.chat, id);
            self.finish = finish;
            if let Some(reason) = self.failure.reason().filter(|_| finish.is_some()) {
                let problem = format!("could not be kept to until the end: {reason}; ask for a simpler form");
                return Err(ApiError::parameter("response_format", problem));
            }
            if self.reply.is_stopped() {
                self.finish = Some(Finish::Stop);
            } else if finish.is_some() {
                piece += self.reply.finish();
            }
            if piece != Piece::default() {
                return Ok(Some(piece));
            }
        }
        // After a stop string the engine would go on.
        self.updates.close();
        Ok(None)
    }

    /// Why the answer ended.
    pub(crate) fn finish(&self) -> Finish {
        self.finish.unwrap_or(Finish::Length)
    }

    /// Tokens so far.
    pub(crate) fn usage(&self) -> Usage {
        let (prompt_tokens, cached_tokens, completion_tokens) =
            (self.prompt_tokens, self.cached_tokens, self.reply.tokens());
        Usage {
            prompt_tokens,
            completion_tokens,
            total_tokens: prompt_tokens + completion_tokens,
            prompt_cache_hit_tokens: cached_tokens,
            prompt_cache_miss_tokens: prompt_tokens - cached_tokens,
            prompt_tokens_details: PromptTokensDetails { cached_tokens },
            completion_tokens_details: CompletionTokensDetails { reasoning_tokens: self.reply.reasoning_tokens() },
        }
    }
}

/// What is made of a request before anything is generated.
struct Encoded {
    /// For the engine.
    request: Request,
    /// Makes text of the answer.
    reply: Reply,
    failure: FormFailure,
}

impl App {
    fn encode(&self, request: ChatRequest) -> Result<Encoded, ApiError> {
        let options = ChatOptions {
            add_generation_prompt: true,
            variables: request.chat_template_kwargs.as_ref(),
            now: Some(SystemTime::now()),
            ..ChatOptions::default()
        };
        let Prompt { text, ids } = self.chat.prompt(&request.messages, &options)?;
        let context = self.limits.context;
        let room = context.saturating_sub(ids.len());
        if room == 0 {
            let what = format!("the messages have {}, which leaves none for an answer: shorten them", ids.len());
            return Err(ApiError::ContextLength { context, what });
        }
        let max_tokens = match request.max_completion_tokens.or(request.max_tokens) {
            None => room.min(self.limits.default_max_tokens),
            Some(asked) => usize::try_from(asked).unwrap_or(usize::MAX),
        };
        if max_tokens > room {
            let what = format!(
                "the messages have {} and an answer of up to {max_tokens} was asked for: shorten the messages or lower \
                 `max_tokens` to {room}",
                ids.len()
            );
            return Err(ApiError::ContextLength { context, what });
        }
        // Where a request says nothing, the model's makers do; then the contract.
        let recommended = self.chat.recommended();
        let sampling = Sampling {
            temperature: request.temperature.or(recommended.temperature).unwrap_or(1.0),
            top_k: request.top_k.map_or(recommended.top_k, |k| usize::try_from(k).ok()).unwrap_or(0),
            top_p: request.top_p.or(recommended.top_p).unwrap_or(1.0),
            min_p: request.min_p.or(recommended.min_p).unwrap_or(0.0),
            typical_p: request.typical_p.or(recommended.typical_p).unwrap_or(1.0),
            presence_penalty: request.presence_penalty.unwrap_or(0.0),
            frequency_penalty: request.frequency_penalty.unwrap_or(0.0),
            repetition_penalty: request.repetition_penalty.or(recommended.repetition_penalty).unwrap_or(1.0),
            // Whoever wants the same answer again gives a seed.
            seed: request.seed.map_or_else(|| RandomState::new().build_hasher().finish(), i64::cast_unsigned),
            likeliest: 0,
        };
        let bias = request.logit_bias.iter().flatten().map(|(token, bias)| Some((token.parse().ok()?, *bias)));
        let Some(bias) = bias.collect::<Option<Vec<(u32, f32)>>>() else {
            return Err(ApiError::parameter("logit_bias", "must have token ids for its keys, in digits"));
        };
        let thinking = match request.thinking_budget {
            None => None,
            Some(budget) => {
                let (open, close) = self.chat.thinking_tokens(&text).ok_or_else(|| {
                    ApiError::parameter("thinking_budget", "cannot be kept: this model has no tokens for its thinking")
                })?;
                Some(Thinking { budget: usize::try_from(budget).unwrap_or(usize::MAX), open, close })
            }
        };
        let form = request.response_format.as_ref().map_or(Ok(None), ResponseFormat::form)?;
        let guide = form.map(|form| self.guide(&form, &text)).transpose()?;
        let failure = guide.as_ref().map(Guide::failure).unwrap_or_default();
        let stops = match request.stop {
            None => Vec::new(),
            Some(Stop::One(stop)) => vec![stop],
            Some(Stop::Many(stops)) => stops,
        };
        let reply = match guide {
            None => Reply::new(&text, stops),
            Some(_) => Reply::held(&text, stops, self.chat.thinking_tokens(&text)),
        };
        let constraint = guide.map(|guide| Box::new(Held(guide)) as Box<dyn Constraint>);
        let (control, stop) = (Control { bias, thinking, constraint }, self.chat.ends().ids().to_vec());
        let request = Request { stop, sampling, control, ..Request::new(ids, max_tokens) };
        Ok(Encoded { request, reply, failure })
    }

    /// What holds the answer to the prompt `text` to a form, once it has thought.
    fn guide(&self, form: &Form, text: &str) -> Result<Guide, ApiError> {
        let refuse = |problem: String| ApiError::parameter("response_format", format!("is refused: {problem}"));
        let guidance = self.guidance.get_or_init(|| Guidance::new(&self.chat).map_err(|error| error.to_string()));
        let guidance = guidance.as_ref().map_err(|problem| refuse(problem.clone()))?;
        let guide = guidance.guide(form).map_err(|error| refuse(error.to_string()))?;
        match self.chat.thinking_tokens(text) {
            Some((open, close)) => Ok(guide.after_thinking(open, close)),
            None if Splitter::after(text).is_thinking() => {
                Err(refuse("the prompt opens the thinking, and this model has no token that ends it".to_owned()))
            }
            None => Ok(guide),
        }
    }
}

/// What can be refused without the tokenizer.
fn check(request: &ChatRequest, served: &str) -> Result<(), ApiError> {
    let refuse = |param, problem: &str| Err(ApiError::parameter(param, problem));
    if let Some(asked) = request.model.as_ref().filter(|model| *model != served) {
        let (asked, served) = (asked.chars().take(80).collect(), served.to_owned());
        return Err(ApiError::UnknownModel { asked, served });
    }
    if request.messages.is_empty() {
        return refuse("messages", "is empty: send at least one message");
    }
    if request.n.is_some_and(|n| n != 1) {
        return refuse("n", "must be 1: send one request for each answer");
    }
    if !request.temperature.is_none_or(|t| (0.0..=2.0).contains(&t)) {
        return refuse("temperature", "must be from 0 to 2");
    }
    let share = |p: f32| p > 0.0 && p <= 1.0;
    let penalty = |p: f32| (-2.0..=2.0).contains(&p);
    for (param, value, is_right, range) in [
        ("top_p", request.top_p, share as fn(f32) -> bool, "above 0 and at most 1"),
        ("min_p", request.min_p, |p| (0.0..=1.0).contains(&p), "from 0 to 1"),
        ("typical_p", request.typical_p, share, "above 0 and at most 1"),
        ("presence_penalty", request.presence_penalty, penalty, "from -2 to 2"),
        ("frequency_penalty", request.frequency_penalty, penalty, "from -2 to 2"),
        ("repetition_penalty", request.repetition_penalty, |p| p > 0.0 && p <= 10.0, "above 0 and at most 10"),
    ] {
        if !value.is_none_or(is_right) {
            return refuse(param, &format!("must be {range}"));
        }
    }
    if request.top_k.is_some_and(|k| k < -1) {
        return refuse("top_k", "must be a number of tokens, or -1 or 0 for all");
    }
    if request.logit_bias.iter().flatten().any(|(_, bias)| !(-100.0..=100.0).contains(bias)) {
        return refuse("logit_bias", "must have values from -100 to 100");
    }
    for (param, tokens) in
        [("max_tokens", request.max_tokens), ("max_completion_tokens", request.max_completion_tokens)]
    {
        if tokens.is_some_and(|tokens| tokens < 1) {
            return refuse(param, "must be at least 1");
        }
    }
    if request.thinking_budget.is_some_and(|budget| budget < 0) {
        return refuse("thinking_budget", "must be 0 or more");
    }
    if let Some(stop) = &request.stop {
        let stops = match stop {
            Stop::One(stop) => std::slice::from_ref(stop),
            Stop::Many(stops) => stops,
        };
        if stops.len() > MAX_STOPS || stops.iter().any(|stop| stop.len() > MAX_STOP_BYTES) {
            let problem = format!("must be at most {MAX_STOPS} strings of at most {MAX_STOP_BYTES} bytes");
            return Err(ApiError::parameter("stop", problem));
        }
    }
    let unsupported = [
        ("logprobs", request.logprobs == Some(true)),
        ("tools", request.tools.as_ref().is_some_and(|tools| !tools.is_empty())),
    ];
    match unsupported.iter().find(|(_, asked)| *asked) {
        Some((param, _)) => refuse(param, "is not supported: leave it out"),
        None => Ok(()),
    }
}
