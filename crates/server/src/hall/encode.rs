//! From an [`Ask`] to what the engine is given: the prompt's tokens and how each answer is drawn and read.

use super::ask::{Ask, Asked, Conversation, Drawing, Thinking};
use super::held::Held;
use crate::error::ApiError;
use crate::hosted::Hosted;
use picnic_chat::{ChatOptions, Form, FormFailure, Guide, Message, Reply, Splitter, ToolChoice};
use picnic_engine::{Constraint, Control, Request, Sampling, Wants};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::SystemTime;

/// How a gap is put to models that were trained to fill one: the marks before the text, before its end, and behind it, by
/// the names of DeepSeek, Qwen, StarCoder and Code Llama.
const GAP_MARKS: [[&str; 3]; 4] = [
    ["<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"],
    ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"],
    ["<fim_prefix>", "<fim_suffix>", "<fim_middle>"],
    ["<PRE>", "<SUF>", "<MID>"],
];

/// What is made of an [`Ask`] before anything is generated.
pub(super) struct Encoded {
    /// For the engine, one for each answer.
    pub(super) requests: Vec<Request>,
    /// Makes text of each answer.
    pub(super) readers: Vec<Reader>,
    /// What was changed about it, in a line.
    pub(super) note: Option<String>,
}

/// How one answer is read.
pub(super) struct Reader {
    pub(super) reply: Reply,
    /// Of the form that it is held to.
    pub(super) failure: FormFailure,
}

/// A prompt as the model reads it.
struct Read {
    ids: Vec<u32>,
    /// What the template wrote, if one did.
    text: Option<String>,
}

impl Hosted {
    /// The tokens of a prompt.
    pub(crate) fn tokens(&self, ask: &Ask) -> Result<Vec<u32>, ApiError> {
        ask.check()?;
        self.fits(&ask.asked)?;
        Ok(self.read(ask)?.ids)
    }

    /// The tokens of a text by itself, without what the model expects around a whole one.
    pub(crate) fn tokens_within(&self, text: &str) -> Result<Vec<u32>, ApiError> {
        self.fits(&Asked::Text(text.to_owned()))?;
        Ok(self.chat.tokenizer().encode(text, false).map_err(picnic_chat::Error::from)?)
    }

    /// Refuses what cannot fit, by its bytes: tokenizing it would cost more than answering.
    fn fits(&self, asked: &Asked) -> Result<(), ApiError> {
        let bytes = asked.bytes();
        if bytes <= self.limits.context.saturating_mul(self.longest_token) {
            return Ok(());
        }
        let tokens = bytes.div_ceil(self.longest_token);
        Err(ApiError::TooLong { context: self.limits.context, prompt: tokens, is_least: true })
    }

    pub(super) fn encode(&self, ask: Ask) -> Result<Encoded, ApiError> {
        self.fits(&ask.asked)?;
        let Read { ids, text } = self.read(&ask)?;
        let context = self.limits.context;
        let room = context.saturating_sub(ids.len());
        if ids.is_empty() {
            return Err(ApiError::parameter("prompt", "is empty, and this model has no token that begins a text"));
        }
        // The last token that is only read for has no place of its own.
        if room == 0 && !((ask.reads_prompt || ask.wants_states) && ids.len() == context) {
            return Err(ApiError::TooLong { context, prompt: ids.len(), is_least: false });
        }
        let (max_tokens, note) = self.max_tokens(&ask, room);
        let is_chat = text.is_some();
        let text = text.unwrap_or_default();
        let sampling = self.sampling(&ask);
        let thinking = if is_chat { self.end_of_thinking(&ask.thinking, &text)? } else { None };
        let stop = self.chat.ends().ids().to_vec();
        // Where a call has to be made, that is the form; else whatever is no call has the form that was asked for.
        let calls = match &ask.asked {
            Asked::Conversation(conversation) => conversation.tools.form(),
            _ => None,
        };
        let note = match (&ask.asked, &calls, &ask.form) {
            (Asked::Conversation(conversation), None, Some(_)) if !conversation.tools.functions.is_empty() => {
                let unheard =
                    "tools cannot be called beside a form of the answer, which it has to keep from its beginning";
                Some(note.map_or_else(|| unheard.to_owned(), |note| format!("{note}; {unheard}")))
            }
            _ => note,
        };
        let (form, has_to_call) = (calls.as_ref().or(ask.form.as_ref()), calls.is_some());
        let mut encoded = Encoded { requests: Vec::new(), readers: Vec::new(), note };
        for number in 0..ask.answers() {
            let guide = form.map(|form| self.guide(form, is_chat.then_some(&*text))).transpose()?;
            let failure = guide.as_ref().map(Guide::failure).unwrap_or_default();
            let stops = ask.stops.clone();
            let seed = nth(sampling.seed, number);
            let mut reply = match (&guide, &ask.asked) {
                (Some(_), Asked::Conversation(_)) => Reply::held(&text, stops, self.chat.thinking_tokens(&text)),
                (None, Asked::Conversation(_)) => Reply::new(&text, stops),
                _ => Reply::held("", stops, None),
            };
            if let Asked::Conversation(Conversation { tools, .. }) = &ask.asked
                && (guide.is_none() || has_to_call)
            {
                // Ids tell the calls of a whole conversation apart, so they do not follow from the request's seed.
                reply = reply.with_tools(self.chat.tool_format(), &tools.functions, random());
                if has_to_call && tools.choice != ToolChoice::Auto {
                    reply = reply.only_calls();
                }
            }
            if let Asked::Conversation(Conversation { messages, goes_on: true, .. }) = &ask.asked
                && let Some(last) = messages.last()
            {
                reply = reply.going_on_with(last);
            }
            let constraint = guide.map(|guide| Box::new(Held(guide)) as Box<dyn Constraint>);
            encoded.requests.push(Request {
                stop: stop.clone(),
                sampling: Sampling { seed, ..sampling },
                control: Control { bias: ask.drawing.bias.clone(), thinking, constraint },
                wants: Wants {
                    prompt_logprobs: ask.reads_prompt,
                    prompt_likeliest: if ask.reads_prompt { sampling.likeliest } else { 0 },
                    prompt_states: ask.wants_states,
                },
                tenant: ask.tenant,
                ..Request::new(ids.clone(), max_tokens)
            });
            encoded.readers.push(Reader { reply, failure });
        }
        Ok(encoded)
    }

