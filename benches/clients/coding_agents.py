#!/usr/bin/env python3
"""Starts coding agents against a running server, one prompt each, and shows what they ask and whether they accept the answers.

    mkdir -p /tmp/agents && cd /tmp/agents && npm i @openai/codex @anthropic-ai/claude-code opencode-ai
    picnic serve MODEL-FOLDER --port 8204
    python benches/clients/coding_agents.py http://127.0.0.1:8204 /tmp/agents [--only codex] [--task] [--prompt TEXT] [--keep FOLDER]

Each agent has a throwaway home folder with nothing but its configuration for this server, and talks through proxy.py, so that
every request can be read afterwards; its way to anywhere else is a proxy that is not there. Their prompts have 10,000 to
25,000 tokens: the model must have such a context (sentence_model.py makes one), or what is tried is how the agent takes the
refusal. A small model calls no tool by itself: with `--task` the proxy narrows each request so that the answer can only be
the next step of a task (`Task` below), and what the agent has done is looked at in the end. The agents and the server are not
changed. An agent that is not there or does not start is skipped; the exit code is 1 if another one did not end with an answer
from the server.
"""

import argparse
import hashlib
import json
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import proxy


# No agent needs its vendor: the way to whatever is not on this machine is a proxy that is not there.
ALONE = {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1,localhost"}
ALONE |= {name.lower(): value for name, value in ALONE.items()}


def binary(installed, package, name):
    """The program itself, without the script in front of it, which npm does not always link, if one starts."""
    folder = installed / "node_modules" / package
    found = [path for path in folder.rglob(name) if path.is_file() and os.access(path, os.X_OK) and path.stat().st_size > 1_000_000]
    return next(filter(starts, found), None)


def starts(program):
    """Whether a program runs on this machine at all; npm installs some for several kinds of processors."""
    with tempfile.TemporaryDirectory() as home:
        try:
            return subprocess.run([str(program), "--version"], env={"HOME": home, "PATH": os.environ["PATH"], **ALONE}, stdin=subprocess.DEVNULL,
                                  capture_output=True, timeout=60).returncode == 0
        except (OSError, subprocess.TimeoutExpired):
            return False


def codex(home, url, model):
    (home / ".codex").mkdir()
    (home / ".codex" / "config.toml").write_text(
        f'model = "{model}"\nmodel_provider = "picnic"\nmodel_context_window = 40000\n\n[model_providers.picnic]\nname = "Picnic"\n'
        f'base_url = "{url}/v1"\nwire_api = "responses"\nrequest_max_retries = 0\nstream_max_retries = 0\nstream_idle_timeout_ms = 300000\n')
    return ["exec", "--skip-git-repo-check", "--sandbox", "read-only"], {}


def claude(home, url, model):
    return ["--bare", "-p"], {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "none", "ANTHROPIC_MODEL": model, "ANTHROPIC_SMALL_FAST_MODEL": model,
                    "ANTHROPIC_DEFAULT_HAIKU_MODEL": model, "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1",
                    "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "400"}


def claude_whole(home, url, model):
    """The same with the full prompt and all tools."""
    words, environment = claude(home, url, model)
    return ["-p"], environment


def claude_default_name(home, url, model):
    """The same without a model's name, so that it asks for one of its vendor's."""
    words, environment = claude(home, url, model)
    return words, {name: value for name, value in environment.items() if "MODEL" not in name}


def opencode(home, url, model):
    folder = home / ".config" / "opencode"
    folder.mkdir(parents=True)
    (folder / "opencode.json").write_text(json.dumps({
        "model": f"picnic/{model}", "small_model": f"picnic/{model}", "autoupdate": False, "share": "disabled",
        "provider": {"picnic": {"npm": "@ai-sdk/openai-compatible", "name": "Picnic", "options": {"baseURL": url + "/v1", "apiKey": "none"},
                                "models": {model: {"name": model, "limit": {"context": 40000, "output": 400}}}}}}))
    return ["run", "-m", f"picnic/{model}", "--print-logs"], {"OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_LSP_DOWNLOAD": "1"}


# What else an agent has to be told so that it does the task without asking anybody.
ALLOWED = {"claude": ["--allowedTools=Read,Write,Bash"]}


def steps(read, write, run):
    """The task in an agent's own tools: read a file, write what follows from it into another, and look at that."""
    return [read, write, (run[0], {run[1]: "sha256sum answer.txt"})]


def by_command(tool, argument):
    """Writing where an agent has no tool for it."""
    return tool, {argument: "printf %s '{text}' > answer.txt"}


BASH = ("Bash", "command")
READ = ("Read", {"file_path": "{folder}/word.txt"})

# Where npm puts each agent, how it is set up, and the steps of the task.
AGENTS = {
    "codex": ("@openai", "codex", codex,
              steps(("exec_command", {"cmd": "cat word.txt"}), by_command("exec_command", "cmd"), ("exec_command", "cmd"))),
    "claude": ("@anthropic-ai", "claude", claude, steps(READ, by_command(*BASH), BASH)),
    "claude-whole": ("@anthropic-ai", "claude", claude_whole,
                     steps(READ, ("Write", {"file_path": "{folder}/answer.txt", "content": "{text}"}), BASH)),
    "claude-default-name": ("@anthropic-ai", "claude", claude_default_name, steps(READ, by_command(*BASH), BASH)),
    "opencode": (".", "opencode", opencode,
                 steps(("read", {"filePath": "{folder}/word.txt"}), ("write", {"filePath": "{folder}/answer.txt", "content": "{text}"}),
                       ("bash", "command"))),
}


class Task:
    """A task with tools whose every step the proxy makes the only one possible, so that any model does it.

    A request that has brought the results of n calls gets the step n: `tool_choice` names its tool, and the schema of that tool
    is narrowed to the arguments that the script wants, which the server then holds the model to. After the last step no tool may
    be called. The word is drawn anew each time, and the script learns it from what the agent has read: an agent whose results do
    not come back gets no further.
    """

    def __init__(self, folder, steps):
        self.folder, self.steps = folder, steps
        self.word = "".join(random.choices("abcdefghijkmnpqrstuvwxyz", k=12))
        (folder / "word.txt").write_text(f"The word is {self.word}.\n")
        self.brought = []

    def change(self, path, raw):
        """The request as the server gets it."""
        body = json.loads(raw) if b'"tools"' in raw else {}
        named = {entry.get("name") or entry.get("function", {}).get("name"): entry for entry in body.get("tools") or []}
        if any(tool not in named for tool, _ in self.steps):
            return raw
        results = results_of(body)
        self.brought = max(self.brought, results, key=len)
        step = None if len(results) >= len(self.steps) else self.steps[len(results)]
        found = re.search(r"The word is (\w+)\.", results[0]) if results else None
        if step is None or results and not found:
            body["tool_choice"] = {"type": "none"} if "/messages" in path else "none"
            return json.dumps(body).encode()
        tool, arguments = step
        wanted = {name: value.format(folder=self.folder, text=found and answer_to(found[1])) for name, value in arguments.items()}
        schema = {"type": "object", "properties": {name: {"const": value} for name, value in wanted.items()},
                  "required": list(wanted), "additionalProperties": False}
        entry = named[tool]
        if "/messages" in path:
            entry["input_schema"] = schema
            body["tool_choice"] = {"type": "tool", "name": tool, "disable_parallel_tool_use": True}
        else:
            entry.get("function", entry)["parameters"] = schema
            body["tool_choice"] = {"type": "function", "name": tool} if "/responses" in path else {"type": "function", "function": {"name": tool}}
            body["parallel_tool_calls"] = False
        return json.dumps(body).encode()

    def problems(self, said, records):
        """What is wrong once the agent has ended; `said` is what it printed."""
        text = answer_to(self.word)
        digest, written = hashlib.sha256(text.encode()).hexdigest(), self.folder / "answer.txt"
        if len(self.brought) != len(self.steps):
            yield f"{len(self.brought)} results of {len(self.steps)} calls came back: {self.brought}"
        elif digest not in self.brought[-1]:
            yield f"the last result should have {digest}: {self.brought[-1]!r}"
        if not written.exists() or written.read_text() != text:
            yield f"answer.txt should hold {text!r}, but " + (f"holds {written.read_text()!r}" if written.exists() else "is not there")
        last = streamed_text(records[-1]["answer"]) if records else ""
        if not last or last not in said:
            yield f"the last answer is {last!r}, which the agent does not show"


def answer_to(word):
    """What is to be written about the word."""
    return f"{word} backwards is {word[::-1]}"


def results_of(body):
    """The texts of all results of calls that a request of any of the three contracts brings, in their order."""
    def text(content):
        return content if isinstance(content, str) else "".join(part.get("text", "") for part in content or [])

    found = [text(item.get("output")) for item in body.get("input", []) if item.get("type") == "function_call_output"]
    for message in body.get("messages", []):
        if message["role"] == "tool":
            found.append(text(message["content"]))
        elif isinstance(message.get("content"), list):
            found += [text(block.get("content")) for block in message["content"] if block.get("type") == "tool_result"]
    return found


def streamed_text(answer):
    """The text of a streamed answer of any of the three contracts."""
    whole = ""
    for line in answer.splitlines():
        if line.startswith("data: {"):
            event = json.loads(line[6:])
            delta = event.get("delta")
            if event.get("type") == "response.output_text.delta":
                whole += delta
            elif event.get("type") == "content_block_delta":
                whole += delta.get("text", "")
            whole += "".join(choice.get("delta", {}).get("content") or "" for choice in event.get("choices", []))
    return whole


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="the server, without /v1")
    parser.add_argument("installed", type=Path, help="the folder in which npm installed the agents")
    parser.add_argument("--only", action="append", choices=list(AGENTS))
    parser.add_argument("--prompt", help="what the agent is told")
    parser.add_argument("--task", action="store_true", help="the proxy leads the agent through a task with tools")
    parser.add_argument("--model", help="the model's name; by default the first of the list")
    parser.add_argument("--timeout", type=int, default=180)
    parser.add_argument("--keep", type=Path, help="keep the exchanges in this folder")
    args = parser.parse_args()
    url = args.url.rstrip("/")
    prompt = args.prompt or ("Write what word.txt says backwards into answer.txt, and look at that file's checksum." if args.task else "say hi")
    model = args.model or json.load(urllib.request.urlopen(url + "/v1/models", timeout=10))["data"][0]["id"]
    failed = 0
    for name in args.only or AGENTS:
        scope, file, configure, task_steps = AGENTS[name]
        program = binary(args.installed.resolve(), scope, file)
        with tempfile.TemporaryDirectory() as place:
            home, logs = Path(place) / "home", (args.keep or Path(place)) / name
            (home / "work").mkdir(parents=True)
            if not program:
                print(f"SKIPPED: {name} cannot be had here: no program that starts is in {args.installed}", flush=True)
                continue
            task = Task(home / "work", task_steps) if args.task else None
            with socket.socket() as one:
                one.bind(("127.0.0.1", 0))
                port = one.getsockname()[1]
            print(f"--- {name}", flush=True)
            for old in logs.glob("*.json"):
                old.unlink()
            between = proxy.start(port, url, logs, limit=400_000, change=task.change if task else None)
            words, more = configure(home, f"http://127.0.0.1:{port}", model)
            if task:
                # It runs no other commands than the script's.
                words = [{"read-only": "danger-full-access"}.get(word, word) for word in words] + ALLOWED.get(file, [])
            environment = {"HOME": str(home), "PATH": os.environ["PATH"], "TMPDIR": str(home), "TERM": "dumb", "NO_COLOR": "1", **ALONE, **more}
            start = time.time()
            try:
                done = subprocess.run([str(program), *words, prompt], env=environment, cwd=home / "work", stdin=subprocess.DEVNULL,
                                      capture_output=True, text=True, errors="replace", timeout=args.timeout)
                code, out, err = done.returncode, done.stdout, done.stderr
            except subprocess.TimeoutExpired as late:
                code, out, err = "time-out", (late.stdout or b"").decode(errors="replace"), (late.stderr or b"").decode(errors="replace")
            between.shutdown()
            records = [json.loads(path.read_text()) for path in sorted(logs.glob("*.json"))]
            answered = [record for record in records if record["method"] == "POST" and record.get("status") == 200]
            # A small model may talk on until the limit, which Claude Code calls an error after it has understood the answers.
            endless = "output token maximum" in out
            good = (code == 0 or endless) and bool(answered) and bool(out.strip())
            if task:
                wrong = list(task.problems(out, answered))
                for problem in wrong:
                    print(f"    {problem}")
                good = good and not wrong
            failed += not good
            print(f"{'ok' if good else 'FAILED'} {name}: ended with {code} after {time.time() - start:.1f} s, {len(records)} requests")
            for record in records:
                if record.get("status") != 200 or record.get("broken"):
                    print(f"    {record['method']} {record['path']} -> {record.get('status')} {record.get('broken', '')} {record['answer'][:300]}")
            print("    it said: " + " | ".join(out.strip().splitlines()[-8:])[-800:])
            if not good:
                print("    errors: " + " | ".join(err.strip().splitlines()[-12:])[-1600:])
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
