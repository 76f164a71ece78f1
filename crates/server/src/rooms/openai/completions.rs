//! `POST /v1/completions`: text goes in, what comes after it comes out; with `suffix`, what belongs between.
//!
//! Evaluation harnesses ask it for the log-probabilities of a prompt: `echo`, `logprobs` and `max_tokens` of 0 or 1.

use super::drawing::{DrawingFields, GuidedFields, RefusedFields, ResponseFormat, Stop};
use super::logprobs::{bytes_of, finite};
use super::texts::Texts;
use super::wire::StreamOptions;
use super::{FINGERPRINT, Usage, finish_reason};
use crate::caller::Caller;
use crate::error::ApiError;
use crate::hall::{Answer, Ask, Asked, Ending, Said, TokenLogprob, Tokens};
use crate::hosted::Hosted;
use crate::openapi::by_hand;
use crate::rooms::stream::{Events, Gone, stream};
use crate::rooms::take::Taken;
use crate::rooms::{unique, with_note};
use crate::{App, seconds_since_1970};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use picnic_engine::Reading;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::ToSchema;

/// Answers in one request at most.
const MAX_ANSWERS: usize = 256;

/// Tokens of an answer whose request does not say how many, by OpenAI's contract.
const DEFAULT_MAX_TOKENS: i64 = 16;

/// Body of `POST /v1/completions`.
#[derive(Deserialize, ToSchema)]
pub(crate) struct CompletionRequest {
    pub(crate) model: Option<String>,
    #[schema(value_type = Option<by_hand::Prompts>)]
    prompt: Option<Texts>,
    /// Needs one prompt of text, and a model that was trained to fill gaps.
    suffix: Option<String>,
    /// 0 is for `echo`, where only the prompt is told.
    #[schema(minimum = 0)]
    max_tokens: Option<i64>,
    #[schema(minimum = 1, maximum = 128)]
    n: Option<i64>,
    #[schema(value_type = Option<by_hand::Stop>)]
    stop: Option<Stop>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    /// Not as a stream.
    echo: Option<bool>,
    #[schema(minimum = 0, maximum = 20)]
    logprobs: Option<i64>,
    response_format: Option<ResponseFormat>,
    #[serde(flatten)]
    drawing: DrawingFields,
    #[serde(flatten)]
    guided: GuidedFields,
    #[serde(flatten)]
    #[schema(ignore)]
    refused: RefusedFields,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Completion<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    system_fingerprint: &'static str,
    choices: Vec<Choice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Usage>)]
    usage: Option<Option<Usage>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CompletionChoice)]
struct Choice {
    index: usize,
    text: String,
    logprobs: Option<Logprobs>,
    finish_reason: Option<&'static str>,
}

/// Log-probabilities as this older API tells them.
#[derive(Default, Serialize, ToSchema)]
#[schema(as = CompletionLogprobs)]
struct Logprobs {
    tokens: Vec<String>,
    /// Null where nothing predicts a token.
    token_logprobs: Vec<Option<f32>>,
    top_logprobs: Vec<Option<BTreeMap<String, f32>>>,
    /// Where each token begins, in characters.
    text_offset: Vec<usize>,
    #[serde(skip)]
    length: usize,
}

pub(crate) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Taken(request): Taken<CompletionRequest>,
) -> Result<Response, ApiError> {
    let model = app.model(&caller, request.model.as_deref()).await?;
    request.refused.check()?;
    let is_stream = request.stream == Some(true);
    let shape = Shape {
        id: unique("cmpl-"),
        created: seconds_since_1970(),
        model: request.model.clone().unwrap_or_else(|| model.name.clone()),
        echo: request.echo == Some(true),
        likeliest: request.logprobs.map(|n| usize::try_from(n).unwrap_or(0)),
        wants_none: request.max_tokens == Some(0),
        tells_usage: request.stream_options.as_ref().is_some_and(|options| options.include_usage == Some(true)),
    };
    if is_stream && shape.echo {
        return Err(ApiError::parameter("echo", "cannot be streamed: leave one of both out"));
    }
    let asks = request.asks()?;
    let (mut answers, mut note) = (Vec::new(), None);
    for ask in asks {
        let mut answer = Answer::start(&app, &caller, Arc::clone(&model), ask).await?;
        note = note.or(answer.note.take());
        answers.push(answer);
    }
    let response = if is_stream {
        if let Some(first) = answers.first_mut() {
            first.begin().await?;
        }
        stream(|events| shape.write(answers, events))
    } else {
        shape.whole(answers).await?.into_response()
    };
    Ok(with_note(response, note))
}