    fn read(&self, ask: &Ask) -> Result<Read, ApiError> {
        let raw = |ids| Ok(Read { ids, text: None });
        let tokenizer = self.chat.tokenizer();
        let encode = |text: &str, whole| tokenizer.encode(text, whole).map_err(picnic_chat::Error::from);
        match &ask.asked {
            Asked::Conversation(conversation) => {
                let prompt = self.prompt(conversation, &ask.thinking)?;
                Ok(Read { ids: prompt.ids, text: Some(prompt.text) })
            }
            Asked::Text(text) => raw(encode(text, true)?),
            Asked::Tokens(ids) => {
                let vocabulary = tokenizer.vocab_size();
                match ids.iter().find(|id| **id as usize >= vocabulary) {
                    None => raw(ids.clone()),
                    Some(id) => {
                        let problem = format!("has the token {id}, but this model has {vocabulary} tokens");
                        Err(ApiError::parameter("prompt", problem))
                    }
                }
            }
            Asked::Gap { before, after } => {
                let ids = |marks: [&str; 3]| {
                    Some(marks.map(|mark| tokenizer.token_to_id(mark))).filter(|ids| ids.iter().all(Option::is_some))
                };
                let Some(marks) = GAP_MARKS.into_iter().find_map(ids) else {
                    let problem = "cannot be used: this model has no tokens for filling a gap";
                    return Err(ApiError::parameter("suffix", problem));
                };
                let [begin, hole, end] = marks.map(Option::unwrap_or_default);
                let mut ids: Vec<u32> = tokenizer.bos().into_iter().collect();
                // A file may have these very marks in it.
                let text = |text: &str| {
                    let everywhere: Vec<usize> = (1..text.len()).collect();
                    tokenizer.encode_with_breaks(text, &everywhere).map_err(picnic_chat::Error::from)
                };
                ids.push(begin);
                ids.extend(text(before)?);
                ids.push(hole);
                ids.extend(text(after)?);
                ids.push(end);
                raw(ids)
            }
        }
    }

    fn prompt(&self, conversation: &Conversation, thinking: &Thinking) -> Result<picnic_chat::Prompt, ApiError> {
        let mut variables = conversation.variables.clone();
        // The names of Qwen3 and of DeepSeek-V3.1; templates ignore what they do not know.
        for name in ["enable_thinking", "thinking"] {
            if let Some(is_on) = thinking.is_on {
                variables.entry(name).or_insert(is_on.into());
            }
        }
        if let Some(effort) = &thinking.effort {
            variables.entry("reasoning_effort").or_insert(effort.as_str().into());
        }
        let options = ChatOptions {
            add_generation_prompt: !conversation.goes_on,
            continue_final_message: conversation.goes_on,
            tools: &conversation.tools.functions,
            variables: Some(&variables),
            now: Some(SystemTime::now()),
        };
        Ok(self.chat.prompt(&conversation.messages, &options)?)
    }

