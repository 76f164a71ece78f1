//! [`ChatFormat`]: how one model talks.

use crate::adapt::{self, Known};
use crate::end_tokens::known_by_name;
use crate::reasoning::Splitter;
use crate::template::Rendered;
use crate::{CHAT_TEMPLATE, ChatOptions, ChatTemplate, EndTokens, Error, Message, Result, ToolFormat};
use picnic_tokenizer::{MARKS, Tokenizer};
use serde_json::{Map, Value};
use std::sync::OnceLock;

/// The key of the template among the tokenizer's settings.
pub(crate) const TEMPLATE: &str = "chat_template";

/// A tokenizer, the template that makes a prompt of a conversation, and the tokens that end a turn.
#[derive(Clone, Debug)]
pub struct ChatFormat {
    tokenizer: Tokenizer,
    /// `None` if the model has no template, an error if it has one that does not compile.
    template: Option<std::result::Result<ChatTemplate, String>>,
    ends: EndTokens,
    tool_format: ToolFormat,
    /// Said if the template writes calls in a form that is not read here.
    unread: Option<String>,
    /// What the template knows, once somebody had to know.
    known: OnceLock<Known>,
    /// White space that the template writes between a prompt and its answer, such as the space of Llama 2's.
    lead: String,
    /// Variables of the template that whoever runs the model has set.
    variables: Map<String, Value>,
    /// `generation_config.json` as it was read, so that saving loses nothing.
    pub(crate) generation: Map<String, Value>,
    /// What was left out when its files were read.
    pub(crate) notes: Vec<String>,
}

/// A conversation as a model reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// What the template wrote.
    pub text: String,
    /// Its tokens.
    pub ids: Vec<u32>,
}

impl ChatFormat {
    /// The format of `tokenizer` and of the template among its settings. A template that does not compile is no error
    /// before somebody talks: the model can be read, measured and trained on texts without it.
    pub fn new(tokenizer: Tokenizer) -> ChatFormat {
        let template = match tokenizer.setting(TEMPLATE) {
            None | Some(Value::Null) => None,
            Some(source) => Some(ChatTemplate::from_json(source, tokenizer.special_tokens())),
        };
        let template = template.map(|compiled| compiled.map_err(|error| error.to_string()));
        let compiled = template.as_ref().and_then(|template| template.as_ref().ok());
        let ends = EndTokens::of(&tokenizer, compiled);
        let lead = compiled.and_then(lead).unwrap_or_default();
        let (variables, generation, notes) = (Map::new(), Map::new(), Vec::new());
        let (tool_format, unread) = form_of_calls(&tokenizer, compiled);
        let known = OnceLock::new();
        ChatFormat { tokenizer, template, ends, tool_format, unread, known, lead, variables, generation, notes }
    }

    /// The tokens that open and close the thinking of a reply to `prompt`; nothing opens it where the prompt does. `None` if
    /// this model has no such tokens.
    pub fn thinking_tokens(&self, prompt: &str) -> Option<(Option<u32>, u32)> {
        let token = |mark: &str| match self.tokenizer.encode(mark, false).ok()?[..] {
            [id] => Some(id),
            _ => None,
        };
        let is_open = Splitter::after(prompt).is_thinking();
        let open = if is_open { None } else { Some(token(MARKS[0])?) };
        Some((open, token(MARKS[1])?))
    }

    /// The format of models that Picnic trains from nothing.
    pub fn picnic(mut tokenizer: Tokenizer) -> ChatFormat {
        tokenizer.set(TEMPLATE, CHAT_TEMPLATE.into());
        ChatFormat::new(tokenizer)
    }

    /// The same model, asked by another template, which [`Self::save`] writes.
    ///
    /// # Errors
    /// A template that does not compile.
    pub fn with_template(&self, source: &str) -> Result<ChatFormat> {
        ChatTemplate::new(source, self.tokenizer.special_tokens())?;
        let mut tokenizer = self.tokenizer.clone();
        tokenizer.set(TEMPLATE, source.into());
        let ChatFormat { variables, generation, notes, .. } = self.clone();
        let mut other = ChatFormat { variables, generation, notes, ..ChatFormat::new(tokenizer) };
        other.ends.add(self.ends.ids().iter().copied());
        Ok(other)
    }

    /// The same format for a model of `rows` rows: without the added tokens for which it has none, which are noted, and
    /// without ends that can never be drawn.
    ///
    /// # Errors
    /// A vocabulary that does not work without them.
    pub fn without_tokens_from(self, rows: usize) -> Result<ChatFormat> {
        if self.tokenizer.vocab_size() <= rows && self.ends.ids().iter().all(|&id| (id as usize) < rows) {
            return Ok(self);
        }
        let ends = self.ends.ids().iter().copied().filter(|&id| (id as usize) < rows).collect::<Vec<_>>();
        let ChatFormat { variables, generation, notes, .. } = self;
        let tokenizer = self.tokenizer.without_tokens_from(rows)?;
        let other = ChatFormat { variables, generation, notes, ..ChatFormat::new(tokenizer) };
        Ok(other.with_end_tokens(ends))
    }

