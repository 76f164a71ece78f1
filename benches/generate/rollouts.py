#!/usr/bin/env python3
"""How fast Picnic and transformers draw a batch of rollouts from one model, in turns on one machine.

    pip install torch transformers
    python benches/generate/rollouts.py target/release/picnic MODEL-FOLDER [--rounds 3] [--rollouts 64] [--tokens 128]

Every rollout has a prompt of its own of 64 tokens and exactly TOKENS drawn ones; a figure is drawn tokens over the time from
the first token read to the last one drawn, in tokens a second. transformers runs `generate` with `do_sample=True` in float32
on as many threads. A round measures each once, one after the other; the table has medians over the rounds, and of the ratios
of a round too. The two settings of Picnic are those of RL's `rollout = "exact"` and `rollout = "q8"`.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

PROMPT = 64


def picnic(program, model, weights, cache, rollouts, tokens):
    command = [program, "bench", "generate", str(model), "--weights", weights, "--cache", cache, "--prompt", str(PROMPT),
               "--tokens", str(tokens), "--readers", str(rollouts), "--rounds", "1", "--json"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    # The first tokens come out of the prompts.
    seconds = (rollouts * PROMPT / found["prefill_tokens_per_second"]
               + rollouts * (tokens - 1) / found["decode_tokens_per_second"])
    return rollouts * tokens / seconds


def transformers(model, rollouts, tokens, threads):
    """The same by transformers, in a process of its own."""
    code = f"""
import time, torch, transformers
torch.set_num_threads({threads})
model = transformers.AutoModelForCausalLM.from_pretrained({str(model)!r}, dtype=torch.float32).eval()
ids = torch.tensor([[(row * 7919 + at * 104729) % model.config.vocab_size for at in range({PROMPT})]
                    for row in range({rollouts})])
settings = dict(do_sample=True, top_k=0, top_p=1.0, temperature=1.0, pad_token_id=0)
with torch.no_grad():
    model.generate(ids[:2], attention_mask=torch.ones_like(ids[:2]), max_new_tokens=4, min_new_tokens=4, **settings)
    start = time.perf_counter()
    model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens={tokens}, min_new_tokens={tokens}, **settings)
print(time.perf_counter() - start)
"""
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    return rollouts * tokens / float(out.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picnic")
    parser.add_argument("model", type=Path, help="a Hugging Face folder")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rollouts", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    settings = {
        "transformers, float32": lambda: transformers(args.model, args.rollouts, args.tokens, args.threads),
        "picnic exact": lambda: picnic(args.picnic, args.model, "exact", "f32", args.rollouts, args.tokens),
        "picnic q8, cache in f16": lambda: picnic(args.picnic, args.model, "q8", "f16", args.rollouts, args.tokens),
    }
    found = {name: [] for name in settings}
    for round_ in range(args.rounds):
        for name, measure in settings.items():
            found[name].append(measure())
        print(f"round {round_ + 1} of {args.rounds}", file=sys.stderr, flush=True)
    print(f"| {args.rollouts} rollouts × {args.tokens} tokens | tokens/s | over transformers |\n|---|---|---|")
    base = found["transformers, float32"]
    for name, rates in found.items():
        ratio = statistics.median(rate / other for rate, other in zip(rates, base))
        print(f"| {name} | {statistics.median(rates):.0f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