    /// Tokens of an answer at most, and a line if that is less than was asked for.
    fn max_tokens(&self, ask: &Ask, room: usize) -> (usize, Option<String>) {
        match ask.max_tokens {
            None => (room.min(self.limits.default_max_tokens).max(1), None),
            Some(asked) => {
                // Whoever only wants the prompt read has a token drawn that is not told.
                let asked = usize::try_from(asked).unwrap_or(usize::MAX).max(1);
                let room = room.max(1);
                let note = || format!("max_tokens was lowered from {asked} to {room}, which the context has room for");
                (asked.min(room), (asked > room).then(note))
            }
        }
    }

    /// Where a request says nothing, the model's makers do; then the contract.
    fn sampling(&self, ask: &Ask) -> Sampling {
        let (recommended, drawing) = (self.chat.recommended(), &ask.drawing);
        let Drawing { temperature, top_k, top_p, min_p, typical_p, repetition_penalty, .. } = *drawing;
        Sampling {
            temperature: temperature.or(recommended.temperature).unwrap_or(1.0),
            top_k: top_k.map_or(recommended.top_k, |k| usize::try_from(k).ok()).unwrap_or(0),
            top_p: top_p.or(recommended.top_p).unwrap_or(1.0),
            min_p: min_p.or(recommended.min_p).unwrap_or(0.0),
            typical_p: typical_p.or(recommended.typical_p).unwrap_or(1.0),
            presence_penalty: drawing.presence_penalty.unwrap_or(0.0),
            frequency_penalty: drawing.frequency_penalty.unwrap_or(0.0),
            repetition_penalty: repetition_penalty.or(recommended.repetition_penalty).unwrap_or(1.0),
            // Whoever wants the same answer again gives a seed.
            seed: drawing.seed.map_or_else(random, i64::cast_unsigned),
            // The token itself is told with the likeliest ones, so that one has to be wanted.
            likeliest: ask.likeliest.map_or(0, |n| usize::try_from(n).unwrap_or(0).max(1)),
        }
    }

    fn end_of_thinking(&self, thinking: &Thinking, text: &str) -> Result<Option<picnic_engine::Thinking>, ApiError> {
        let budget = match (thinking.budget, thinking.is_on) {
            (_, Some(false)) => 0,
            (Some(budget), _) => usize::try_from(budget).unwrap_or(usize::MAX),
            (None, _) => return Ok(None),
        };
        match self.chat.thinking_tokens(text) {
            Some((open, close)) => Ok(Some(picnic_engine::Thinking { budget, open, close })),
            // A model that does not think keeps any bound.
            None if !Splitter::after(text).is_thinking() => Ok(None),
            None => {
                let param = if thinking.budget.is_some() { "thinking_budget" } else { "thinking" };
                Err(ApiError::parameter(param, "cannot be kept: this model has no tokens for its thinking"))
            }
        }
    }

    /// What holds the answer to the prompt `text` to a form, once it has thought.
    fn guide(&self, form: &Form, text: Option<&str>) -> Result<Guide, ApiError> {
        let param = if matches!(form, Form::Calls { .. }) { "tools" } else { "response_format" };
        let refuse = |problem: String| ApiError::parameter(param, format!("is refused: {problem}"));
        let guidance = self.guidance().map_err(|problem| refuse(problem.to_owned()))?;
        let guide = guidance.guide(form).map_err(|error| refuse(error.to_string()))?;
        let Some(text) = text else { return Ok(guide) };
        match self.chat.thinking_tokens(text) {
            Some((open, close)) => Ok(guide.after_thinking(open, close)),
            None if Splitter::after(text).is_thinking() => {
                Err(refuse("the prompt opens the thinking, and this model has no token that ends it".to_owned()))
            }
            None => Ok(guide),
        }
    }
}

impl Asked {
    /// Bytes of its texts.
    fn bytes(&self) -> usize {
        match self {
            Asked::Conversation(Conversation { messages, tools, variables, .. }) => {
                let texts = |message: &Message| {
                    let Message { content, reasoning_content, tool_call_id, name, .. } = message;
                    let texts = [content, reasoning_content, tool_call_id, name].into_iter().flatten().map(String::len);
                    let calls = message.tool_calls.iter().map(|call| &call.function);
                    texts.chain(calls.map(|call| call.name.len() + call.arguments.len())).sum::<usize>()
                };
                let values = tools.functions.iter().chain(variables.values()).map(|value| value.to_string().len());
                messages.iter().map(texts).chain(values).sum()
            }
            Asked::Text(text) => text.len(),
            Asked::Tokens(ids) => ids.len(),
            Asked::Gap { before, after } => before.len() + after.len(),
        }
    }
}

/// A number that nobody can foresee.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// The seed of the answer `number` to a prompt; the first has the request's own, so that it is the same alone.
fn nth(seed: u64, number: usize) -> u64 {
    seed.wrapping_add((number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
