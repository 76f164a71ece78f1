#!/usr/bin/env python3
"""What the server costs beside the engine that it stands before: the same prompts by `picnic serve` and by `picnic bench generate`.

    python benches/serve/overhead.py target/release/picnic MODEL [--readers 32] [--tokens 128] [--rounds 3] [-- --weights q8]

Every reader has a prompt of its own of 64 tokens and writes exactly TOKENS, as a stream of `/v1/completions`. A figure is tokens
written over the time from the first request to the last token; the engine's is made of the two rates that `bench generate`
prints. Both are measured in turns; the table has medians, and the median of a round's ratios. The clients of this script work on
the same cores; what share of them they took is told beside it, and is no cost of the server's. What stands after `--` goes to both.
"""

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import threading
import time

PROMPT = 64
GUESSES = 8  # tokens that `picnic serve` has guessed ahead at most, and so has the engine here


def engine(program, model, readers, tokens, more):
    command = [program, "bench", "generate", model, "--prompt", str(PROMPT), "--tokens", str(tokens), "--readers",
               str(readers), "--rounds", "1", "--guesses", str(GUESSES), "--json", *more]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    seconds = (readers * PROMPT / found["prefill_tokens_per_second"]
               + readers * (tokens - 1) / found["decode_tokens_per_second"])
    return readers * tokens / seconds


class Server:
    def __init__(self, program, model, more):
        command = [program, "serve", model, "--port", "0", *more]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.port = int(self.process.stdout.readline().rstrip().removesuffix("/v1").rsplit(":", 1)[1])
        self.turn = 0
        self.clients = []

    def measure(self, readers, tokens):
        self.turn += 1
        written = [0] * readers

        def read(row):
            # No prompt has been read before, so that nothing of it is in the cache.
            ids = [(row * 7919 + at * 104729 + self.turn * 15485863) % 30000 + 1000 for at in range(PROMPT)]
            body = {"prompt": ids, "max_tokens": tokens, "stream": True, "temperature": 0,
                    "logit_bias": {str(end): -100 for end in range(17)}}
            client = http.client.HTTPConnection("127.0.0.1", self.port)
            client.request("POST", "/v1/completions", json.dumps(body), {"content-type": "application/json"})
            answer = client.getresponse()
            assert answer.status == 200, answer.read()
            for line in answer:
                if line.startswith(b"data: {"):
                    written[row] += 1
            client.close()

        threads = [threading.Thread(target=read, args=(row,)) for row in range(readers)]
        start, worked = time.perf_counter(), time.process_time()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - start
        self.clients.append((time.process_time() - worked) / seconds / os.cpu_count())
        # Half of a character is no event of its own, so that there may be fewer of these than tokens.
        assert sum(written) > readers * tokens / 2, written
        return readers * tokens / seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picnic")
    parser.add_argument("model")
    parser.add_argument("--readers", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = sys.argv[1:]
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    args, more = parser.parse_args(arguments[:cut]), arguments[cut + 1:]
    server = Server(args.picnic, args.model, more)
    alone, served = [], []
    try:
        server.measure(2, 8)
        for round_ in range(args.rounds):
            alone.append(engine(args.picnic, args.model, args.readers, args.tokens, more))
            served.append(server.measure(args.readers, args.tokens))
            print(f"round {round_ + 1} of {args.rounds}", file=sys.stderr, flush=True)
    finally:
        server.process.terminate()
    ratio = statistics.median(one / other for one, other in zip(served, alone))
    print(f"| {args.readers} readers × {args.tokens} tokens | tokens/s |\n|---|---|")
    print(f"| the engine | {statistics.median(alone):.0f} |\n| the server | {statistics.median(served):.0f} |")
    print(f"the server has {100 * ratio:.1f} % of the engine's tokens/s; of each round: "
          + ", ".join(f"{100 * one / other:.1f}" for one, other in zip(served, alone)))
    print(f"the clients took {100 * statistics.median(server.clients[1:]):.1f} % of all cores meanwhile")


if __name__ == "__main__":
    main()
