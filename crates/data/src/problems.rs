//! Problems as conversations: what the model is asked and what it should say.

use picnic_chat::{ChatFormat, ChatOptions, Error, Message, Prompt};
use picnic_tasks::{Format, SftExample};

/// How a model is asked problems, and how its answers to them are laid out.
pub struct ProblemFormat<'c> {
    chat: &'c ChatFormat,
    /// The layout of a completion.
    pub layout: Format,
}

/// A conversation of which the completion is learned.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// Prompt and completion.
    pub ids: Vec<u32>,
    /// Tokens of the prompt.
    pub prompt: usize,
}

impl<'c> ProblemFormat<'c> {
    /// Problems as `chat` puts questions.
    ///
    /// # Errors
    /// If it has no template or the template fails.
    pub fn new(chat: &'c ChatFormat) -> Result<Self, Error> {
        let mut problems = ProblemFormat { chat, layout: Format::default() };
        problems.layout.think_open_in_prompt = problems.ask(&[], "?")?.text.trim_end().ends_with("<think>");
        Ok(problems)
    }

    fn ask(&self, before: &[(String, String)], question: &str) -> Result<Prompt, Error> {
        let options = ChatOptions { add_generation_prompt: true, ..ChatOptions::default() };
        let exchange = |(asked, said): &(String, String)| [Message::user(asked), Message::assistant(said)];
        let mut messages: Vec<Message> = before.iter().flat_map(exchange).collect();
        messages.push(Message::user(question));
        self.chat.prompt(&messages, &options)
    }

    /// The ids that ask `question` and open the answer.
    ///
    /// # Errors
    /// If the template fails.
    pub fn prompt(&self, question: &str) -> Result<Vec<u32>, Error> {
        Ok(self.ask(&[], question)?.ids)
    }

    /// `example` with the end-of-turn token after its completion.
    ///
    /// # Errors
    /// If the template fails.
    pub fn example(&self, example: &SftExample) -> Result<Example, Error> {
        self.example_after(&[], example)
    }

    /// The same at the end of a conversation: `before` has what was asked and answered, without the thinking, which
    /// templates leave out of earlier turns.
    ///
    /// # Errors
    /// If the template fails.
    pub fn example_after(&self, before: &[(String, String)], example: &SftExample) -> Result<Example, Error> {
        let ids = self.ask(before, &example.prompt)?.ids;
        self.complete(ids, &self.layout.render(&example.thinking, &example.answer))
    }

    /// The conversation in which `completion` answers `question`, with the end-of-turn token after it.
    ///
    /// # Errors
    /// If the template fails.
    pub fn completed(&self, question: &str, completion: &str) -> Result<Example, Error> {
        self.complete(self.prompt(question)?, completion)
    }

    fn complete(&self, mut ids: Vec<u32>, completion: &str) -> Result<Example, Error> {
        let prompt = ids.len();
        ids.extend(self.chat.answer(completion)?);
        Ok(Example { ids, prompt })
    }

    /// The text of a completion, without the tokens that end it.
    pub fn text(&self, completion: &[u32]) -> String {
        self.chat.text(completion)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use picnic_tokenizer::{Tokenizer, TrainConfig};

    #[test]
    fn an_example_is_prompt_completion_end() {
        let config = TrainConfig { vocab_size: 280, ..TrainConfig::default() };
        let tokenizer = Tokenizer::train(["1 + 1 = 2"], &config).unwrap();
        let chat = ChatFormat::picnic(tokenizer);
        let tokenizer = chat.tokenizer();
        let problems = ProblemFormat::new(&chat).unwrap();
        let example = SftExample { prompt: "1 + 1?".into(), thinking: "one and one".into(), answer: "2".into() };
        let Example { ids, prompt } = problems.example(&example).unwrap();
        assert_eq!(tokenizer.decode(&ids[..prompt], false), "<|bos|><|user|>1 + 1?<|assistant|>");
        assert_eq!(problems.text(&ids[prompt..]), "<think>one and one</think><answer>2</answer>");
        assert_eq!(ids.last().copied(), tokenizer.eos());
        let before = [("2 + 2?".to_owned(), "4".to_owned())];
        let Example { ids, prompt } = problems.example_after(&before, &example).unwrap();
        assert_eq!(
            tokenizer.decode(&ids[..prompt], false),
            "<|bos|><|user|>2 + 2?<|assistant|>4<|eos|><|user|>1 + 1?<|assistant|>"
        );
        assert_eq!(problems.text(&ids[prompt..]), "<think>one and one</think><answer>2</answer>");
    }
}
