#!/usr/bin/env bash
# Draws the pictures of the display again, from the record of a real run on two busy cores:
#
#   picnic r1 recipes/tiny/r1.toml pretrain.steps=240 sft.steps=160 rl.steps=12 rl.checkpoint_every=4 --json
#
# It is a fifth of the recipe, so its model gets almost nothing right.
set -euo pipefail
cd "$(dirname "$0")/../.."
for size in 100x18 60x24; do
    cargo run --release -q -p picnic-display --example picture -- \
        docs/pictures/tiny.jsonl rl 11 "${size%x*}" "${size#*x}" > "docs/pictures/run-${size%x*}.svg"
done
