"""A random model in DeepSeek-V2-Lite's full shape, 15.7 billion parameters in 4 bits, to see whether it loads and answers.

    pip install gguf numpy
    python benches/v2_lite.py v2-lite.gguf             # writes 8.9 GB, a tensor at a time
    python benches/v2_lite.py v2-lite.gguf --run picnic/binary
    python benches/v2_lite.py small.gguf --small       # 8 of its layers with 12 + 2 experts, for generate/context.py

With --small, `attn_kv_b` is split into `attn_k_b` and `attn_v_b`, as newer files have it, for which llama.cpp keeps latents.
With --run it then asks the model one question and prints the seconds and the most memory that the program held
(`VmHWM`, mapped pages of the file included). What such a model answers is noise; that it answers is the point.
"""

import argparse
import subprocess
import time

import gguf
import numpy as np

VOCABULARY, LAYERS, WIDTH, HEADS = 102400, 27, 2048, 16
KV_RANK, Q_RANK, NOPE, ROPE, VALUE = 512, 768, 128, 64, 128
DENSE, EXPERTS, USED, SHARED, EXPERT = 10944, 64, 6, 2, 1408
IS_SPLIT = False
Q4_0 = gguf.GGMLQuantizationType.Q4_0
F32 = gguf.GGMLQuantizationType.F32


def shrink():
    """V2-Lite's layers, but fewer of them and fewer experts and tokens."""
    global VOCABULARY, LAYERS, EXPERTS, IS_SPLIT
    VOCABULARY, LAYERS, EXPERTS, IS_SPLIT = 16_384, 8, 12, True


def shapes():
    """Name and shape, outermost first, of every tensor."""
    yield "token_embd.weight", (VOCABULARY, WIDTH)
    for layer in range(LAYERS):
        def at(name):
            return f"blk.{layer}.{name}.weight"
        yield at("attn_norm"), (WIDTH,)
        if IS_SPLIT:
            yield at("attn_q_a"), (Q_RANK, WIDTH)
            yield at("attn_q_a_norm"), (Q_RANK,)
            yield at("attn_q_b"), (HEADS * (NOPE + ROPE), Q_RANK)
        else:
            yield at("attn_q"), (HEADS * (NOPE + ROPE), WIDTH)
        yield at("attn_kv_a_mqa"), (KV_RANK + ROPE, WIDTH)
        yield at("attn_kv_a_norm"), (KV_RANK,)
        if IS_SPLIT:
            yield at("attn_k_b"), (HEADS, KV_RANK, NOPE)
            yield at("attn_v_b"), (HEADS, VALUE, KV_RANK)
        else:
            yield at("attn_kv_b"), (HEADS * (NOPE + VALUE), KV_RANK)
        yield at("attn_output"), (WIDTH, HEADS * VALUE)
        yield at("ffn_norm"), (WIDTH,)
        if layer == 0:
            parts = {"ffn_gate": (DENSE, WIDTH), "ffn_up": (DENSE, WIDTH), "ffn_down": (WIDTH, DENSE)}
        else:
            parts = {"ffn_gate_inp": (EXPERTS, WIDTH), "ffn_gate_exps": (EXPERTS, EXPERT, WIDTH),
                     "ffn_up_exps": (EXPERTS, EXPERT, WIDTH), "ffn_down_exps": (EXPERTS, WIDTH, EXPERT),
                     "ffn_gate_shexp": (SHARED * EXPERT, WIDTH), "ffn_up_shexp": (SHARED * EXPERT, WIDTH),
                     "ffn_down_shexp": (WIDTH, SHARED * EXPERT)}
        for name, shape in parts.items():
            yield at(name), shape
    yield "output_norm.weight", (WIDTH,)
    yield "output.weight", (VOCABULARY, WIDTH)


def stored(name, shape):
    return F32 if len(shape) == 1 or "ffn_gate_inp" in name else Q4_0