impl CompletionRequest {
    /// What it comes down to, one for each prompt.
    fn asks(self) -> Result<Vec<Ask>, ApiError> {
        // OpenAI begins a document where there is no prompt.
        let mut prompts = self.prompt.map_or_else(|| vec![Asked::Text(String::new())], |texts| texts.0);
        if let Some(after) = self.suffix {
            let refuse = || ApiError::parameter("suffix", "needs one `prompt` of text");
            let Some(Asked::Text(before)) = prompts.pop().filter(|_| prompts.is_empty()) else { return Err(refuse()) };
            prompts.push(Asked::Gap { before, after });
        }
        let answers = usize::try_from(self.n.unwrap_or(1)).unwrap_or(1).saturating_mul(prompts.len());
        if prompts.is_empty() || answers > MAX_ANSWERS {
            let problem = format!("must have from 1 to {MAX_ANSWERS} prompts, counted `n` times");
            return Err(ApiError::parameter("prompt", problem));
        }
        let form = self.response_format.map_or(Ok(None), ResponseFormat::form)?.or(self.guided.form());
        let (drawing, stops) = (self.drawing.drawing()?, Stop::strings(self.stop));
        let reads_prompt = self.echo == Some(true);
        let ask = |asked| Ask {
            asked,
            n: self.n,
            max_tokens: Some(self.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS)),
            stops: stops.clone(),
            drawing: drawing.clone(),
            form: form.clone(),
            likeliest: self.logprobs,
            reads_prompt,
            ..Ask::default()
        };
        Ok(prompts.into_iter().map(ask).collect())
    }
}

/// What all parts of one response say, and what it was asked to say.
struct Shape {
    id: String,
    created: u64,
    model: String,
    /// Whether the prompt is told too.
    echo: bool,
    likeliest: Option<usize>,
    /// Whether only the prompt was asked for.
    wants_none: bool,
    tells_usage: bool,
}

/// One of the answers, whole.
#[derive(Default)]
struct Written {
    text: String,
    tokens: Vec<TokenLogprob>,
    ending: Option<Ending>,
    reading: Option<Box<Reading>>,
}

