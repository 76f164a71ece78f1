#!/usr/bin/env bash
# Sends generated requests, right and wrong ones, to a running server and holds its answers to its own OpenAPI document.
#
#   pip install schemathesis          # 4.32 when this was written
#   picnic serve nano --port 8301 &
#   benches/clients/schemathesis.sh http://127.0.0.1:8301 [MAX_EXAMPLES [SECONDS]]
#
# MAX_EXAMPLES is for each operation and phase; SECONDS bounds the whole, which is then filled. `PHASES` chooses among
# examples, coverage and fuzzing, and `SEED` makes a run that can be had again. A status of 500 or above fails, but
# for 503 with `retry-after` (schemathesis_hooks.py). `SCHEMATHESIS` names the program if it is not on the path.
set -euo pipefail
url=${1:?the address of a server, such as http://127.0.0.1:8301}
examples=${2:-20}
seconds=${3:-}
here=$(cd "$(dirname "$0")" && pwd)
export SCHEMATHESIS_HOOKS="$here/schemathesis_hooks.py"
# It keeps what failed in the folder that it runs in and tries that first in the next run.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
# Other prefixes lead to the same handlers. One worker, as CPython's parser, which Hypothesis calls, is not safe in threads
# before 3.12 ("AST constructor recursion depth mismatch").
"${SCHEMATHESIS:-schemathesis}" run "$url/openapi.json" --url "$url" \
    --max-examples "$examples" ${seconds:+--max-time "$seconds"} --workers 1 --request-timeout 60 \
    --phases "${PHASES:-examples,coverage,fuzzing}" ${SEED:+--seed "$SEED"} \
    --continue-on-failure --no-shrink --suppress-health-check all --no-color \
    --generation-database none --report-dir "${TMPDIR:-/tmp}/schemathesis" \
    --exclude-path-regex '^/(beta|openai/v1|chat|completions|responses|embeddings|models|tokenize|detokenize|infill|metrics|version)' \
    --checks status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance,negative_data_rejection,unsupported_method,allow_header_conformance,answers_or_says_when
