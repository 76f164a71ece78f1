//! The format of the models that Picnic trains from nothing: four special tokens, four marks, one template.
//!
//! ```text
//! <|bos|>SYSTEM<|user|>QUESTION<|assistant|><think>REASONING</think>CONTENT<|eos|>
//! ```
//! As with DeepSeek, thinking from before the last question is dropped.

/// The chat template.
pub const CHAT_TEMPLATE: &str = include_str!("picnic.jinja");

#[cfg(test)]
mod tests {
    use crate::{ChatOptions, ChatTemplate, Message};

    fn render(messages: &[Message], add_generation_prompt: bool) -> crate::Result<String> {
        let options = ChatOptions { add_generation_prompt, ..ChatOptions::default() };
        let special = [("bos_token", picnic_tokenizer::BOS), ("eos_token", picnic_tokenizer::EOS)];
        let special = special.map(|(key, token)| (key.to_owned(), token.to_owned()));
        ChatTemplate::new(super::CHAT_TEMPLATE, special.into())?.render(messages, &options)
    }

    fn thinking(reasoning: &str, content: &str) -> Message {
        Message { reasoning_content: Some(reasoning.to_owned()), ..Message::assistant(content) }
    }

    #[test]
    fn one_turn() {
        let messages =
            [Message::system("Be brief."), Message::user("1+1?"), thinking("one and one", "<answer>2</answer>")];
        let prompt = render(&messages[..2], true).unwrap();
        assert_eq!(prompt, "<|bos|>Be brief.<|user|>1+1?<|assistant|>");
        let whole = render(&messages, false).unwrap();
        let reply = "<think>one and one</think><answer>2</answer><|eos|>";
        assert_eq!(whole, prompt + reply);
    }

    #[test]
    fn earlier_thinking_is_dropped_wherever_it_was_written() {
        let messages = [
            Message::user("a"),
            thinking("t", "x"),
            Message::user("b"),
            Message::assistant("<think>t</think>y"),
            Message::user("c"),
        ];
        let rendered = render(&messages, true).unwrap();
        assert_eq!(
            rendered,
            "<|bos|><|user|>a<|assistant|>x<|eos|><|user|>b<|assistant|>y<|eos|><|user|>c<|assistant|>"
        );
    }

    #[test]
    fn a_tool_message_is_an_error() {
        let error = render(&[Message::new(crate::Role::Tool, "20")], true).unwrap_err();
        assert!(error.to_string().contains("`tool`"), "{error}");
    }
}
