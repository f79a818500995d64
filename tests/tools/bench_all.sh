#!/usr/bin/env bash
# tests/tools/bench_all.sh SOURCE REGISTRY DGQ - tools/bench-all leaves a file that another registry takes in and a page shows, whatever
# step fails, and goes on where it was killed; and dgq bench agent measures an agent of its own for the model `demo` of REGISTRY.
set -euo pipefail
source=$1 demo=$2 dgq=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
# A command whose registry benchmark and counts of instructions fail, whose models are tiny, and which kills its parent where `kill` says.
cat > dgq <<EOF
#!/bin/sh
echo "\$*" >> asked
if [ -f kill ] && [ "\$1 \$2" = "\$(cat kill)" ]; then rm kill; kill \$PPID; exit 1; fi
case "\$1 \$2" in
  "bench registry") echo "no such luck" >&2; exit 6 ;;
  "bench kernels") [ "\$3" != --instructions ] || exit 5
    for registry; do :; done
    exec "$dgq" bench kernels --n 64 --k 64 --m 1,4 --min-time 0.001 --repetitions 2 --cold-mib 4 --registry "\$registry" ;;
  "bench model") shift 4; exec "$dgq" bench model --shape "$source/models/demo/config.json" --cold-mib 4 "\$@" ;;
  "quantize --synthetic") shift 3; exec "$dgq" quantize --synthetic "$source/models/demo/config.json" "\$@" ;;
esac
exec "$dgq" "\$@"
EOF
chmod +x dgq
echo "bench registry" > kill
code=0; "$source/tools/bench-all" --dgq ./dgq --quick -o out.dgqr > log 2>&1 || code=$?
[ $code = 130 ] && grep -q "interrupted" log && [ ! -e out.dgqr ] || { echo "exit code $code"; cat log; exit 1; }
: > asked
"$source/tools/bench-all" --dgq ./dgq --quick -o out.dgqr > log 2>&1 || { cat log; exit 1; }
grep -q "^3 of 5 steps done" log && grep -q "^left out: dgq bench registry " log && grep -q "^send out.dgqr" log || { cat log; exit 1; }
if grep -q "^bench model" asked; then echo "bench-all measured a model that was done"; exit 1; fi
[ ! -e out.dgqr.work ] || { echo "bench-all left its folder"; exit 1; }
"$dgq" registry init --registry other.db
"$dgq" registry import out.dgqr --registry other.db | grep -q "3 runs of dgq bench; 3 were new"
"$dgq" report --registry other.db -o page.html | grep -q "^3 runs"
for section in "Tokens per second" Rooflines Agent; do grep -q "<h2>$section" page.html; done
if "$source/tools/bench-all" --nonsense 2>/dev/null; then echo "bench-all took --nonsense"; exit 1; fi

cp "$demo" demo.db
"$dgq" bench agent --registry demo.db --model demo --streams 1,2 --prompt 8 --gen 4 --repetitions 2 --json > agent.json
for test in throughput ttft inter_token; do grep -q "\"$test\"" agent.json; done
{ "$dgq" bench agent --registry demo.db --model nosuch 2>&1 || true; } | grep -q "the agent did not start: .*nosuch"