    /// The same format with more tokens that end a turn.
    pub fn with_end_tokens(mut self, more: impl IntoIterator<Item = u32>) -> ChatFormat {
        self.ends.add(more);
        self
    }

    /// The same format with the end tokens that llama.cpp knows by their names.
    pub fn with_end_tokens_by_name(self) -> ChatFormat {
        let named = known_by_name(&self.tokenizer);
        self.with_end_tokens(named)
    }

    /// The same format with variables for its template, such as `enable_thinking` (Qwen3) or `thinking` (DeepSeek-V3.1).
    /// Those of a single prompt go before them.
    pub fn with_variables(mut self, variables: Map<String, Value>) -> ChatFormat {
        self.variables.extend(variables);
        self
    }

    /// The prompt of a conversation. The template writes `bos` itself. What somebody wrote into a message, a tool or a
    /// variable of this prompt is text, also where it reads like a token with which the template steers the conversation.
    ///
    /// # Errors
    /// Without a template that works, or where it refuses the conversation.
    pub fn prompt(&self, messages: &[Message], options: &ChatOptions) -> Result<Prompt> {
        let Rendered { text, breaks } = self.rendered(messages, options)?;
        let ids = self.tokenizer.encode_with_breaks(&text, &breaks)?;
        Ok(Prompt { text, ids })
    }

    /// The conversation in what the template knows, as it writes it.
    fn rendered(&self, messages: &[Message], options: &ChatOptions) -> Result<Rendered> {
        let (template, format) = (self.template()?, self.tool_format);
        let known = *self.known.get_or_init(|| Known::of(template, self.unread.is_none()));
        let control = self.tokenizer.control_tokens();
        let render = |messages: &[Message], options: &ChatOptions| {
            let rendered = template.render_guarded(messages, options, &self.variables, control);
            if rendered.is_ok() || messages.iter().all(|message| message.content.is_some()) {
                return rendered;
            }
            // A turn that calls has no content, which this template does not bear after all.
            let mut filled = messages.to_vec();
            for message in &mut filled {
                message.content.get_or_insert_default();
            }
            template.render_guarded(&filled, options, &self.variables, control).or(rendered)
        };
        let messages = known.adapted(format, messages);
        if !known.describes(options.tools) {
            return render(&messages, options);
        }
        let instructions = adapt::instructions(format, options.tools);
        let options = ChatOptions { tools: &[], ..*options };
        let rendered = render(&adapt::with_system(messages.clone(), &instructions), &options);
        rendered
            .or_else(|refused| render(&adapt::with_question(messages, &instructions), &options).map_err(|_| refused))
    }

    /// The chat template.
    ///
    /// # Errors
    /// If there is none or it does not compile.
    pub fn template(&self) -> Result<&ChatTemplate> {
        match &self.template {
            None => Err(Error::NoTemplate),
            Some(Err(problem)) => Err(Error::Template(problem.clone())),
            Some(Ok(template)) => Ok(template),
        }
    }

    /// Text and ids.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The same format with one more thing to be said of how it was read.
    pub fn with_note(mut self, note: impl Into<String>) -> ChatFormat {
        self.notes.push(note.into());
        self
    }

    /// What was guessed, repaired or left out when its files were read, a line each, for standard error.
    pub fn notes(&self) -> impl Iterator<Item = &str> {
        self.tokenizer.notes().iter().chain(&self.notes).chain(&self.unread).map(String::as_str)
    }

    /// In which form this model calls tools. A model that knows none is asked for [`ToolFormat::Hermes`].
    pub fn tool_format(&self) -> ToolFormat {
        self.tool_format
    }

    /// The same model, said to call tools in another form.
    pub fn with_tool_format(self, tool_format: ToolFormat) -> ChatFormat {
        ChatFormat { tool_format, ..self }
    }

    /// The tokens that end a turn.
    pub fn ends(&self) -> &EndTokens {
        &self.ends
    }

    /// The answer `completion` as it is taught after a prompt: its ids as the template would write it, and the token that
    /// ends the turn.
    ///
    /// # Errors
    /// If the vocabulary is broken.
    pub fn answer(&self, completion: &str) -> Result<Vec<u32>> {
        let lead = if completion.starts_with(&self.lead) { "" } else { self.lead.as_str() };
        let mut ids = self.tokenizer.encode_continuation(&format!("{lead}{completion}"))?;
        ids.extend(self.ends.turn());
        Ok(ids)
    }

