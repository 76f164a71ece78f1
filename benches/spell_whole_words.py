#!/usr/bin/env python3
"""Asks a model with `tokenizer.words` to spell each word that is a token of its own, whose letters nothing shows it.

    python benches/spell_whole_words.py models/nano

Answers are the likeliest ones. The words are those that are tokens with the blank before them.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

LISTS = Path(__file__).parent.parent / "crates/tasks/src/words"


def whole_words(folder):
    """The words behind a blank, from the bytes that the vocabulary writes as printable characters."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    byte_of = {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}
    words = set()
    for token in json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]:
        text = bytes(byte_of[c] for c in token if c in byte_of).decode(errors="replace")
        if text.startswith(" ") and len(text) > 2 and text[1:].isalpha():
            words.add(text[1:])
    return sorted(words)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--picnic", default="target/release/picnic")
    args = parser.parse_args()

    listed = {word for name in ["english.txt", "russian.txt"] for word in (LISTS / name).read_text().split()}
    with tempfile.TemporaryDirectory() as scratch:
        problems, samples = Path(scratch) / "problems.jsonl", Path(scratch) / "samples.jsonl"
        rows = [json.dumps({"id": word, "prompt": f"Spell {word}."}) for word in whole_words(args.model)]
        problems.write_text("\n".join(rows) + "\n")
        subprocess.run([args.picnic, "eval", str(args.model), "--problems", str(problems), "--samples", str(samples),
                        "--temperature", "0"], check=True, stdout=subprocess.DEVNULL)
        count = {True: [0, 0], False: [0, 0]}
        for line in samples.read_text().splitlines():
            sample = json.loads(line)
            right = f"<answer>{'-'.join(sample['id'])}</answer>" in sample["completion"]
            of_its_kind = count[sample["id"].lower() in listed]
            of_its_kind[0] += right
            of_its_kind[1] += 1
    print(f"{count[True][0]} of {count[True][1]} words of the lists, {count[False][0]} of {count[False][1]} others")


if __name__ == "__main__":
    main()
