#!/usr/bin/env python3
"""Asks models what the README's transcript asks, and compares every line of the answers.

    bash benches/three_seeds.sh          # trains them, in an hour and a half
    python benches/readme_transcript.py target/release/picnic runs/seeds/tiny-r1-{0,1,2}/rl

The lines are read from README.md: `$ cargo run --release -- chat runs/tiny/rl …` and what follows it. Ends with 1 if a model
says something else.
"""

import pathlib
import re
import shlex
import subprocess
import sys

README = pathlib.Path(__file__).parent.parent / "README.md"
COMMAND = "$ cargo run --release -- chat runs/tiny/rl "


def transcript():
    """(arguments, answer) of each command."""
    for block in re.findall(r"```\n(.*?)```", README.read_text(), re.DOTALL):
        for part in block.split(COMMAND)[1:]:
            arguments, answer = part.split("\n", 1)
            yield shlex.split(arguments), answer.strip()


def main():
    program, *models = sys.argv[1:]
    expected = list(transcript())
    if not (models and expected):
        sys.exit(__doc__)
    wrong = 0
    for model in models:
        for arguments, answer in expected:
            said = subprocess.run([program, "chat", model, *arguments], capture_output=True, text=True, check=True).stdout.strip()
            same = said == answer
            wrong += not same
            print(f"{'same' if same else 'other'}: {model}: {arguments[-1]}")
            if not same:
                print(said)
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