impl Shape {
    fn completion(&self, choices: Vec<Choice>, usage: Option<Option<Usage>>) -> Completion<'_> {
        Completion {
            id: &self.id,
            object: "text_completion",
            created: self.created,
            model: &self.model,
            system_fingerprint: FINGERPRINT,
            choices,
            usage,
        }
    }

    async fn whole(self, answers: Vec<Answer>) -> Result<Response, ApiError> {
        let (mut choices, mut tokens) = (Vec::new(), Tokens::default());
        for mut answer in answers {
            let mut written: Vec<Written> = (0..answer.len()).map(|_| Written::default()).collect();
            while let Some(said) = answer.next().await? {
                let one = &mut written[said.number];
                one.text += &said.piece.content;
                one.tokens.extend(said.tokens);
                one.ending = said.ending;
                one.reading = said.reading.or(one.reading.take());
            }
            for one in written {
                let choice = self.choice(choices.len(), &answer, one);
                choices.push(choice);
            }
            tokens += answer.tokens();
        }
        let usage = Some(Some(tokens.into()));
        Ok(Json(serde_json::to_value(self.completion(choices, usage)).unwrap_or_default()).into_response())
    }

    fn choice(&self, index: usize, answer: &Answer, written: Written) -> Choice {
        let Written { mut text, mut tokens, ending, reading } = written;
        let mut ending = ending.unwrap_or(Ending::Length);
        if self.wants_none {
            // One was drawn because the engine draws at least one.
            (text, tokens, ending) = (String::new(), Vec::new(), Ending::Length);
        }
        let mut logprobs = Logprobs::default();
        if self.echo {
            let asked = &answer.prompt[usize::from(answer.begins_with_mark)..];
            text.insert_str(0, &answer.hosted.chat.tokenizer().decode(asked, false));
            logprobs.add_prompt(answer, reading.as_deref());
        }
        tokens.iter().for_each(|token| logprobs.add(&answer.hosted, token.id, Some(token.logprob), &token.likeliest));
        let logprobs = self.likeliest.map(|most| logprobs.with_at_most(most));
        Choice { index, text, logprobs, finish_reason: Some(finish_reason(&ending)) }
    }

    async fn write(self, answers: Vec<Answer>, events: Events) -> Result<(), Gone> {
        let usage = self.tells_usage.then_some(None);
        let (mut first, mut tokens) = (0, Tokens::default());
        for mut answer in answers {
            let mut lengths = vec![0; answer.len()];
            loop {
                match answer.next().await {
                    Ok(Some(Said { number, piece, tokens, ending, .. })) => {
                        let logprobs = self.likeliest.map(|most| {
                            let mut logprobs = Logprobs { length: lengths[number], ..Logprobs::default() };
                            for token in &tokens {
                                logprobs.add(&answer.hosted, token.id, Some(token.logprob), &token.likeliest);
                            }
                            lengths[number] = logprobs.length;
                            logprobs.with_at_most(most)
                        });
                        let (text, finish_reason) = (piece.content, ending.map(|ending| finish_reason(&ending)));
                        let choice = Choice { index: first + number, text, logprobs, finish_reason };
                        events.send(&self.completion(vec![choice], usage)).await?;
                    }
                    Ok(None) => break,
                    // The status is sent already: clients look for `error` in the data.
                    Err(error) => return events.send(&error.body()).await,
                }
            }
            first += answer.len();
            tokens += answer.tokens();
        }
        if self.tells_usage {
            events.send(&self.completion(Vec::new(), Some(Some(tokens.into())))).await?;
        }
        events.send_text("[DONE]").await
    }
}

/// The text of a token, or its bytes where they are no whole characters, as OpenAI names such tokens.
fn name_of(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().fold("bytes:".to_owned(), |name, byte| name + &format!("\\x{byte:02x}")),
    }
}

impl Logprobs {
    fn add(&mut self, hosted: &Hosted, id: u32, logprob: Option<f32>, likeliest: &[(u32, f32)]) {
        let name = |id| name_of(&bytes_of(hosted, id));
        let token = name(id);
        self.text_offset.push(self.length);
        self.length += token.chars().count();
        // The token itself is among them, whether or not it is likely.
        let own = logprob.map(|logprob| (token.clone(), finite(logprob)));
        let top: BTreeMap<String, f32> =
            likeliest.iter().map(|&(id, logprob)| (name(id), finite(logprob))).chain(own).collect();
        self.tokens.push(token);
        self.token_logprobs.push(logprob.map(finite));
        self.top_logprobs.push(logprob.map(|_| top));
    }

    fn add_prompt(&mut self, answer: &Answer, reading: Option<&Reading>) {
        let logprobs = reading.map_or(&[][..], |reading| &reading.prompt_logprobs);
        let likeliest = reading.map_or(&[][..], |reading| &reading.prompt_likeliest);
        for (at, &id) in answer.prompt.iter().enumerate() {
            // Nothing predicts the first.
            let before = at.checked_sub(1);
            let logprob = before.and_then(|before| logprobs.get(before)).copied();
            let likeliest = before.and_then(|before| likeliest.get(before)).map_or(&[][..], Vec::as_slice);
            self.add(&answer.hosted, id, logprob, likeliest);
            if at == 0 && answer.begins_with_mark {
                // The text begins behind it.
                self.length = 0;
            }
        }
    }

    /// Without the likeliest ones where none were asked for.
    fn with_at_most(mut self, most: usize) -> Logprobs {
        if most == 0 {
            self.top_logprobs.iter_mut().for_each(|top| *top = None);
        }
        self
    }
}
