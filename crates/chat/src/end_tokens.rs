//! Where an answer ends: one set of tokens for drawing and for teaching.
//!
//! Published models name their end tokens in up to five places, which often disagree: a base model's tokenizer ends
//! texts, its chat template ends turns with another token, and `generation_config.json` lists both or only one. Drawing
//! any of them ends an answer. The one to teach is what the template itself writes after an answer.

use crate::{ChatOptions, ChatTemplate, Message};
use picnic_tokenizer::Tokenizer;

/// The tokens that end the model's turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndTokens {
    /// Sorted, each once.
    ids: Vec<u32>,
    turn: Option<u32>,
}

impl EndTokens {
    /// The tokenizer's own, and the one with which `template` ends a turn.
    pub(crate) fn of(tokenizer: &Tokenizer, template: Option<&ChatTemplate>) -> EndTokens {
        let turn = template.and_then(|template| end_of_turn(tokenizer, template)).or(tokenizer.eos());
        let mut ends = EndTokens { ids: Vec::new(), turn };
        ends.add(turn.into_iter().chain(tokenizer.eos()));
        ends
    }

    pub(crate) fn add(&mut self, more: impl IntoIterator<Item = u32>) {
        self.ids.extend(more);
        self.ids.sort_unstable();
        self.ids.dedup();
        self.turn = self.turn.or(self.ids.first().copied());
    }

    /// All of them: drawing any ends an answer.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Whether drawing `id` ends an answer.
    pub fn contains(&self, id: u32) -> bool {
        self.ids.binary_search(&id).is_ok()
    }

    /// The one that an answer is taught to end with: the template's, or else the tokenizer's. `None` if there is none
    /// at all.
    pub fn turn(&self) -> Option<u32> {
        self.turn
    }
}

/// What stands in for an answer and for the next question: words that no template looks for.
const ANSWER: &str = "Picnic's answer";
const QUESTION: &str = "Picnic's question";

/// The token that `template` writes after an answer: the first special one between it and the end of the conversation.
/// A template that leaves the last turn open is shown one more question, and what it writes in between counts unless it
/// is what opens any question.
fn end_of_turn(tokenizer: &Tokenizer, template: &ChatTemplate) -> Option<u32> {
    let render = |messages: &[Message]| template.render(messages, &ChatOptions::default()).ok();
    let conversation = [Message::user("?"), Message::assistant(ANSWER), Message::user(QUESTION)];
    let special = |text: &str| -> Option<u32> {
        let ids = tokenizer.encode(text, false).ok()?;
        let is_special = ids.iter().copied().find(|&id| tokenizer.is_special(id));
        is_special.or_else(|| ids.iter().copied().find(|&id| tokenizer.is_added(id)))
    };
    let last = render(&conversation[..2])?;
    if let Some(end) = special(last.rsplit_once(ANSWER)?.1) {
        return Some(end);
    }
    let longer = render(&conversation)?;
    let between = longer.rsplit_once(ANSWER)?.1.rsplit_once(QUESTION)?.0;
    let opening = render(&conversation[2..])?;
    special(between).filter(|&end| special(opening.rsplit_once(QUESTION).map_or("", |(before, _)| before)) != Some(end))
}

/// Names of tokens that end a turn in the models that are passed around as GGUF files, whose keys often lack them.
/// llama.cpp goes by names too (`special_eog_ids` in its `llama-vocab.cpp`), so its users' files count on it.
const NAMES: [&str; 25] = [
    "<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<end_of_turn>", "<|endoftext|>",
    "<|end_of_text|>", "<end_of_utterance>", "<EOT>", "[EOT]", "[EOS]", "</s>", "<eos>", "<turn|>",
    "<｜end▁of▁sentence｜>", "<|calls|>", "<|flush|>", "_<EOT>", "<|fim_pad|>", "<fim-pad>", "<|repo_name|>",
    "<|file_sep|>", "<PAD>",
];

/// Whether llama.cpp takes a token of this name for a control token that ends a turn, whatever type its file gives it.
pub fn ends_a_turn_by_name(name: &str) -> bool {
    NAMES.contains(&name)
}

/// The tokens of a vocabulary that end a turn by their names. In harmony, the format of gpt-oss, `<|end|>` ends a
/// message of several in a turn.
pub(crate) fn known_by_name(tokenizer: &Tokenizer) -> Vec<u32> {
    let id = |name: &str| tokenizer.token_to_id(name).filter(|&id| tokenizer.is_added(id));
    let is_harmony = id("<|return|>").is_some() && id("<|call|>").is_some();
    NAMES.into_iter().filter(|name| !(is_harmony && *name == "<|end|>")).filter_map(id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ChatFormat;
    use picnic_tokenizer::TrainConfig;

    /// Bytes, and special tokens of three families. The tokenizer's own end token ends texts.
    fn tokenizer() -> Tokenizer {
        let special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|user|>", "<|assistant|>", "<|return|>"];
        let config = TrainConfig {
            vocab_size: 256 + 12,
            special_tokens: special.map(str::to_owned).to_vec(),
            bos: None,
            eos: Some("<|endoftext|>".to_owned()),
            ..TrainConfig::default()
        };
        Tokenizer::train([""], &config).unwrap()
    }

    fn turn(template: &str) -> String {
        let chat = ChatFormat::new(tokenizer()).with_template(template).unwrap();
        let (turn, eos) = (chat.ends().turn().unwrap(), chat.tokenizer().eos().unwrap());
        assert!(chat.ends().contains(turn) && chat.ends().contains(eos));
        chat.tokenizer().id_to_token(turn).unwrap()
    }

    #[test]
    fn the_template_says_what_ends_a_turn() {
        let chatml = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}";
        assert_eq!(turn(chatml), "<|im_end|>");
        // Llama 2's way: a space first, the token by its variable.
        assert_eq!(turn("{% for m in messages %}{{ m.content }} {{ eos_token }}{% endfor %}"), "<|endoftext|>");
        // The last turn is left open.
        let between = "{% for m in messages %}{{ m.content }}{% if not loop.last %}<|im_end|>{% endif %}{% endfor %}";
        assert_eq!(turn(between), "<|im_end|>");
        // The last turn ends otherwise than the ones before: that is how a turn ends.
        let harmony = "{% for m in messages %}{{ m.content }}{{ '<|return|>' if loop.last else '<|im_end|>' }}\
                       {% endfor %}";
        assert_eq!(turn(harmony), "<|return|>");
    }

    #[test]
    fn where_the_template_is_silent_the_tokenizer_speaks() {
        // GLM's way: nothing ends a turn but the next one's opening.
        let openings = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}";
        for template in [openings, "{{ messages[0].content }}", "{{ raise_exception('no') }}", "{{ nonsense() }}"] {
            assert_eq!(turn(template), "<|endoftext|>", "{template}");
        }
    }

    #[test]
    fn names_count_for_special_tokens_only() {
        let tokenizer = tokenizer();
        let names: Vec<String> =
            known_by_name(&tokenizer).into_iter().map(|id| tokenizer.id_to_token(id).unwrap()).collect();
        assert_eq!(names, ["<|im_end|>", "<|return|>", "<|endoftext|>"]);
    }
}
