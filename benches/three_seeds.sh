#!/usr/bin/env bash
# A recipe with three seeds, and the median of what each stage gave: one seed is an anecdote.
#
#   cargo build --release
#   bash benches/three_seeds.sh                                   # recipes/tiny/r1.toml
#   bash benches/three_seeds.sh recipes/tiny/full.toml
#   bash benches/three_seeds.sh recipes/smoke/r1.toml rl.steps=2
#
# Every run is kept in runs/seeds, as tiny-full-0 for example, with its report; a script that was stopped goes on where
# it was. The table needs python3. Not here: other machines' numbers, which are not compared with these.
set -euo pipefail
cd "$(dirname "$0")/.."

recipe=${1:-recipes/tiny/r1.toml}
shift $(($# > 0 ? 1 : 0))
name=$(basename "$(dirname "$recipe")")-$(basename "$recipe" .toml)
picnic="${CARGO_TARGET_DIR:-target}/release/picnic"
[ -x "$picnic" ] || { echo "no $picnic: run cargo build --release first" >&2; exit 1; }
picnic=$(realpath "$picnic")

runs=()
for seed in 0 1 2; do
    out="runs/seeds/$name-$seed"
    echo "seed $seed: $out"
    "$picnic" r1 "$recipe" "$@" "seed=$seed" --out "$out" --resume
    runs+=("$out")
done
(cd runs/seeds && "$picnic" report "${runs[@]#runs/seeds/}")

python3 - "${runs[@]/%//report.json}" <<'TABLE'
import json
import statistics
import sys

reports = [json.load(open(path)) for path in sys.argv[1:]]
print(f"\n{'accuracy, %':24}" + "".join(f"{'seed ' + str(i):>22}" for i in range(len(reports))) + f"{'median':>10}")


def row(label, results):
    cells = [f"{100 * r['accuracy']:.1f} [{100 * r['ci95'][0]:.1f}, {100 * r['ci95'][1]:.1f}]" for r in results]
    median = statistics.median(100 * r["accuracy"] for r in results)
    print(f"{label:24}" + "".join(f"{cell:>22}" for cell in cells) + f"{median:>10.1f}")


for stage in reports[0]["stages"]:
    results = [r["stages"][stage] for r in reports]
    row(stage, results)
    for task in results[0]["by_task"]:
        row("  " + task, [r["by_task"][task] for r in results])
for what, unit in [("seconds", "s"), ("core_hours", "h"), ("peak_rss_mb", "MB")]:
    print(f"{what:24}" + ", ".join(f"{r[what]:.2f} {unit}" for r in reports))
TABLE