def values(rng, name, shape):
    """Norms near 1; elsewhere normal values of deviation about 1/√k, drawn as blocks of 32 codes with one scale."""
    k = shape[-1]
    if stored(name, shape) == F32:
        mean, deviation = (1, 0.1) if len(shape) == 1 else (0, k ** -0.5)
        return rng.normal(mean, deviation, shape).astype(np.float32)
    blocks = np.empty((*shape[:-1], k // 32, 18), np.uint8)
    # Uniform codes from -8 to 7 have the deviation 4.6.
    scale = np.array(k ** -0.5 / 4.6, np.float16)
    blocks[..., :2] = np.frombuffer(scale.tobytes(), np.uint8)
    blocks[..., 2:] = rng.integers(0, 256, blocks[..., 2:].shape, np.uint8)
    return blocks.reshape(*shape[:-1], k // 32 * 18)


def tokens():
    """A byte-level vocabulary of the right size: 256 bytes, one pair of letters, words without merges, and three special ones."""
    shown = [b for b in range(256) if chr(b).isprintable() and b != 0x20 and not 0x7F <= b <= 0xA0 and b != 0xAD]
    letters = {b: chr(b) for b in shown} | {
        b: chr(256 + i) for i, b in enumerate(b for b in range(256) if b not in shown)}
    words = [letters[b] for b in range(256)] + ["<bos>", "<eos>", "<user>"]
    words += ["ab"] + [f"word{i}" for i in range(VOCABULARY - len(words) - 1)]
    types = [gguf.TokenType.NORMAL] * VOCABULARY
    types[256:259] = [gguf.TokenType.CONTROL] * 3
    return words, types


def write(path):
    writer = gguf.GGUFWriter(path, "deepseek2")
    writer.add_name("random V2-Lite")
    writer.add_block_count(LAYERS)
    writer.add_context_length(32_768 if IS_SPLIT else 4096)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(DENSE)
    writer.add_head_count(HEADS)
    if IS_SPLIT:
        # To attention all heads have one key, the latent with what is rotated. Queries have a latent too, which llama.cpp
        # wants of every model but those of V2-Lite's number of layers.
        writer.add_q_lora_rank(Q_RANK)
        writer.add_head_count_kv(1)
        writer.add_key_length(KV_RANK + ROPE)
        writer.add_value_length(KV_RANK)
        writer.add_key_length_mla(NOPE + ROPE)
        writer.add_value_length_mla(VALUE)
    else:
        writer.add_head_count_kv(HEADS)
        writer.add_key_length(NOPE + ROPE)
        writer.add_value_length(VALUE)
    writer.add_kv_lora_rank(KV_RANK)
    writer.add_rope_dimension_count(ROPE)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(VOCABULARY)
    writer.add_leading_dense_block_count(1)
    writer.add_expert_count(EXPERTS)
    writer.add_expert_used_count(USED)
    writer.add_expert_shared_count(SHARED)
    writer.add_expert_feed_forward_length(EXPERT)
    writer.add_expert_weights_scale(1.0)
    writer.add_expert_weights_norm(False)
    writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SOFTMAX)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    words, types = tokens()
    writer.add_token_list(words)
    writer.add_token_types(types)
    writer.add_token_merges(["a b"])  # llama.cpp wants one
    writer.add_bos_token_id(256)
    writer.add_eos_token_id(257)
    writer.add_chat_template("{{ bos_token }}{% for m in messages %}<user>{{ m.content }}{% endfor %}")
    for name, shape in shapes():
        ty = stored(name, shape)
        block, size = gguf.GGML_QUANT_SIZES[ty]
        width = shape[-1] // block * size
        writer.add_tensor_info(name, (*shape[:-1], width) if ty != F32 else shape, np.dtype(np.uint8 if ty != F32 else np.float32),
                               int(np.prod(shape[:-1], dtype=np.int64)) * width, raw_dtype=ty)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    rng = np.random.default_rng(0)
    for name, shape in shapes():
        writer.write_tensor_data(values(rng, name, shape))
    writer.close()


def peak_memory(process):
    """Kilobytes, read as long as the program lives."""
    most = 0
    while process.poll() is None:
        try:
            with open(f"/proc/{process.pid}/status") as status:
                lines = dict(line.split(":", 1) for line in status)
            most = max(most, int(lines.get("VmHWM", "0 kB").split()[0]))
        except (FileNotFoundError, ProcessLookupError):
            break
        time.sleep(0.1)
    return most


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--run", metavar="PICNIC")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--keep", action="store_true", help="do not write the file anew")
    args = parser.parse_args()
    if args.small:
        shrink()
    if not args.keep:
        write(args.file)
    if args.run:
        start = time.time()
        command = [args.run, "chat", args.file, "--prompt", "hello", "--temperature", "0", "--max-tokens", "16"]
        process = subprocess.Popen(command)
        most = peak_memory(process)
        print(f"exit code {process.returncode}, {time.time() - start:.0f} s, at most {most / 1e6:.2f} GB")


if __name__ == "__main__":
    main()
