//! Builds small GGUF files for tests.

pub(crate) fn text(s: &str) -> Vec<u8> {
    [&(s.len() as u64).to_le_bytes()[..], s.as_bytes()].concat()
}

pub(crate) fn number(key: &str, n: u32) -> Vec<u8> {
    [text(key), 4u32.to_le_bytes().into(), n.to_le_bytes().into()].concat()
}

pub(crate) fn string(key: &str, s: &str) -> Vec<u8> {
    [text(key), 8u32.to_le_bytes().into(), text(s)].concat()
}

pub(crate) fn strings(key: &str, list: &[&str]) -> Vec<u8> {
    let mut out = [text(key), 9u32.to_le_bytes().into()].concat();
    out.extend(8u32.to_le_bytes());
    out.extend((list.len() as u64).to_le_bytes());
    out.extend(list.iter().flat_map(|s| text(s)));
    out
}

pub(crate) struct Tensor {
    pub(crate) name: String,
    /// As in the file: the fastest-running first.
    pub(crate) shape: Vec<u64>,
    pub(crate) kind: u32,
    pub(crate) data: Vec<u8>,
}

pub(crate) fn whole(metadata: &[Vec<u8>], tensors: &[Tensor]) -> Vec<u8> {
    let mut out = b"GGUF".to_vec();
    out.extend(3u32.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((metadata.len() as u64).to_le_bytes());
    out.extend(metadata.concat());
    let mut data = Vec::new();
    for tensor in tensors {
        out.extend(text(&tensor.name));
        out.extend((tensor.shape.len() as u32).to_le_bytes());
        out.extend(tensor.shape.iter().flat_map(|n| n.to_le_bytes()));
        out.extend(tensor.kind.to_le_bytes());
        out.extend((data.len() as u64).to_le_bytes());
        data.extend(&tensor.data);
        data.resize(data.len().next_multiple_of(32), 0);
    }
    out.resize(out.len().next_multiple_of(32), 0);
    out.extend(data);
    out
}

/// A llama of one layer, 4 tokens, width 8 and two heads, whose Q counts its own elements.
pub(crate) fn tiny_gguf() -> (Vec<Vec<u8>>, Vec<Tensor>) {
    let metadata = vec![
        string("general.architecture", "llama"),
        number("llama.block_count", 1),
        number("llama.context_length", 16),
        number("llama.embedding_length", 8),
        number("llama.feed_forward_length", 8),
        number("llama.attention.head_count", 2),
        string("tokenizer.ggml.model", "gpt2"),
        string("tokenizer.ggml.pre", "smollm"),
        strings("tokenizer.ggml.tokens", &["a", "b", "ab", "<end>"]),
        strings("tokenizer.ggml.merges", &["a b"]),
        number("tokenizer.ggml.eos_token_id", 3),
        string("tokenizer.chat_template", "{{ messages }}"),
    ];
    let tensor = |name: &str, shape: &[u64]| {
        let values = 0..shape.iter().product::<u64>();
        Tensor {
            name: name.into(),
            shape: shape.into(),
            kind: 0,
            data: values.flat_map(|i| (i as f32).to_le_bytes()).collect(),
        }
    };
    let tensors = vec![
        tensor("token_embd.weight", &[8, 4]),
        tensor("output_norm.weight", &[8]),
        tensor("blk.0.attn_q.weight", &[8, 8]),
        tensor("blk.0.attn_v.weight", &[8, 8]),
    ];
    (metadata, tensors)
}
