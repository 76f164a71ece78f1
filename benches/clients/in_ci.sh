#!/usr/bin/env bash
# The clients that CI tries, each unmodified, against the model that sentence_model.py makes: the Python packages `openai` and
# `anthropic`, a task with tools by Codex, Claude Code and opencode, and schemathesis. About two minutes on two cores.
#
#   benches/clients/in_ci.sh [PICNIC]        the program; without it, the one that `cargo build --release` made
#
# What cannot be had, because there is no network or no npm, or because it does not start, is skipped with a line that says so.
# What runs and fails is a failure. Versions are fixed, so that nothing but a change here changes the result. Everything that is
# installed or started is gone when the script ends.
set -euo pipefail
cd "$(dirname "$0")/../.."

picnic=$(realpath "${1:-${CARGO_TARGET_DIR:-target}/release/picnic}")
clients=(openai==3.57.0 anthropic==2.14.0)
schemathesis=schemathesis==4.32.5
agents=(@openai/codex@0.171.0 @anthropic-ai/claude-code@2.1.197 opencode-ai@1.18.33)

work=$(mktemp -d)
finish() {
    # shellcheck disable=SC2046
    kill $(jobs -p) 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$work" || true
}
trap finish EXIT
trap 'exit 1' INT TERM

step() { printf -- '-- %s (%d s)\n' "$*" "$SECONDS"; }
skip() { printf 'SKIPPED: %s cannot be had here\n' "$*"; }

have_venv() { python3 -m venv "$work/venv"; } >"$work/venv.log" 2>&1
python="$work/venv/bin/python"
pip() { timeout 120 "$python" -m pip install --quiet --no-compile --disable-pip-version-check --retries 1 "$@"; }
npm_install() {
    timeout 90 npm install --prefix "$work/agents" --no-audit --no-fund --ignore-scripts --loglevel error --fetch-retries 1 "$1"
}

if ! have_venv; then
    skip "Python with venv, and so every client,"
    exit 0
fi

# Agents are large, so they are fetched while pip works.
step "installing"
{
    mkdir "$work/agents"
    for agent in "${agents[@]}"; do npm_install "$agent" || true; done
} >"$work/npm.log" 2>&1 &
npm=$!
has_clients=1 has_schemathesis=1
pip "${clients[@]}" || has_clients=
pip "$schemathesis" || has_schemathesis=
wait "$npm" || true
grep . "$work/npm.log" || true

step "a model that says one sentence"
"$python" benches/clients/sentence_model.py "$picnic" "$work/sentence"
port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
url=http://127.0.0.1:$port
"$picnic" serve "$work/sentence" --port "$port" >"$work/serve.log" 2>&1 &
server=$!
for _ in $(seq 100); do
    "$python" -c "import urllib.request; urllib.request.urlopen('$url/v1/health/ready', timeout=5)" 2>/dev/null && break
    kill -0 "$server" || { cat "$work/serve.log"; exit 1; }
    sleep 0.2
done

failed=()
# Runs a command for so many seconds at most: try SECONDS WHAT COMMAND…
try() {
    local limit=$1 what=$2
    shift 2
    step "$what"
    if timeout --kill-after=10 "$limit" "$@" >"$work/log" 2>&1; then
        grep -E '^(ok|SKIPPED|[0-9]+ of)|generated' "$work/log" || true
    else
        failed+=("$what")
        tail -n 200 "$work/log" | cut -c1-1000
    fi
}

if [ "$has_clients" ]; then
    try 120 "Python clients" "$python" benches/clients/python_clients.py "$url" --without langchain
else
    skip "the Python packages ${clients[*]}"
fi
try 200 "agents, a task with tools" "$python" benches/clients/coding_agents.py "$url" "$work/agents" --task --timeout 60 \
    --only codex --only claude-whole --only opencode
if [ "$has_schemathesis" ]; then
    # Twelve requests at most for each of 25 operations, of which some can be asked in few ways: 201 altogether.
    SCHEMATHESIS="$work/venv/bin/schemathesis" PICNIC_MODEL=sentence PHASES=fuzzing SEED=13 TMPDIR="$work" \
        try 120 "schemathesis" benches/clients/schemathesis.sh "$url" 12
else
    skip "$schemathesis"
fi

kill -0 "$server" || { echo "the server has ended:"; cat "$work/serve.log"; exit 1; }
if [ ${#failed[@]} -gt 0 ]; then
    printf 'FAILED: %s\n' "${failed[@]}"
    exit 1
fi
step "no client failed"
