#!/usr/bin/env bash
# Tries nginx.conf on this machine: starts two replicas of `picnic serve nano` and nginx, holds conversations, shows which
# replica answered and how much of each prompt it had read before, ends a replica with kill -9, and goes on.
#
#   deploy/try_nginx.sh [PICNIC]        the program; without it, the one that `cargo build --release` made
#
# It needs nginx and curl. PICNIC_NGINX names the program of nginx where it is not in the path. Everything that is started listens
# on this machine alone and ends with the script.
set -euo pipefail
cd "$(dirname "$0")/.."

picnic=${1:-${CARGO_TARGET_DIR:-target}/release/picnic}
nginx=${PICNIC_NGINX:-nginx}
front=18000
replicas=(18001 18002)
work=$(mktemp -d)
declare -A process

finish() {
    for pid in "${process[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

wait_for() {
    curl --silent --fail --output /dev/null --retry 60 --retry-delay 1 --retry-connrefused "http://127.0.0.1:$1/health"
}

start_replica() {
    "$picnic" serve nano --port "$1" >"$work/$1.log" 2>&1 &
    process[$1]=$!
    wait_for "$1"
}

for port in "${replicas[@]}"; do start_replica "$port"; done

# The file as it is, but for the ports, the place of what nginx writes, and the header that says who answered.
{
    echo "daemon off; pid $work/nginx.pid; error_log $work/error.log;"
    sed -e "s/127\.0\.0\.1:800/127.0.0.1:1800/; s/listen 8000/listen 127.0.0.1:$front/" \
        -e 's/# add_header/add_header/; s/worker_processes auto/worker_processes 1/' \
        -e "s|^http {|http { access_log off; client_body_temp_path $work/body; proxy_temp_path $work/proxy;\
 fastcgi_temp_path $work/f; uwsgi_temp_path $work/u; scgi_temp_path $work/s;|" deploy/nginx.conf
} >"$work/nginx.conf"
"$nginx" -e "$work/error.log" -p "$work" -c "$work/nginx.conf" &
process[$front]=$!
wait_for "$front"

# One turn: asks, shows who answered, and keeps the answer for the next turn. Arguments: the file of the conversation, the
# question, and more for curl.
moved=0
turn() {
    local conversation=$1 question=$2 answer replica cached
    shift 2
    local messages
    messages="$(cat "$conversation" 2>/dev/null || true){\"role\": \"user\", \"content\": \"$question\"}"
    printf '{%s"messages": [%s], "temperature": 0, "max_tokens": 200}' "${extra:-}" "$messages" >"$work/body.json"
    curl --silent --show-error --dump-header "$work/head" --data "@$work/body.json" "$@" \
        "http://127.0.0.1:$front/v1/chat/completions" >"$work/answer"
    replica=$(tr -d '\r' <"$work/head" | sed -n 's/^x-replica: //Ip')
    answer=$(grep -oE '"content": ?"([^"\\]|\\.)*"' "$work/answer" | head -1) || { cat "$work/head" "$work/answer"; exit 1; }
    cached=$(grep -oE '"cached_tokens": ?[0-9]+' "$work/answer" | grep -oE '[0-9]+')
    printf '%s, {"role": "assistant", %s}, ' "$messages" "$answer" >"$conversation"
    printf '  %-19s %-18s %3d tokens were read before, by %s\n' "${question:0:18}" "${answer:0:34}" "$cached" "$replica"
    [ -z "${expected:-}" ] || [ "$expected" = "$replica" ] || moved=$((moved + 1))
    last=$replica
    read_before=$cached
}

echo "Each conversation by a name in a header, in the body, and by nothing but how it begins; three turns each:"
lost=0
for n in 1 2 3 4 5 6; do
    extra='' header=()
    case $((n % 3)) in
        0) header=(--header "x-session-affinity: conversation-$n") ;;
        1) extra="\"prompt_cache_key\": \"conversation-$n\", " ;;
    esac
    expected=''
    for question in "What is $n+9? Please tell me what it is, since I want to know it, and I will ask you for more of them." "What is 31$n+46?" "What is 5*$n?"; do
        turn "$work/conversation-$n" "$question" "${header[@]}"
        [ -z "$expected" ] || [ "$read_before" -gt 0 ] || lost=$((lost + 1))
        expected=$last
    done
    served[$n]=$expected
done
echo "$moved turns went to another replica than the turn before, and $lost later turns had nothing read before."
[ "$moved" = 0 ] && [ "$lost" = 0 ]
[ "$(printf '%s\n' "${served[@]}" | sort -u | wc -l)" = 2 ] || { echo "all conversations went to one replica"; exit 1; }

gone=${served[3]}
echo "kill -9 of ${gone}, which has conversation 3; it goes on:"
kill -9 "${process[${gone##*:}]}"
unset "process[${gone##*:}]"
expected='' extra=''
turn "$work/conversation-3" "What is 8+8?" --header "x-session-affinity: conversation-3"
case $last in *"$gone") echo "the dead replica cannot have answered"; exit 1 ;; esac
turn "$work/conversation-3" "What is 9+9?" --header "x-session-affinity: conversation-3"
[ "$read_before" -gt 0 ]

echo "It comes back, and with it the conversation, once nginx asks it again:"
start_replica "${gone##*:}"
sleep 11
turn "$work/conversation-3" "What is 7+7?" --header "x-session-affinity: conversation-3"
[ "$last" = "$gone" ]
echo "all as it should be"
