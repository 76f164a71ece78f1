#!/usr/bin/env python3
"""How fast Picnic and its peers generate from the same weights, in turns on one machine, with the perplexity of each.

    pip install llama-cpp-python gguf numpy openvino-genai ik-llama-cpp-python
    python benches/generate/speed.py target/release/picnic MODEL-F32.gguf TEXT.txt [--rounds 5] [--readers 1 8 32]

llama.cpp is built for this machine when its package is installed. The wheel of ik_llama.cpp is for AVX2, and the package of its
sources (0.1.5) lacks a file that its build asks for; `cmake -S vendor/ik_llama.cpp -B build -DLLAMA_BUILD_COMMON=OFF
-DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TESTS=OFF -DBUILD_SHARED_LIBS=ON` in it and `ninja -C build llama` make a library for
this machine, which IK_LLAMA_CPP_LIB_PATH=build/src/libllama.so has the wheel use.

llama.cpp quantises MODEL to its formats of 4 and 8 bits and to F16. Picnic reads the F32 file with `--weights exact`,
`q8` and `q4`, and Q8_0 and Q4_0 as llama.cpp wrote them. A round measures every setting of both once, one after the
other, so that what else the machine does meets all of them; the table has medians over the rounds, and of the ratios of
a round too. The peers that are named by `--peers` read the same files of 4 and 8 bits; one that cannot is said to.
Prefill reads a prompt of 512 tokens by one reader; decode writes 64 tokens after one of 16, all readers together. The
logits of the prompt's last token are part of its time, so that 512 by it is also the time to the first token.
Perplexity is that of the beginning of TEXT, in the windows of perplexity_vs_llama_cpp.py, with the arithmetic that is
timed. `--cache f16` gives Picnic's caches of this form, which is llama.cpp's own.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
import llama_cpp  # noqa: E402
from perplexity_vs_llama_cpp import ours, quantise, windows  # noqa: E402

PROMPT, BEFORE, TOKENS = 512, 16, 64
FORMATS = {"Q4_0": 2, "Q4_K_M": 15, "Q8_0": 7, "F16": 1}


PEERS = {"llama.cpp": ("llama_speed.py", "llama_cpp({path!r})"),
         "ik_llama.cpp": ("llama_speed.py", "ik_llama_cpp({path!r}, {repack}, {mla}, {cache})"),
         "openvino-genai": ("openvino_speed.py", "{path!r}")}


def asked(name, path, call, repack=True, mla=3, cache=1):
    """What a peer prints for a call of a function of its file, in a process of its own; nothing if it cannot."""
    file, model = PEERS[name]
    model = model.format(path=str(path), repack=repack, mla=mla, cache=cache)
    program = Path(__file__).with_name(file).read_text() + "\n" + call.format(model=model)
    done = subprocess.run([sys.executable, "-"], input=program, capture_output=True, text=True)
    if done.returncode != 0:
        print(f"{name} cannot run {path}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr, flush=True)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def peer(name, path, readers, threads, prompt, before, tokens, **how):
    """Tokens a second that a peer reads and writes; nothing if it cannot."""
    return asked(name, path, f"measure({{model}}, {readers}, {threads}, {prompt}, {before}, {tokens})", **how) or {}


def perplexity(name, path, threads, windows):
    """That of the windows by a peer; not a number if it cannot."""
    nats = asked(name, path, f"nats({{model}}, {threads}, {windows})")
    return math.nan if nats is None else math.exp(nats)


def picnic(program, path, weights, cache, readers):
    """The same of Picnic: prefill by a prompt of its own, decode after a short one."""
    def bench(prompt, tokens, readers):
        command = [program, "bench", "generate", str(path), "--weights", weights, "--cache", cache,
                   "--prompt", str(prompt), "--tokens", str(tokens), "--readers", str(readers), "--rounds", "1", "--json"]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    read, write = bench(PROMPT, 2, 1), bench(BEFORE, TOKENS, readers)
    return {"prefill": read["prefill_tokens_per_second"], "decode": write["decode_tokens_per_second"],
            "share": write["bandwidth_share"], "mb": write["peak_rss_mb"]}


def median(rows, key):
    values = [row[key] for row in rows if row.get(key) is not None]
    return statistics.median(values) if values else math.nan


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picnic")
    parser.add_argument("model", type=Path, help="an F32 GGUF file")
    parser.add_argument("text", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--readers", type=int, nargs="*", default=[1, 8, 32])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers", nargs="*", default=["ik_llama.cpp", "openvino-genai"], choices=[*PEERS][1:])
    parser.add_argument("--cache", default="f32", choices=["f32", "f16", "q8"])
    parser.add_argument("--characters", type=int, default=20_000, help="of the text's beginning")
    args = parser.parse_args()
    text = args.text.read_text()[:args.characters]
    with tempfile.TemporaryDirectory() as folder:
        text_file = Path(folder) / "text.txt"
        text_file.write_text(text)
        files = {name: Path(folder) / f"{name}.gguf" for name in FORMATS}
        for name, path in files.items():
            quantise(args.model, path, FORMATS[name])
        text = windows(llama_cpp.Llama(str(files["Q8_0"]), vocab_only=True, verbose=False), text)
        settings, perplexities = {}, {}
        for name, path in files.items():
            for of in ["llama.cpp", *(args.peers if name in ("Q4_0", "Q8_0") else [])]:
                settings[f"{of} {name}"] = lambda readers, path=path, of=of: \
                    peer(of, path, readers, args.threads, PROMPT, BEFORE, TOKENS)
                perplexities[f"{of} {name}"] = perplexity(of, path, args.threads, text)
        for label, path, weights in [("exact", args.model, "exact"), ("q8", args.model, "q8"), ("q4", args.model, "q4"),
                                     ("Q8_0 file, q8", files["Q8_0"], "q8"), ("Q4_0 file, q4", files["Q4_0"], "q4")]:
            settings[f"picnic {label}"] = \
                lambda readers, path=path, weights=weights: picnic(args.picnic, path, weights, args.cache, readers)
            perplexities[f"picnic {label}"] = math.exp(ours(args.picnic, path, text_file, ["--weights", weights])[0])
        found = {(name, readers): [] for name in settings for readers in args.readers}
        for round_ in range(args.rounds):
            for readers in args.readers:
                for name, measure in settings.items():
                    found[name, readers].append(measure(readers))
            print(f"round {round_ + 1} of {args.rounds}", file=sys.stderr, flush=True)
    heads = "".join(f" {readers} at once |" for readers in args.readers)
    print(f"| | perplexity | prefill |{heads} share of the bandwidth, one reader | peak, MB |")
    print("|---|---|---|" + "---|" * (len(args.readers) + 2))
    for name in settings:
        first = found[name, args.readers[0]]
        decode = "".join(f" {median(found[name, readers], 'decode'):.0f} |" for readers in args.readers)
        print(f"| {name} | {perplexities[name]:.3f} | {median(first, 'prefill'):.0f} |{decode} "
              f"{median(first, 'share'):.2f} | {median(first, 'mb'):.0f} |")
    print()
    pairs = [("picnic q4", "llama.cpp Q4_0"), ("picnic q4", "llama.cpp Q4_K_M"), ("picnic Q4_0 file, q4", "llama.cpp Q4_0"),
             ("picnic q8", "llama.cpp Q8_0"), ("picnic exact", "llama.cpp F16")]
    pairs += [pair for of in args.peers for pair in (("picnic q4", f"{of} Q4_0"), ("picnic q8", f"{of} Q8_0"))]
    for ours_, theirs_ in pairs:
        for readers in args.readers:
            both = [(a, b) for a, b in zip(found[ours_, readers], found[theirs_, readers]) if b]
            if not both:
                continue
            ratio = {key: statistics.median(a[key] / b[key] for a, b in both) for key in ("prefill", "decode")}
            print(f"{ours_} / {theirs_}, {readers} at once: prefill {ratio['prefill']:.2f}, decode {ratio['decode']:.2f}")


if __name__ == "__main__":
    main()
