//! What was said so far, as much of it as the model may be shown, and how the next answer is made.

use super::interrupt::Interrupt;
use crate::load::Loaded;
use crate::output::CANNOT_WRITE;
use anyhow::{Context, Result, ensure};
use picnic_chat::{ChatOptions, Message, Piece, Prompt, Reply};
use picnic_engine::{Control, DiskCache, Engine, Finish, Limits, Request, Sampling, Thinking};
use picnic_model::{Backend, CacheForm};
use std::io;
use std::time::{Instant, SystemTime};

/// Tokens that a conversation may have, on models that were trained for more: they bound the cache.
const MAX_CONTEXT: usize = 16 * 1024;

/// Tokens guessed ahead at most, where a text repeats itself.
const DRAFT_TOKENS: usize = 8;

/// What a person may change while the conversation goes on.
pub struct Settings {
    /// Instructions ahead of the conversation.
    pub system: Option<String>,
    /// How answers are drawn, but for the seed.
    pub sampling: Sampling,
    /// Tokens after which the model has to answer instead of thinking on.
    pub thinking_budget: Option<usize>,
    /// Tokens in an answer at most.
    pub max_tokens: usize,
    /// Of the next answer.
    pub seed: u64,
}

/// A conversation with a model.
pub struct Conversation {
    /// The model.
    pub loaded: Loaded,
    engine: Engine<Backend>,
    /// How it is asked.
    pub settings: Settings,
    /// Tokens that the model may be shown and write, together.
    context: usize,
    exchanges: Vec<Exchange>,
    /// How many exchanges the model is no longer shown, because the conversation outgrew its context.
    forgotten: usize,
    interrupt: Interrupt,
}

/// A question and its answer.
pub struct Exchange {
    /// What the person said.
    pub question: String,
    /// What the model thought and answered.
    pub answer: Message,
}

/// What an answer came to.
pub struct Answered {
    /// Its tokens.
    pub tokens: usize,
    /// Seconds from the question to the last token.
    pub seconds: f64,
    /// Tokens of the conversation as the model saw it, this answer included.
    pub conversation: usize,
    /// Tokens that a conversation may have.
    pub context: usize,
    /// Why it ended.
    pub ending: Ending,
    /// Whether exchanges were forgotten for it, the first in this conversation.
    pub outgrown: bool,
}

/// Why an answer ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The model ended it, or it has as many tokens as were asked for.
    Whole,
    /// The conversation may have no more tokens.
    CutOff,
    /// Ctrl-C.
    Interrupted,
}

impl Conversation {
    /// A conversation in which nothing was said; what will be is kept in a cache of `cache`'s form.
    pub fn new(loaded: Loaded, cache: CacheForm, settings: Settings, interrupt: Interrupt) -> Conversation {
        let context = loaded.model.model().config().conversation_tokens().min(MAX_CONTEXT);
        let cache_tokens = Limits::cache_for::<Backend>(1, context);
        // What was said before is in the cache when the next question comes.
        let limits = Limits {
            kept_tokens: cache_tokens,
            draft_tokens: DRAFT_TOKENS,
            cache,
            ..Limits::new(1, 256, cache_tokens)
        };
        let engine = Engine::new(loaded.ops.clone(), loaded.model.clone(), limits);
        Conversation { loaded, engine, settings, context, exchanges: Vec::new(), forgotten: 0, interrupt }
    }

    /// Has what the model reads kept on `disk` too.
    pub fn keep_on(&mut self, disk: DiskCache) {
        self.engine.attach(disk);
    }

    /// Everything that was said.
    pub fn exchanges(&self) -> &[Exchange] {
        &self.exchanges
    }

    /// Forgets everything that was said.
    pub fn clear(&mut self) {
        self.exchanges.clear();
        self.forgotten = 0;
    }

    /// Takes other instructions, if the model's template has a place for them.
    ///
    /// # Errors
    /// The template's refusal; the instructions are then what they were.
    pub fn instruct(&mut self, system: Option<String>) -> Result<()> {
        let before = std::mem::replace(&mut self.settings.system, system);
        let tried = self.prompt(self.exchanges.len(), "?");
        if tried.is_err() {
            self.settings.system = before;
        }
        tried.map(drop)
    }

    /// Asks a question and hands over the answer as it comes. What Ctrl-C stops stays as far as it came.
    ///
    /// # Errors
    /// A question that is too long or that the template refuses; then it was not asked. An [`io::Error`] of `show`.
    pub fn ask(&mut self, question: &str, show: impl FnMut(&Piece) -> io::Result<()>) -> Result<Answered> {
        let forgotten_before = self.forgotten;
        let prompt = self.fit(question)?;
        let outgrown = forgotten_before == 0 && self.forgotten > 0;
        let (answer, answered) = self.generate(prompt, show)?;
        self.exchanges.push(Exchange { question: question.to_owned(), answer });
        Ok(Answered { outgrown, ..answered })
    }

