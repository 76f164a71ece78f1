#!/usr/bin/env python3
"""How reading and writing slow down as a context grows: Picnic's caches and llama.cpp's, in turns on one machine.

    pip install llama-cpp-python gguf numpy
    python benches/v2_lite.py small.gguf --small
    python benches/generate/context.py target/release/picnic small.gguf [--contexts 512 4096 16384] [--rounds 3]

For each context one reader reads a prompt of so many tokens and writes 32 after it. Picnic runs `--weights q4` with the
caches f32, f16 and q8; llama.cpp its own cache, of 16-bit floats. A round measures each once, one after the other; the table
has medians over the rounds. With MLA, caches of f16 and q8 are of latents, and Picnic's of f32 is not (docs/mla.md).
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

TOKENS = 32


def llama(path, context, threads):
    code = f"measure({str(path)!r}, 1, {threads}, {context}, {context}, {TOKENS})"
    program = Path(__file__).with_name("llama_cpp_speed.py").read_text()
    found = subprocess.run([sys.executable, "-c", f"{program}\n{code}"], check=True, capture_output=True, text=True).stdout
    return json.loads(found.splitlines()[-1])


def picnic(program, path, cache, context):
    command = [program, "bench", "generate", str(path), "--weights", "q4", "--cache", cache, "--prompt", str(context),
               "--tokens", str(TOKENS + 1), "--rounds", "1", "--json"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {"prefill": found["prefill_tokens_per_second"], "decode": found["decode_tokens_per_second"],
            "mb": found["peak_rss_mb"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picnic")
    parser.add_argument("model", type=Path, help="a GGUF file")
    parser.add_argument("--contexts", type=int, nargs="*", default=[512, 4096, 16384])
    parser.add_argument("--caches", nargs="*", default=["f32", "f16", "q8"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    settings = {"llama.cpp": lambda context: llama(args.model, context, args.threads)}
    for cache in args.caches:
        settings[f"picnic {cache}"] = lambda context, cache=cache: picnic(args.picnic, args.model, cache, context)
    print("| context | | prefill, tokens/s | decode, tokens/s | peak, MB |\n|---|---|---|---|---|")
    for context in args.contexts:
        found = {name: [] for name in settings}
        for _ in range(args.rounds):
            for name, measure in settings.items():
                found[name].append(measure(context))
        for name, rows in found.items():
            values = [statistics.median(row[key] for row in rows) for key in ("prefill", "decode", "mb")]
            print(f"| {context} | {name} | {values[0]:.0f} | {values[1]:.1f} | {values[2]:.0f} |", flush=True)


if __name__ == "__main__":
    main()
