#!/usr/bin/env bash
# tests/tools/bench_all.sh SOURCE REGISTRY DGQ - tools/bench-all leaves a file that another registry takes in, whatever step fails; and
# dgq bench agent measures an agent of its own for the model `demo` of REGISTRY.
set -euo pipefail
source=$1 demo=$2 dgq=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
# A command whose kernels and registry benchmarks fail, and whose models are tiny.
cat > dgq <<EOF
#!/bin/sh
[ "\$1 \$2" != "bench kernels" ] && [ "\$1 \$2" != "bench registry" ] || { echo "no such luck" >&2; exit 6; }
[ "\$1 \$2" != "bench model" ] || { shift 4; exec "$dgq" bench model --shape "$source/models/demo/config.json" --cold-mib 4 "\$@"; }
exec "$dgq" "\$@"
EOF
chmod +x dgq
"$source/tools/bench-all" --dgq ./dgq --quick -o out.dgqr > log 2>&1 || { cat log; exit 1; }
grep -q "1 of 3 steps done; send out.dgqr" log || { cat log; exit 1; }
"$dgq" registry init --registry other.db
"$dgq" registry import out.dgqr --registry other.db | grep -q "1 run of dgq bench; 1 were new"
if "$source/tools/bench-all" --nonsense 2>/dev/null; then echo "bench-all took --nonsense"; exit 1; fi

cp "$demo" demo.db
"$dgq" bench agent --registry demo.db --model demo --streams 1,2 --prompt 8 --gen 4 --repetitions 2 --json > agent.json
for test in throughput ttft inter_token; do grep -q "\"$test\"" agent.json; done
{ "$dgq" bench agent --registry demo.db --model nosuch 2>&1 || true; } | grep -q "the agent did not start: .*nosuch"
