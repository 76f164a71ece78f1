#!/usr/bin/env python3
"""How reading and writing slow down as a context grows: Picnic's caches and its peers', in turns on one machine.

    pip install llama-cpp-python gguf numpy ik-llama-cpp-python      # speed.py says how the last one uses this machine
    python benches/v2_lite.py small.gguf --small
    python benches/generate/context.py target/release/picnic small.gguf [--contexts 512 4096 16384] [--rounds 3]

For each context one reader reads a prompt of so many tokens and writes 32 after it. Picnic runs `--weights q4` with the
caches f32, f16 and q8; llama.cpp its own cache, of 16-bit floats; ik_llama.cpp with each of its forms of MLA and with its
caches of f16 and q8_0, so that its best is among them. A round measures each once, one after the other; the table
has medians over the rounds. With MLA, caches of f16 and q8 are of latents, and Picnic's of f32 is not (docs/mla.md).
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from speed import peer  # noqa: E402

TOKENS = 32


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
    parser.add_argument("--peers", nargs="*", default=["llama.cpp", "ik_llama.cpp"])
    parser.add_argument("--mla", type=int, nargs="*", default=[1, 2, 3], help="the forms of MLA that ik_llama.cpp tries")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    def theirs(name, **how):
        return lambda context: peer(name, args.model, 1, args.threads, context, context, TOKENS, **how)

    settings = {"llama.cpp": theirs("llama.cpp")} if "llama.cpp" in args.peers else {}
    if "ik_llama.cpp" in args.peers:
        for mla in args.mla:
            settings[f"ik_llama.cpp f16, mla {mla}"] = theirs("ik_llama.cpp", mla=mla)
        settings[f"ik_llama.cpp q8_0, mla {args.mla[-1]}"] = theirs("ik_llama.cpp", mla=args.mla[-1], cache=8)
    for cache in args.caches:
        settings[f"picnic {cache}"] = lambda context, cache=cache: picnic(args.picnic, args.model, cache, context)
    print("| context | | prefill, tokens/s | decode, tokens/s | peak, MB |\n|---|---|---|---|---|")
    for context in args.contexts:
        found = {name: [] for name in settings}
        for _ in range(args.rounds):
            for name, measure in settings.items():
                found[name].append(measure(context))
        for name, rows in found.items():
            values = [statistics.median([row[key] for row in rows if row] or [math.nan]) for key in ("prefill", "decode", "mb")]
            print(f"| {context} | {name} | {values[0]:.0f} | {values[1]:.1f} | {values[2]:.0f} |", flush=True)


if __name__ == "__main__":
    main()
