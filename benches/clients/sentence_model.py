#!/usr/bin/env python3
"""Makes a model with a long context that says one sentence, to try clients and agents with where no real model is at hand.

    python benches/clients/sentence_model.py target/release/picnic FOLDER
    picnic serve FOLDER --port 8204

The vocabulary is trained on the pages of this repository by `picnic tokenizer train`, so that the prompts of agents have about
as many tokens as with a real model. The weights are written here, by the standard library alone: each token of the sentence leads
to the next, a turn of the assistant to the first, and the last to the end of the text. Attention adds a little noise.
Where a form of the answer or a tool to be called forbids the sentence, whatever is allowed comes, and JSON is closed as soon
as it can be. So a grammar decides what is called, the model decides that it ends, and every layer runs as it would for another.
"""

import argparse
import json
import random
import struct
import subprocess
import sys
from array import array
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONTEXT = 131_072
WIDTH, INNER, HEADS = 64, 128, 2
THOUGHT = "Nothing to ponder"
SENTENCE = "This was all that you asked for."

# What logits come to. Noise has a deviation of about 2.
NEXT, CLOSE_STRING, CLOSE_OBJECT = 32.0, 24.0, 20.0


def pieces(vocabulary, text):
    """The text in the longest tokens that there are, by their ids."""
    text, ids = text.replace(" ", "Ġ"), []
    while text:
        piece = next(text[:end] for end in range(len(text), 0, -1) if text[:end] in vocabulary)
        ids.append(vocabulary[piece])
        text = text[len(piece):]
    return ids


def tensors(vocabulary):
    """Name, shape and values of every tensor of one layer of Llama."""
    draw = random.Random(13)
    size = max(vocabulary.values()) + 1
    first = pieces(vocabulary, SENTENCE)
    said = [vocabulary["<|assistant|>"], vocabulary["<think>"], *pieces(vocabulary, THOUGHT), vocabulary["</think>"], *first]
    # A token leads to one other, whatever stands before it.
    if len(set(said)) < len(said):
        raise SystemExit(f"the sentence has a token twice: {said}")
    # Each of them has a direction of its own; all other tokens share one more and are scattered over the rest.
    elsewhere, scattered = len(said), range(len(said) + 1, WIDTH)
    if len(scattered) < WIDTH // 2:
        raise SystemExit(f"the sentence has {len(said)} tokens, which is too many for a width of {WIDTH}")
    embedding, head = array("f", bytes(4 * size * WIDTH)), array("f", bytes(4 * size * WIDTH))
    for token in range(size):
        for at in scattered:
            embedding[token * WIDTH + at] = draw.gauss(0, len(scattered) ** -0.5)
            head[token * WIDTH + at] = draw.gauss(0, 0.35)
        embedding[token * WIDTH + elsewhere] = 1
    for direction, token in enumerate(said):
        embedding[token * WIDTH:(token + 1) * WIDTH] = array("f", [float(at == direction) for at in range(WIDTH)])
    # Behind RMSNorm a single direction has the length √width; of two, each has less.
    alone, shared = WIDTH ** 0.5, (WIDTH / 2) ** 0.5
    for direction, token in enumerate([*said[1:], vocabulary["<|eos|>"]]):
        head[token * WIDTH + direction] = NEXT / alone
    last = len(said) - 1
    for direction, length in ((last, alone), (elsewhere, shared)):
        head[vocabulary['"'] * WIDTH + direction] = CLOSE_STRING / length
        head[vocabulary["}"] * WIDTH + direction] = CLOSE_OBJECT / length
    head[first[0] * WIDTH + elsewhere] = NEXT / shared

    def noise(rows, columns, deviation):
        return (rows, columns), array("f", [draw.gauss(0, deviation) for _ in range(rows * columns)])

    def ones():
        return (WIDTH,), array("f", [1.0] * WIDTH)

    layer = "model.layers.0."
    return {
        "model.embed_tokens.weight": ((size, WIDTH), embedding),
        layer + "input_layernorm.weight": ones(),
        layer + "self_attn.q_proj.weight": noise(WIDTH, WIDTH, WIDTH ** -0.5),
        layer + "self_attn.k_proj.weight": noise(WIDTH // HEADS, WIDTH, WIDTH ** -0.5),
        layer + "self_attn.v_proj.weight": noise(WIDTH // HEADS, WIDTH, WIDTH ** -0.5),
        layer + "self_attn.o_proj.weight": noise(WIDTH, WIDTH, 1e-3),
        layer + "post_attention_layernorm.weight": ones(),
        layer + "mlp.gate_proj.weight": noise(INNER, WIDTH, WIDTH ** -0.5),
        layer + "mlp.up_proj.weight": noise(INNER, WIDTH, WIDTH ** -0.5),
        layer + "mlp.down_proj.weight": noise(WIDTH, INNER, 1e-3),
        "model.norm.weight": ones(),
        "lm_head.weight": ((size, WIDTH), head),
    }


def save(path, tensors):
    """A file of safetensors: the length of its header, the header, the values."""
    header, offset = {}, 0
    for name, (shape, values) in tensors.items():
        end = offset + 4 * len(values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, values in tensors.values():
            if sys.byteorder == "big":
                values.byteswap()
            file.write(values.tobytes())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picnic", help="the program")
    parser.add_argument("folder", type=Path, help="where the model is written")
    args = parser.parse_args()
    pages = [*sorted((ROOT / "docs").glob("*.md")), *(ROOT / name for name in ("README.md", "ARCHITECTURE.md"))]
    subprocess.run([args.picnic, "tokenizer", "train", *pages, "--vocab-size", "4096", "--out", args.folder], check=True)
    tokenizer = json.loads((args.folder / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"] | {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    (args.folder / "config.json").write_text(json.dumps({
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": max(vocabulary.values()) + 1, "hidden_size": WIDTH,
        "intermediate_size": INNER, "num_hidden_layers": 1, "num_attention_heads": HEADS, "num_key_value_heads": 1,
        "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-6, "rope_theta": 1e6, "tie_word_embeddings": False,
        "bos_token_id": vocabulary["<|bos|>"], "eos_token_id": vocabulary["<|eos|>"]}, indent=1))
    save(args.folder / "model.safetensors", tensors(vocabulary))


if __name__ == "__main__":
    main()
