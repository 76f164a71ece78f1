#!/usr/bin/env python3
"""How a model searches: what its Countdown samples are made of, beside how many are right.

    picnic eval recipes/tiny/eval.toml base=runs/tiny/rl --samples samples.jsonl
    python3 benches/countdown_search.py samples.jsonl

For each file: the share right by how many numbers there are; the share of equations that are true; attempts a sample;
how often it says "yes" and how often wrongly; how often it gives up. A model that RL has taught to guess still gets
answers right, but its equations are no longer true, and that shows here first. Samples of other tasks are skipped.
"""
import json
import operator
import re
import sys
from fractions import Fraction

EQUATION = re.compile(r"([0-9]*)([+\-*/])([0-9]+)=([0-9]+)")
OPERATIONS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}


def equations(attempt):
    """Whether each equation of a line is true; one without a left side goes on from the last result."""
    last = None
    for word in attempt.split():
        match = EQUATION.fullmatch(word)
        if match:
            left, sign, right, result = match[1], match[2], int(match[3]), int(match[4])
            left = int(left) if left else last
            known = left is not None and not (sign == "/" and right == 0)
            yield known and OPERATIONS[sign](Fraction(left), right) == result
            last = result
        elif "=" in word:
            yield False
            last = None


def share(part, whole):
    return f"{100 * part / whole:.1f} %" if whole else "–"


def main():
    for path in sys.argv[1:] or sys.exit(__doc__):
        with open(path) as file:
            samples = [json.loads(line) for line in file]
        samples = [s for s in samples if str(s["id"]).startswith("countdown/")]
        thoughts = [re.search(r"<think>(.*?)</think>", s["completion"], re.S) for s in samples]
        searches = [(s, t[1].splitlines()) for s, t in zip(samples, thoughts) if t]
        told = [true for _, attempts in searches for attempt in attempts for true in equations(attempt)]
        sure = [s for s, attempts in searches if attempts and attempts[-1].endswith("yes")]
        print(f"{path}: {len(samples)} samples, {share(sum(s['right'] for s in samples), len(samples))} right")
        for count in sorted({s["id"].split("=")[0].count(",") + 1 for s in samples}):
            of_count = [s["right"] for s in samples if s["id"].split("=")[0].count(",") + 1 == count]
            print(f"  {count} numbers: {share(sum(of_count), len(of_count))} right")
        print(f"  true equations: {share(sum(told), len(told))} of {len(told)}")
        print(f"  attempts a sample: {sum(len(a) for _, a in searches) / max(len(searches), 1):.2f}")
        print(f"  says yes: {share(len(sure), len(samples))}, wrongly {share(sum(not s['right'] for s in sure), len(sure))}")
        print(f"  gives up: {share(len(searches) - len(sure), len(samples))}")


if __name__ == "__main__":
    main()