    /// Asks the last question again in place of its answer; `None` if there is none.
    ///
    /// # Errors
    /// As for [`Conversation::ask`]; the answer stays.
    pub fn retry(&mut self, show: impl FnMut(&Piece) -> io::Result<()>) -> Result<Option<Answered>> {
        let Some(last) = self.exchanges.pop() else { return Ok(None) };
        self.forgotten = self.forgotten.min(self.exchanges.len());
        let answered = self.ask(&last.question, show);
        if answered.is_err() {
            self.exchanges.push(last);
        }
        answered.map(Some)
    }

    /// The prompt for `question` after as many of the last exchanges as leave room for an answer.
    fn fit(&mut self, question: &str) -> Result<Prompt> {
        // Half of a conversation is for the answer; where nothing is left to forget, a quarter has to do.
        let [wanted, least] = [2, 4].map(|part| self.settings.max_tokens.min(self.context / part).max(1));
        let mut forgotten = self.forgotten;
        loop {
            let prompt = self.prompt(forgotten, question)?;
            let is_alone = forgotten == self.exchanges.len();
            if prompt.ids.len() + if is_alone { least } else { wanted } <= self.context {
                self.forgotten = forgotten;
                return Ok(prompt);
            }
            ensure!(
                !is_alone,
                "this message has {} tokens with what goes around it, and a conversation may have {} with this model, \
                 the answer included: say it shorter",
                prompt.ids.len(),
                self.context
            );
            forgotten += 1;
        }
    }

    /// The prompt for `question` after all exchanges but the first `forgotten`.
    fn prompt(&self, forgotten: usize, question: &str) -> Result<Prompt> {
        let mut messages: Vec<Message> = self.settings.system.iter().map(Message::system).collect();
        for Exchange { question, answer } in &self.exchanges[forgotten..] {
            messages.extend([Message::user(question), answer.clone()]);
        }
        messages.push(Message::user(question));
        let options =
            ChatOptions { add_generation_prompt: true, now: Some(SystemTime::now()), ..ChatOptions::default() };
        Ok(self.loaded.chat.prompt(&messages, &options)?)
    }

    fn generate(
        &mut self,
        Prompt { text, ids }: Prompt,
        mut show: impl FnMut(&Piece) -> io::Result<()>,
    ) -> Result<(Message, Answered)> {
        let began = Instant::now();
        let (chat, engine) = (&self.loaded.chat, &mut self.engine);
        let Settings { sampling, thinking_budget, max_tokens, seed, .. } = self.settings;
        let sampling = Sampling { seed, ..sampling };
        self.settings.seed = seed.wrapping_add(1);
        let (prompt_tokens, room) = (ids.len(), self.context - ids.len());
        let stop = chat.ends().ids().to_vec();
        let thinking = match thinking_budget {
            None => None,
            Some(budget) => {
                let (open, close) = chat.thinking_tokens(&text).context(
                    "this model has no tokens for <think> and </think>, so that nothing can end its thinking: leave out \
                     --thinking-budget",
                )?;
                Some(Thinking { budget, open, close })
            }
        };
        let control = Control { thinking, ..Control::default() };
        let id = engine.submit(Request { stop, sampling, control, ..Request::new(ids, max_tokens.min(room)) })?;

        let (mut reply, mut whole, mut ending) = (Reply::new(&text, Vec::new()), Piece::default(), Ending::Whole);
        let _answering = self.interrupt.answering();
        let mut follow = || -> Result<()> {
            while !engine.is_idle() {
                if self.interrupt.is_pressed() {
                    ending = Ending::Interrupted;
                    break;
                }
                let step = engine.step();
                if let Some(dropped) = step.dropped.into_iter().next() {
                    return Err(dropped.into());
                }
                for event in step.events {
                    let mut piece = reply.push(chat, event.token);
                    if event.finish.is_some() && !reply.is_stopped() {
                        piece += reply.finish();
                    }
                    if event.finish == Some(Finish::Length) && room < max_tokens {
                        ending = Ending::CutOff;
                    }
                    show(&piece).context(CANNOT_WRITE)?;
                    whole += piece;
                }
            }
            Ok(())
        };
        let followed = follow();
        // What was not answered to its end leaves nothing behind.
        engine.cancel(id);
        followed?;
        let answered = Answered {
            tokens: reply.tokens(),
            seconds: began.elapsed().as_secs_f64(),
            conversation: prompt_tokens + reply.tokens(),
            context: self.context,
            ending,
            outgrown: false,
        };
        let reasoning_content = (!whole.reasoning.is_empty()).then_some(whole.reasoning);
        Ok((Message { reasoning_content, ..Message::assistant(whole.content) }, answered))
    }
}
