#!/usr/bin/env python3
"""Greedy answers of one GGUF file from Picnic and from llama.cpp, side by side.

    pip install llama-cpp-python
    picnic export MODEL model.gguf --dtype f32
    python benches/gguf_vs_llama_cpp.py model.gguf --picnic target/release/picnic [--model FOLDER] [--tokens 64]

Poses 20 questions through the file's chat template, takes the likeliest token each time, and compares the texts. From
the F32 file of a model both compute in f32 from the same weights (llama.cpp's cache is set to f32, flash attention is
off), so that only the order of sums differs and all 20 should agree. `--model` lets Picnic read another form of the same
model, such as the folder that the file was written from. Exits with 1 unless all answers agree. Not here: speed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

QUESTIONS = [
    "What is the capital of Kenya?", "Name three fruits.", "Why is the sky blue?", "What is 17 plus 25?",
    "Write a haiku about rain.", "Who wrote Hamlet?", "Explain gravity to a child.", "Translate 'good morning' to French.",
    "List the planets.", "What does HTTP stand for?", "How do bees make honey?", "Give me a synonym of happy.",
    "What is the boiling point of water?", "Tell me a short joke.", "Which is larger, 9.11 or 9.9?",
    "What year did the Berlin Wall fall?", "Describe a cat in one sentence.", "What is photosynthesis?",
    "Write a Python function that adds two numbers.", "Как тебя зовут?",
]


def picnic_answers(program, model, tokens):
    """What `picnic eval` writes for each question at temperature 0."""
    with tempfile.TemporaryDirectory() as folder:
        problems, samples = Path(folder, "problems.jsonl"), Path(folder, "samples.jsonl")
        lines = (json.dumps({"id": str(i), "prompt": question}) for i, question in enumerate(QUESTIONS))
        problems.write_text("\n".join(lines) + "\n")
        subprocess.run([program, "eval", model, "--problems", problems, "--samples", samples, "--temperature", "0",
                        "--max-tokens", str(tokens), "--quiet"], check=True)
        answers = {}
        for line in samples.read_text().splitlines():
            sample = json.loads(line)
            answers[sample["id"]] = sample["completion"]
    return [answers[str(i)] for i in range(len(QUESTIONS))]


def llama_answers(file, tokens, threads):
    """What llama.cpp writes, with its own rendering of the file's template."""
    import llama_cpp

    llama = llama_cpp.Llama(str(file), n_ctx=1024, n_threads=threads, type_k=llama_cpp.GGML_TYPE_F32,
                            type_v=llama_cpp.GGML_TYPE_F32, flash_attn=False, verbose=False)
    answers = []
    for question in QUESTIONS:
        llama.reset()
        reply = llama.create_chat_completion([{"role": "user", "content": question}], temperature=0.0,
                                             repeat_penalty=1.0, max_tokens=tokens)
        answers.append(reply["choices"][0]["message"]["content"])
    return answers


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--picnic", default="target/release/picnic")
    parser.add_argument("--model", help="what Picnic reads, if not the file")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2, help="llama.cpp's; 1 where the machine is busy")
    args = parser.parse_args()

    ours = picnic_answers(args.picnic, args.model or str(args.file), args.tokens)
    theirs = llama_answers(args.file, args.tokens, args.threads)
    same = 0
    for question, a, b in zip(QUESTIONS, ours, theirs):
        if a.strip() == b.strip():
            same += 1
            continue
        at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
        print(f"{question!r} from character {at}:\n  picnic    {a[at - 20:at + 40]!r}\n  llama.cpp {b[at - 20:at + 40]!r}")
    print(f"{same} of {len(QUESTIONS)} answers agree over {args.tokens} tokens")
    sys.exit(same != len(QUESTIONS))


if __name__ == "__main__":
    main()
