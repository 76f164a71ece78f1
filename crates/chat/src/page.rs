//! Chat templates for models that know no chat: the question stands on a page of plain text.
//!
//! A base model goes on with a page. R1-Zero is trained from such a model, so what it reads is a conversation written
//! out, with what is asked of the assistant said in words (DeepSeek-R1, section 2.2.3 and table 1).

use crate::{Error, Result};

/// Where the question goes.
const QUESTION: &str = "{question}";

/// R1-Zero's template in our words: think first, then answer, each between its tags.
pub const R1_ZERO: &str = "\
This is a conversation between a User, who has a question, and an Assistant, who solves it. The Assistant first thinks it \
through and then gives the answer. The thinking stands between <think> and </think>, the answer between <answer> and \
</answer>: <think> the reasoning </think><answer> the answer </answer>.
User: {question}
Assistant:";

/// The chat template that writes `page` with the question in the place of `{question}`. What follows it opens the
/// assistant's answer. An assistant's earlier thinking is dropped.
///
/// # Errors
/// If `page` does not have `{question}` exactly once.
pub fn page_template(page: &str) -> Result<String> {
    let (before, after) = page
        .split_once(QUESTION)
        .filter(|(_, after)| !after.contains(QUESTION))
        .ok_or_else(|| Error::Template(format!("a page needs {QUESTION} once; write it where the question goes")))?;
    // A JSON text is a literal of Jinja too.
    let [before, after] = [before, after].map(|part| serde_json::Value::from(part).to_string());
    Ok(format!(
        "{{%- if bos_token is defined -%}}{{{{- bos_token -}}}}{{%- endif -%}}
{{%- for message in messages -%}}
    {{%- if message.role == 'system' -%}}
        {{{{- message.content + '\\n' -}}}}
    {{%- elif message.role == 'user' -%}}
        {{{{- {before} + message.content + {after} -}}}}
    {{%- elif message.role == 'assistant' -%}}
        {{{{- ' ' + message.content.split('</think>')[-1] + eos_token -}}}}
    {{%- else -%}}
        {{{{- raise_exception('this template has no messages of role `' + message.role + '`') -}}}}
    {{%- endif -%}}
{{%- endfor -%}}
"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ChatOptions, ChatTemplate, Message};

    fn render(page: &str, messages: &[Message]) -> Result<String> {
        let special = [("bos_token", "<s>"), ("eos_token", "</s>")].map(|(key, token)| (key.into(), token.into()));
        let options = ChatOptions { add_generation_prompt: true, ..ChatOptions::default() };
        ChatTemplate::new(&page_template(page)?, special.into())?.render(messages, &options)
    }

    #[test]
    fn the_question_stands_on_the_page() {
        let page = "Say \"\\n\" and 'ä'\t{{ x }} {% y %}\nQ: {question}\nA:";
        let asked = render(page, &[Message::user("{question}?")]).unwrap();
        assert_eq!(asked, "<s>Say \"\\n\" and 'ä'\t{{ x }} {% y %}\nQ: {question}?\nA:");
        let zero = render(R1_ZERO, &[Message::user("1+1?")]).unwrap();
        assert!(zero.ends_with("\nUser: 1+1?\nAssistant:"), "{zero}");
    }

    #[test]
    fn a_conversation_goes_on_without_earlier_thinking() {
        let turns = [Message::user("a"), Message::assistant("<think>t</think>x"), Message::user("b")];
        assert_eq!(render("Q {question} A", &turns).unwrap(), "<s>Q a A x</s>Q b A");
    }

    #[test]
    fn a_page_without_its_question_is_an_error() {
        for page in ["", "Q: A:", "{question} {question}"] {
            assert!(page_template(page).unwrap_err().to_string().contains("once"));
        }
    }
}
