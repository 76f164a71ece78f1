#!/usr/bin/env python3
"""Runs the official lm-evaluation-harness against a running server, on a task of four lines, and compares it with `picnic eval`.

    python -m venv venv && venv/bin/pip install 'lm-eval[api]' transformers
    picnic serve MODEL-FOLDER --port 8203
    venv/bin/python benches/clients/lm_eval.py http://127.0.0.1:8203 MODEL-FOLDER target/release/picnic

MODEL-FOLDER is a local Hugging Face folder: its tokenizer is used by the harness, its weights by `picnic eval`. Nothing is
fetched from a network. The harness is called with `local-completions` (log-likelihoods; prompts as text and as tokens, one at
a time and sixteen at once) and with `local-chat-completions` (answers). Each log-likelihood must equal the one of
`picnic eval --choices` to 1e-3 (both with exact weights), or to --tolerance. The exit code is 1 if something fails.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

QUESTIONS = [
    {"prompt": "The capital of France is", "choices": [" Paris", " Rome", " Madrid"], "answer": 0},
    {"prompt": "Two plus two is", "choices": [" five", " four", " a fish of gold"], "answer": 1},
    {"prompt": "Water is made of hydrogen and", "choices": [" oxygen.", " iron.", " 24 carat gold."], "answer": 0},
    {"prompt": "Il fait tr\u00e8s chaud. L'\u00e9t\u00e9 est une", "choices": [" saison", " \u00e9toile", " voiture"], "answer": 0},
]
CHOOSE = """task: tiny_choices
dataset_path: json
dataset_kwargs:
  data_files: {{test: "{data}"}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{prompt}}}}"
doc_to_target: answer
doc_to_choice: choices
target_delimiter: ""
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
"""
ANSWER = """task: tiny_answers
dataset_path: json
dataset_kwargs:
  data_files: {{test: "{data}"}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{prompt}}}}"
doc_to_target: "{{{{choices[answer]}}}}"
generation_kwargs: {{until: ["\\n\\n"], max_gen_toks: 16, do_sample: false, temperature: 0}}
metric_list: [{{metric: exact_match}}]
"""


def harness(folder, name, task, kind, model_args, more=()):
    """Runs the harness and gives its samples, in the order of the questions."""
    out = folder / name
    command = [Path(sys.executable).parent / "lm_eval", "--model", kind, "--model_args", ",".join(f"{key}={value}" for key, value in model_args.items()),
               "--tasks", task, "--include_path", folder / "tasks", "--output_path", out, "--log_samples", *more]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "cache"),
                   "OPENAI_API_KEY": os.environ.get("OPENAI_API_KEY", "none"), "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run([str(part) for part in command], env=environment, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise AssertionError("the harness failed: " + " | ".join((done.stderr or done.stdout).strip().splitlines()[-6:])[-900:])
    found = [json.loads(line) for line in next(out.rglob("samples_*.jsonl")).read_text().splitlines()]
    return sorted(found, key=lambda sample: sample["doc_id"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="the server, without /v1")
    parser.add_argument("folder", type=Path, help="the model's Hugging Face folder")
    parser.add_argument("program", help="Picnic's binary, for `picnic eval`")
    parser.add_argument("--tolerance", type=float, default=1e-3)
    args = parser.parse_args()
    url = args.url.rstrip("/")
    model = json.load(urllib.request.urlopen(url + "/v1/models", timeout=10))["data"][0]["id"]
    failed = 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "tasks").mkdir()
        data = folder / "questions.jsonl"
        data.write_text("".join(json.dumps(question) + "\n" for question in QUESTIONS))
        (folder / "tasks" / "choices.yaml").write_text(CHOOSE.format(data=data))
        (folder / "tasks" / "answers.yaml").write_text(ANSWER.format(data=data))
        samples = folder / "ours.jsonl"
        subprocess.run([args.program, "eval", str(args.folder), "--choices", str(data), "--samples", str(samples), "--quiet"], check=True, stdout=subprocess.DEVNULL)
        ours = [json.loads(line)["log_likelihoods"] for line in samples.read_text().splitlines()]
        base = {"model": model, "base_url": url + "/v1/completions", "tokenizer": args.folder, "tokenizer_backend": "huggingface", "max_length": 512, "max_retries": 1}
        runs = {
            "text, one at a time": {"tokenized_requests": False, "num_concurrent": 1},
            "tokens, one at a time": {"tokenized_requests": True, "num_concurrent": 1},
            "text, batches of 4": {"tokenized_requests": False, "num_concurrent": 1, "batch_size": 4},
            "tokens, 16 at once": {"tokenized_requests": True, "num_concurrent": 16},
        }
        for name, settings in runs.items():
            batch = settings.pop("batch_size", 1)
            try:
                found = harness(folder, name.replace(" ", "_"), "tiny_choices", "local-completions", {**base, **settings}, ["--batch_size", batch])
                theirs = [[float(response[0]) for response in sample["filtered_resps"]] if isinstance(sample["filtered_resps"][0][0], list)
                          else [float(response[0]) for response in sample["filtered_resps"]] for sample in found]
                worst = max(abs(one - two) for row, other in zip(theirs, ours, strict=True) for one, two in zip(row, other, strict=True))
                good, text = worst <= args.tolerance, f"largest difference from picnic eval {worst:.2e}"
                if not good:
                    text += f"; theirs {theirs}, ours {ours}"
            except (AssertionError, StopIteration, subprocess.TimeoutExpired) as error:
                good, text = False, str(error)
            failed += not good
            print(f"{'ok' if good else 'FAILED'} local-completions, {name}: {text}", flush=True)
        chat = {"model": model, "base_url": url + "/v1/chat/completions", "num_concurrent": 4, "max_retries": 1, "tokenizer_backend": "None"}
        for name, kind, settings in (("local-chat-completions", "local-chat-completions", chat), ("local-completions, generated", "local-completions", {**base, "num_concurrent": 4})):
            try:
                found = harness(folder, kind + "_answers", "tiny_answers", kind, settings, ["--apply_chat_template"] if "chat" in kind else [])
                texts = [sample["filtered_resps"][0] for sample in found]
                good = len(texts) == len(QUESTIONS) and all(texts)
            except (AssertionError, StopIteration, subprocess.TimeoutExpired) as error:
                good, texts = False, str(error)
            failed += not good
            print(f"{'ok' if good else 'FAILED'} {name}: {texts}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
