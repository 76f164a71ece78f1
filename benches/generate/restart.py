#!/usr/bin/env python3
"""What pages on disk give after a restart: seconds to the first token of a long prompt, by OpenAI's client.

    pip install openai
    python benches/generate/restart.py target/release/picnic MODEL TEXT.txt [--cache f16] [--rounds 3]

Each round starts from an empty folder: a server is asked and ended, started again, asked and killed, and started once
more. Every answer has to be the same, which the script checks. Starting a server with and without
the folder tells what hashing the weights takes.
"""

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import openai

PORT = 8931


def start(command):
    """The server, its client, and the seconds until it answers."""
    began = time.perf_counter()
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{PORT}/v1", api_key="none", timeout=600, max_retries=0)
    while True:
        try:
            client.models.list()
            return server, client, time.perf_counter() - began
        except openai.APIConnectionError:
            if server.poll() is not None:
                raise SystemExit(f"the server ended: {' '.join(command)}") from None
            time.sleep(0.02)


def ask(client, text, tokens=24):
    """The answer, the seconds to its first token, the tokens of the prompt and those that were found."""
    began, first, answer, usage = time.perf_counter(), None, "", None
    stream = client.chat.completions.create(
        model=client.models.list().data[0].id, messages=[{"role": "user", "content": text}], max_tokens=tokens,
        temperature=0, stream=True, stream_options={"include_usage": True})
    for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            first = first or time.perf_counter() - began
            answer += chunk.choices[0].delta.content
        usage = chunk.usage or usage
    return answer, first, usage.prompt_tokens, usage.prompt_tokens_details.cached_tokens


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picnic")
    parser.add_argument("model")
    parser.add_argument("text", type=Path)
    parser.add_argument("--cache", default="f16", choices=["f32", "f16", "q8"])
    parser.add_argument("--characters", type=int, default=6000, help="of the text's beginning")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    text = args.text.read_text()[:args.characters] + "\nWhat is this about?"
    plain = [args.picnic, "serve", args.model, "--port", str(PORT), "--cache", args.cache]
    times = {name: [] for name in ["start", "start with the folder", "first token", "after a restart", "after a kill"]}
    for _ in range(args.rounds):
        with tempfile.TemporaryDirectory() as root:
            folder = Path(root) / "cache"
            kept = [*plain, "--cache-dir", str(folder)]
            server, client, seconds = start(plain)
            times["start"].append(seconds)
            expected = ask(client, text)[0]
            server.terminate()
            server.wait()
            for name, end in [("first token", signal.SIGINT), ("after a restart", signal.SIGKILL), ("after a kill", signal.SIGKILL)]:
                server, client, seconds = start(kept)
                times["start with the folder"].append(seconds)
                answer, first, prompt, found = ask(client, text)
                assert answer == expected, f"{answer!r} in place of {expected!r}"
                times[name].append(first)
                server.send_signal(end)
                server.wait()
            files = list(folder.glob("*.page"))
            megabytes = sum(os.path.getsize(file) for file in files) / 1e6
            shutil.rmtree(folder)
    print(f"prompt of {prompt} tokens, {found} of them found at last; {len(files)} pages, {megabytes:.0f} MB; answers are the same")
    for name, seconds in times.items():
        print(f"{name}: {statistics.median(seconds):.2f} s")


if __name__ == "__main__":
    main()
