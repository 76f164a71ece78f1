#!/usr/bin/env python3
"""Starts coding agents against a running server, one prompt each, and shows what they ask and whether they accept the answers.

    mkdir -p /tmp/agents && cd /tmp/agents && npm i @openai/codex @anthropic-ai/claude-code opencode-ai
    picnic serve MODEL-FOLDER --port 8204
    python benches/clients/coding_agents.py http://127.0.0.1:8204 /tmp/agents [--only codex] [--tool] [--prompt TEXT] [--keep FOLDER]

Each agent has a throwaway home folder with nothing but its configuration for this server, and talks through proxy.py, so that
every request can be read afterwards. None needs its vendor's network. Their prompts have 10,000 to 25,000 tokens: the model
must have such a context, or what is tried is how the agent takes the refusal. A small model calls no tool by itself: with
`--tool` the proxy sets `tool_choice` so that the first answer calls one, and the agent has to run it and to send its result; the
agents themselves and the server are not changed. The exit code is 1 if an agent did not end with
an answer from the server.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import proxy


def binary(installed, package, name):
    """The program itself, without the script in front of it, which npm does not always link."""
    folder = installed / "node_modules" / package
    found = [path for path in folder.rglob(name) if path.is_file() and os.access(path, os.X_OK) and path.stat().st_size > 1_000_000]
    return found[0] if found else None


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
                                "models": {model: {"name": model, "limit": {"context": 40000, "output": 64}}}}}}))
    return ["run", "-m", f"picnic/{model}", "--print-logs"], {"OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_LSP_DOWNLOAD": "1"}


# Where npm puts each agent, how it is set up, and a tool of its own that can do no harm whatever the arguments are.
AGENTS = {
    "codex": ("@openai", "codex", codex, "get_goal"),
    "claude": ("@anthropic-ai", "claude", claude, "Read"),
    "claude-whole": ("@anthropic-ai", "claude", claude_whole, "Read"),
    "claude-default-name": ("@anthropic-ai", "claude", claude_default_name, "Read"),
    "opencode": (".", "opencode", opencode, "read"),
}


def force(tool):
    """A change of requests: the first one with this tool must call it; those after it must not call any."""
    called = []

    def change(path, raw):
        if b'"tools"' not in raw:
            return raw
        body = json.loads(raw)
        if tool not in [entry.get("name") or entry.get("function", {}).get("name") for entry in body.get("tools") or []]:
            return raw
        if "/messages" in path:
            body["tool_choice"] = {"type": "none"} if called else {"type": "tool", "name": tool, "disable_parallel_tool_use": True}
        elif "/responses" in path:
            body["tool_choice"] = "none" if called else {"type": "function", "name": tool}
            body["parallel_tool_calls"] = False
        else:
            body["tool_choice"] = "none" if called else {"type": "function", "function": {"name": tool}}
            body["parallel_tool_calls"] = False
        called.append(tool)
        return json.dumps(body).encode()

    return change


def call_and_result(records, tool):
    """Whether a call of the tool was answered, and a later request brought its result."""
    made = any(tool in record["answer"] and any(mark in record["answer"] for mark in ('"tool_use"', '"function_call"', '"tool_calls"')) for record in records)
    sent = json.dumps([record["body"] for record in records])
    return made, any(mark in sent for mark in ('"tool_result"', '"function_call_output"', '"role": "tool"'))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="the server, without /v1")
    parser.add_argument("installed", type=Path, help="the folder in which npm installed the agents")
    parser.add_argument("--only", action="append", choices=list(AGENTS))
    parser.add_argument("--prompt", default="say hi")
    parser.add_argument("--tool", action="store_true", help="the proxy makes the first answer a call of a harmless tool of the agent's")
    parser.add_argument("--model", help="the model's name; by default the first of the list")
    parser.add_argument("--timeout", type=int, default=180)
    parser.add_argument("--keep", type=Path, help="keep the exchanges in this folder")
    args = parser.parse_args()
    url = args.url.rstrip("/")
    model = args.model or json.load(urllib.request.urlopen(url + "/v1/models", timeout=10))["data"][0]["id"]
    failed = 0
    for name in args.only or AGENTS:
        scope, file, configure, tool = AGENTS[name]
        program = binary(args.installed.resolve(), scope, file)
        if not program:
            print(f"missing {name}: it is not installed in {args.installed}")
            continue
        with tempfile.TemporaryDirectory() as place:
            home, logs = Path(place) / "home", (args.keep or Path(place)) / name
            (home / "work").mkdir(parents=True)
            with socket.socket() as one:
                one.bind(("127.0.0.1", 0))
                port = one.getsockname()[1]
            print(f"--- {name}", flush=True)
            for old in logs.glob("*.json"):
                old.unlink()
            between = proxy.start(port, url, logs, limit=400_000, change=force(tool) if args.tool else None)
            words, more = configure(home, f"http://127.0.0.1:{port}", model)
            environment = {"HOME": str(home), "PATH": os.environ["PATH"], "TMPDIR": str(home), "TERM": "dumb", "NO_COLOR": "1", **more}
            start = time.time()
            try:
                done = subprocess.run([str(program), *words, args.prompt], env=environment, cwd=home / "work", stdin=subprocess.DEVNULL,
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
            if args.tool:
                made, brought = call_and_result(records, tool)
                print(f"    a call of {tool} {'came' if made else 'did not come'}, its result {'was sent back' if brought else 'was not sent back'}")
                good = good and made and brought
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
