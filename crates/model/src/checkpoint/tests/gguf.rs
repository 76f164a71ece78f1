//! GGUF files: good, lying, and their block types against the reference decoder.

use super::gguf_file::*;
use super::*;
use crate::config::{Attention, Rope, RopeScaling, RopeStyle};

#[test]
fn gguf_reads_as_a_hugging_face_checkpoint() {
    let (metadata, tensors) = tiny_gguf();
    let (_dir, path) = folder_with("tiny.gguf", &whole(&metadata, &tensors));
    let checkpoint = Checkpoint::open(&path).unwrap();
    let config = checkpoint.config().unwrap();
    assert!(config.tie_word_embeddings);
    assert_eq!((config.vocab_size, config.rope_dim()), (4, 4));

    // Heads of four rows, stored 0 1 2 3 in the order (pair 0 first, pair 0 second, pair 1 …).
    let q = checkpoint.read_f32("model.layers.0.self_attn.q_proj.weight").unwrap();
    let rows: Vec<f32> = q.iter().step_by(8).map(|x| x / 8.0).collect();
    assert_eq!(rows, [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
    let v = checkpoint.read_f32("model.layers.0.self_attn.v_proj.weight").unwrap();
    assert!(v.iter().enumerate().all(|(i, &x)| x == i as f32));

    let tokenizer = checkpoint.gguf_tokenizer().unwrap();
    assert_eq!(tokenizer.tokens, ["a", "b", "ab", "<end>"]);
    assert_eq!(tokenizer.merges, ["a b"]);
    assert_eq!((tokenizer.eos_token_id, tokenizer.bos_token_id), (Some(3), None));
    assert_eq!(tokenizer.chat_template.as_deref(), Some("{{ messages }}"));
    assert_eq!(tokenizer.add_bos, None);
}

#[test]
fn an_end_outside_the_rows_is_left_out_with_a_note() {
    let (mut metadata, tensors) = tiny_gguf();
    metadata[10] = number("tokenizer.ggml.eos_token_id", 4);
    metadata.push(number("tokenizer.ggml.eot_token_id", 3));
    let (_dir, path) = folder_with("tiny.gguf", &whole(&metadata, &tensors));
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert_eq!(checkpoint.config().unwrap().eos_token_ids, [3]);
    assert_eq!(checkpoint.gguf_tokenizer().unwrap().eos_token_id, None);
    assert!(matches!(checkpoint.notes(), [note] if note.contains("eos token 4")), "{:?}", checkpoint.notes());
}

/// Converters write llama.cpp's −1 where there is no such token.
#[test]
fn a_token_of_all_ones_is_none() {
    let (mut metadata, tensors) = tiny_gguf();
    metadata.push(number("tokenizer.ggml.bos_token_id", u32::MAX));
    let (_dir, path) = folder_with("tiny.gguf", &whole(&metadata, &tensors));
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert_eq!(checkpoint.config().unwrap().bos_token_id, None);
    assert_eq!(checkpoint.gguf_tokenizer().unwrap().bos_token_id, None);
}

fn numbers(key: &str, list: &[u32]) -> Vec<u8> {
    let head = [text(key), 9u32.to_le_bytes().into(), 4u32.to_le_bytes().into()].concat();
    [head, (list.len() as u64).to_le_bytes().into(), list.iter().flat_map(|n| n.to_le_bytes()).collect()].concat()
}

/// What newer converters write for faster prompts, and sizes a layer each.
#[test]
fn fused_projections_and_lists_by_layer_are_read() {
    let (metadata, tensors) = tiny_gguf();
    let (_dir, path) = folder_with("plain.gguf", &whole(&metadata, &tensors));
    let plain = Checkpoint::open(&path).unwrap();
    let (mut metadata, mut tensors) = tiny_gguf();
    metadata[5] = numbers("llama.attention.head_count", &[2]);
    metadata.push(numbers("llama.attention.head_count_kv", &[1, 1]));
    tensors.truncate(2);
    // Q of 8 rows, K and V of 4: their values count on.
    let data = (0..128u32).flat_map(|i| (i as f32).to_le_bytes()).collect();
    tensors.push(Tensor { name: "blk.0.attn_qkv.weight".into(), shape: vec![8, 16], kind: 0, data });
    let bias = (0..16u32).flat_map(|i| (i as f32).to_le_bytes()).collect();
    tensors.push(Tensor { name: "blk.0.attn_qkv.bias".into(), shape: vec![16], kind: 0, data: bias });
    tensors.push(Tensor { name: "blk.0.attn_output.bias".into(), shape: vec![8], kind: 0, data: vec![0; 32] });
    let bytes = whole(&metadata, &tensors);
    let (_dir, path) = folder_with("fused.gguf", &bytes);
    let fused = Checkpoint::open(&path).unwrap();
    let attention = fused.config().unwrap().attention;
    let Attention::Gqa(gqa) = &attention else { panic!("{attention:?}") };
    assert_eq!((gqa.num_attention_heads, gqa.num_key_value_heads, gqa.qkv_bias), (2, 1, true));
    let name = |which: &str| format!("model.layers.0.self_attn.{which}_proj.weight");
    assert_eq!(fused.read_f32(&name("q")).unwrap(), plain.read_f32(&name("q")).unwrap(), "in rotary pairs, too");
    assert_eq!(fused.read_expected(&name("k"), &[4, 8]).unwrap()[8], 80.0, "of four rows the third is the second");
    assert_eq!(fused.read_expected(&name("v"), &[4, 8]).unwrap()[8], 104.0);
    assert_eq!(fused.read_expected("model.layers.0.self_attn.k_proj.bias", &[4]).unwrap(), [8.0, 10.0, 9.0, 11.0]);
    metadata[5] = numbers("llama.attention.head_count", &[2, 4]);
    assert!(open_error("uneven.gguf", &whole(&metadata, &tensors)).contains("layers that differ in `llama.attention"));
    metadata[5] = number("llama.attention.head_count", 4);
    let line = open_error("heads.gguf", &whole(&metadata, &tensors));
    assert!(line.contains("`blk.0.attn_qkv"), "{line}");
}

/// Llama 3.1 to 3.3 come with divisors of their frequencies, whose rule is known; others keep theirs.
#[test]
fn divisors_of_frequencies_are_recognised() {
    for (factor, original) in [(8.0, 8192), (32.0, 8192), (2.5, 2048)] {
        let scaling = RopeScaling::Llama3 {
            factor,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: original,
        };
        let rope = |scaling| Rope { theta: 500_000.0, style: RopeStyle::Half, scaling };
        let (plain, scaled) = (rope(RopeScaling::None).inv_freq(128), rope(scaling.clone()).inv_freq(128));
        let mut divisors: Vec<f32> = plain.iter().zip(scaled).map(|(plain, scaled)| plain / scaled).collect();
        assert_eq!(RopeScaling::of_divisors(&divisors, 500_000.0), scaling);
        divisors[40] *= 1.01;
        assert_eq!(RopeScaling::of_divisors(&divisors, 500_000.0), RopeScaling::Divisors(divisors));
    }
    for odd in [vec![], vec![f32::NAN, 2.0], vec![f32::INFINITY], vec![0.0, -1.0]] {
        assert!(matches!(RopeScaling::of_divisors(&odd, 1e4), RopeScaling::Divisors(_)));
    }
}

#[test]
fn lying_gguf_headers_are_refused() {
    type Change<'a> = &'a dyn Fn(&mut Vec<Vec<u8>>, &mut Vec<Tensor>);
    let refuse = |change: Change, word: &str| {
        let (mut metadata, mut tensors) = tiny_gguf();
        change(&mut metadata, &mut tensors);
        let line = open_error("bad.gguf", &whole(&metadata, &tensors));
        assert!(line.contains(word), "wanted {word}: {line}");
    };
    refuse(&|m, _| m.push(number("general.alignment", 0)), "alignment");
    refuse(&|m, _| m.push(number("general.alignment", 64)), "alignment");
    refuse(&|m, _| m.push(number("llama.block_count", 1)), "twice");
    refuse(&|m, _| m[0] = string("general.architecture", "mamba"), "mamba");
    refuse(&|m, _| m[1] = number("llama.block_count", u32::MAX), "num_hidden_layers");
    refuse(&|m, _| m[5] = number("llama.attention.head_count", 0), "head_count");
    refuse(&|m, _| m[5] = number("llama.attention.head_count", 3), "head_count");
    refuse(&|m, _| m[5] = string("llama.attention.head_count", "2"), "head_count");
    refuse(&|m, _| drop(m.remove(8)), "no tokens");
    refuse(&|m, _| m[8] = strings("tokenizer.ggml.tokens", &["a"; 5]), "5 tokens");
    refuse(&|m, _| m.push(number("llama.expert_count", 8)), "experts");
    // A list that claims 2^60 texts, and one of 2^63 numbers.
    let list = |kind: u32, count: u64| {
        let head = [text("x"), 9u32.to_le_bytes().into(), kind.to_le_bytes().into()].concat();
        [head, count.to_le_bytes().into()].concat()
    };
    refuse(&|m, _| m.push(list(8, 1 << 60)), "`x`");
    refuse(&|m, _| m.push(list(12, 1 << 63)), "`x`");
    refuse(&|m, _| m.push(list(9, 1)), "`x`");
    refuse(&|m, _| m.push([text("x"), 77u32.to_le_bytes().into()].concat()), "unknown type");
    refuse(&|_, t| t[1].name = "rope_freqs.weight".into(), "divisors");
    refuse(&|_, t| t[2].name = "blk.0.attn_sinks.weight".into(), "no place");
    refuse(&|_, t| t[3].name = "blk.00.attn_q.weight".into(), "twice");
    refuse(&|_, t| t[3].name = "blk.0.attn_q.weight".into(), "twice");
    refuse(&|_, t| drop(t.remove(0)), "missing");
    refuse(&|_, t| t[3].shape = vec![1 << 62, 4], "`blk.0.attn_v.weight`");
    refuse(&|_, t| t[3].shape = vec![u64::MAX, u64::MAX], "`blk.0.attn_v.weight`");
    refuse(&|_, t| t[3].shape = vec![8, 16], "`blk.0.attn_v.weight`");
    refuse(&|_, t| t[3].shape = vec![], "dimensions");
    refuse(&|_, t| t[3].shape = vec![1; 5], "dimensions");
    refuse(&|_, t| t[3].shape = vec![0, 8], "impossible");
    refuse(&|_, t| t[3].kind = 3, "multiple of 32");
    refuse(&|_, t| t[2].shape = vec![8, 7], "heads of 4");
    refuse(&|_, t| t[1].shape = vec![16], "overlap");

    let (metadata, mut tensors) = tiny_gguf();
    let good = whole(&metadata, &tensors);
    for end in 0..good.len() {
        open_error("cut.gguf", &good[..end]);
    }
    let mut wrong = good.clone();
    wrong[4] = 1;
    assert!(open_error("v1.gguf", &wrong).contains("version 1"));
    wrong[4..8].copy_from_slice(&[0, 0, 0, 3]);
    assert!(open_error("be.gguf", &wrong).contains("big-endian"));

    // A type that we do not decode is told when the tensor is read.
    tensors[3].kind = 16;
    let (_dir, path) = folder_with("iq2.gguf", &whole(&metadata, &tensors));
    let checkpoint = Checkpoint::open(&path).unwrap();
    let error = checkpoint.read_f32("model.layers.0.self_attn.v_proj.weight");
    assert!(error.unwrap_err().to_string().contains("IQ2_XXS"));
}

/// A block of each of two sizes, between others that have none. What the blocks mean is tested in the kernels.
#[test]
fn block_types_are_read() {
    for (kind, len, bytes) in [(2, 64, 36), (12, 256, 144)] {
        let (metadata, mut tensors) = tiny_gguf();
        let data: Vec<u8> = (0..bytes).map(|i| (i * 37 % 60) as u8).collect();
        let name = "output_norm.weight".to_owned();
        tensors[1] = Tensor { name, shape: vec![len], kind, data: data.clone() };
        let (_dir, path) = folder_with("blocks.gguf", &whole(&metadata, &tensors));
        let mut expected = vec![0.0; len as usize];
        picnic_kernels::stored::StoredType::from_ggml(kind).unwrap().decode(&data, &mut expected);
        assert_eq!(Checkpoint::open(&path).unwrap().read_f32("model.norm.weight").unwrap(), expected);
    }
}