    /// The text of an answer, without the tokens that end it.
    pub fn text(&self, answer: &[u32]) -> String {
        let end = answer.iter().rposition(|&id| !self.ends.contains(id)).map_or(0, |last| last + 1);
        self.tokenizer.decode(&answer[..end], false)
    }
}

/// In which form a model calls tools, and what is to be said if its template writes calls in another one that is not read.
fn form_of_calls(tokenizer: &Tokenizer, template: Option<&ChatTemplate>) -> (ToolFormat, Option<String>) {
    let source = template.map(ChatTemplate::source).unwrap_or_default();
    let guess = ToolFormat::of(tokenizer, template.map(|_| source.as_str()));
    let Some(template) = template.filter(|_| guess != ToolFormat::Harmony && source.contains("tool")) else {
        return (guess, None);
    };
    match adapt::form(template, guess) {
        Some(form) => (form, None),
        None => {
            let unread = "the chat template writes calls of tools in a form that is not read here: the model is told of \
                tools in words, and asked to call them between <tool_call> and </tool_call>";
            (ToolFormat::Hermes, Some(unread.to_owned()))
        }
    }
}

/// The white space that `template` writes between a prompt and its answer; `None` if it writes more than that.
fn lead(template: &ChatTemplate) -> Option<String> {
    const ANSWER: &str = "Picnic's answer";
    let conversation = [Message::user("?"), Message::assistant(ANSWER)];
    let asking = ChatOptions { add_generation_prompt: true, ..ChatOptions::default() };
    let prompt = template.render(&conversation[..1], &asking).ok()?;
    let whole = template.render(&conversation, &ChatOptions::default()).ok()?;
    let (lead, _) = whole.strip_prefix(&prompt)?.split_once(ANSWER)?;
    lead.chars().all(char::is_whitespace).then(|| lead.to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use picnic_tokenizer::TrainConfig;

    /// Bytes and Picnic's special tokens.
    pub(crate) fn bytes() -> Tokenizer {
        Tokenizer::train([""], &TrainConfig { vocab_size: 264, ..TrainConfig::default() }).unwrap()
    }

    #[test]
    fn an_answer_ends_with_its_turn() {
        let chat = ChatFormat::picnic(bytes());
        let ids = chat.answer("4").unwrap();
        assert_eq!(ids.last().copied(), chat.tokenizer().eos());
        assert_eq!(chat.text(&ids), "4");
        assert_eq!(chat.text(&ids[..1]), "4");
    }

    #[test]
    fn an_answer_is_taught_as_the_template_writes_it() {
        let taught = |template: &str, answer: &str| {
            let chat = ChatFormat::new(bytes()).with_template(template).unwrap();
            chat.text(&chat.answer(answer).unwrap())
        };
        let turns = |between: &str| {
            format!(
                "{{% for m in messages %}}{{% if m.role == 'user' %}}[{{{{ m.content }}}}]{{% else %}}\
                 {between}{{{{ m.content }}}}<|eos|>{{% endif %}}{{% endfor %}}"
            )
        };
        assert_eq!(taught(&turns("{{ ' ' }}"), "4"), " 4");
        assert_eq!(taught(&turns("{{ ' ' }}"), " 4"), " 4");
        assert_eq!(taught(&turns(""), "4"), "4");
        assert_eq!(taught(&turns("<think></think>"), "4"), "4", "what is more than white space is the model's to say");
    }

    #[test]
    fn variables_of_a_prompt_go_before_those_of_the_format() {
        let chat = ChatFormat::new(bytes()).with_template("{{ a }}{{ b }}").unwrap();
        let map = |value: Value| value.as_object().unwrap().clone();
        let chat = chat.with_variables(map(serde_json::json!({"a": 1, "b": false})));
        let own = map(serde_json::json!({"b": "x"}));
        let render = |variables| {
            let options = ChatOptions { variables, ..ChatOptions::default() };
            chat.prompt(&[], &options).unwrap().text
        };
        assert_eq!((render(None), render(Some(&own))), ("1False".to_owned(), "1x".to_owned()));
    }

    #[test]
    fn a_broken_template_is_an_error_once_somebody_talks() {
        let mut tokenizer = bytes();
        for wrong in ["{% if %}".into(), Value::from(7)] {
            tokenizer.set(TEMPLATE, wrong);
            let chat = ChatFormat::new(tokenizer.clone());
            let error = chat.prompt(&[Message::user("hi")], &ChatOptions::default()).unwrap_err();
            assert!(matches!(error, Error::Template(_)), "{error}");
        }
        let error = ChatFormat::new(bytes()).prompt(&[], &ChatOptions::default()).unwrap_err();
        assert!(matches!(error, Error::NoTemplate), "{error}");
    }
}
