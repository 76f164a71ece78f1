"""Perplexity of a GGUF model in every stored type, Picnic's beside llama.cpp's of the same file.

    pip install llama-cpp-python gguf numpy
    python benches/perplexity_vs_llama_cpp.py target/release/picnic MODEL-F32.gguf TEXT.txt [--characters 20000] [--types Q8_0 ...]

llama.cpp itself quantises MODEL to each type, but for MXFP4, which it gives to experts alone: there the package `gguf`
quantises every matrix of a block, and the embedding as Q8_0. Both read the text in windows of 512 tokens that do not overlap, each after
the token that begins a text where the model has one, and predict every token of a window. That both
count the same tokens is checked.
"""

import argparse
import ctypes
import json
import math
import subprocess
import tempfile
from pathlib import Path

import gguf
import llama_cpp
import numpy as np

TYPES = {"F32": 0, "F16": 1, "BF16": 32, "Q8_0": 7, "Q4_0": 2, "Q4_1": 3, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K_M": 12,
         "Q4_K_M": 15, "Q5_K_M": 17, "Q6_K": 18, "IQ4_NL": 25, "IQ4_XS": 30, "MXFP4": None}
CONTEXT = 512


def quantise(source, target, ftype):
    if ftype is None:
        mxfp4(source, target)
        return
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.nthread, params.allow_requantize = ftype, 2, True
    status = llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(params))
    if status != 0:
        raise RuntimeError(f"llama.cpp refuses type {ftype}")


def mxfp4(source, target):
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name not in ("general.architecture", "general.file_type"):
            inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(name, field.contents(), field.types[0], sub_type=inner)
    for tensor in reader.tensors:
        kind = gguf.GGMLQuantizationType.F32
        if len(tensor.shape) == 2:
            kind = gguf.GGMLQuantizationType.MXFP4 if tensor.name.startswith("blk.") else gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(tensor.name, gguf.quantize(np.array(tensor.data), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def windows(model, text):
    """The text's tokens in windows that do not overlap, each after the token that begins a text, if there is one."""
    ids = model.tokenize(text.encode(), add_bos=False, special=True)
    first = model.tokenize(b"", add_bos=True, special=True)
    fresh = CONTEXT - len(first)
    found = (first + ids[start:start + fresh] for start in range(0, len(ids), fresh))
    return [window for window in found if len(window) > 1]


def theirs(path, text):
    """Mean negative log-probability by llama.cpp, and the number of tokens predicted."""
    model = llama_cpp.Llama(str(path), n_ctx=CONTEXT, n_batch=CONTEXT, logits_all=True, verbose=False, n_threads=2)
    nats, count = 0.0, 0
    for window in windows(model, text):
        model.reset()
        model.eval(window)
        nats -= predicted(np.asarray(model.scores[:len(window) - 1], np.float64), window).sum()
        count += len(window) - 1
    return nats / count, count


def predicted(logits, window):
    """Log-probability of each token of a window but the first, by the logits of the rows before."""
    top = logits.max(1, keepdims=True)
    logprobs = logits - top - np.log(np.exp(logits - top).sum(1, keepdims=True))
    return logprobs[np.arange(len(window) - 1), window[1:]]


def ours(picnic, path, text_file, more=()):
    command = [picnic, "eval", str(path), "--perplexity", str(text_file), "--context", str(CONTEXT), "--json", *more]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found["nats_per_token"], found["tokens"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picnic")
    parser.add_argument("model", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--characters", type=int, default=20_000, help="of the text's beginning")
    parser.add_argument("--types", nargs="*", default=list(TYPES))
    args = parser.parse_args()
    text = args.text.read_text()[:args.characters]
    print("| type | file, MB | Picnic | llama.cpp | difference, nats |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        text_file = Path(folder) / "text.txt"
        text_file.write_text(text)
        for name in args.types:
            path = Path(folder) / f"{name}.gguf"
            quantise(args.model, path, TYPES[name])
            (mine, tokens), (other, others) = ours(args.picnic, path, text_file), theirs(path, text)
            if tokens != others:
                raise SystemExit(f"{name}: {tokens} tokens here, {others} there: the tokenizers disagree")
            size = path.stat().st_size / 1e6
            print(f"| {name} | {size:.0f} | {math.exp(mine):.4f} | {math.exp(other):.4f} | {mine - other:+.5f} |", flush=True)
            path.unlink()


if __name__ == "__main__":
    main()
