#!/usr/bin/env bash
# The pictures of a report that the README shows: the top of the page, 1280 and 390 pixels wide.
#
#   docs/pictures/report.sh runs/tiny/report.html
#
# Needs Chromium (`chromium`, or the program that CHROMIUM names).
set -euo pipefail

if [ $# -ne 1 ] || [ ! -f "$1" ]; then
    echo "usage: $0 runs/NAME/report.html" >&2
    exit 2
fi
page=$(realpath "$1")
pictures=$(cd "$(dirname "$0")" && pwd)
chromium=${CHROMIUM:-chromium}
if ! command -v "$chromium" >/dev/null; then
    echo "$0: there is no program $chromium; install Chromium, or name yours by CHROMIUM=" >&2
    exit 1
fi

# A window of the width and height of the picture; a profile of its own leaves that of the user alone.
profile=$(mktemp -d)
trap 'rm -rf "$profile"' EXIT
shoot() {
    "$chromium" --headless=new --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$profile" \
        --force-device-scale-factor=1 --window-size="$1,$2" --screenshot="$pictures/report-$1.png" "file://$page" \
        >/dev/null 2>&1
    [ -s "$pictures/report-$1.png" ] || { echo "$0: $chromium wrote no picture" >&2; exit 1; }
    echo "$pictures/report-$1.png"
}
shoot 1280 960
shoot 390 1300
