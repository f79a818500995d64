#!/usr/bin/env bash
# tests/tools/report_page.sh SOURCE MODULES -- DGQ COMMAND WORDS
# A page of dgq report in headless Chromium: no console errors, no request, labelled axes, nothing that axe-core calls serious. Skipped
# where Chromium, node or the packages of tests/tools/browser/package.json (in MODULES or $DGQ_BROWSER_MODULES) are not there.
set -euo pipefail
source=$1 modules=${DGQ_BROWSER_MODULES:-$2}; shift 3
chromium=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
if [ -z "$chromium" ] || ! command -v node >/dev/null || [ ! -d "$modules/playwright-core" ] || [ ! -d "$modules/axe-core" ]; then
  echo "not covered: dgq report in a browser (no Chromium, or no playwright-core and axe-core in $modules)"
  [ -z "${DGQ_NOT_COVERED:-}" ] || echo "dgq report in a browser: no Chromium, playwright-core or axe-core" >> "$DGQ_NOT_COVERED"
  exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export DGQ_REGISTRY=$work/runs.db
"$@" registry init
"$@" bench kernels --shape "$source/models/demo/config.json" --m 1,16 --threads 1 --min-time 0.001 --repetitions 2 --cold-mib 4 >/dev/null
"$@" bench model --shape "$source/models/demo/config.json" --prompt 16 --gen 4 --threads 1,2 --repetitions 4 --cold-mib 4 >/dev/null
# Twenty runs: these two, of ten machines.
for run in $("$@" bench runs --json | sed -n 's/.*"run": "\(.*\)".*/\1/p'); do
  "$@" bench show "$run" --output json > "$work/run.json"
  for machine in 1 2 3 4 5 6 7 8 9 10; do
    sed "s/\"cpu\": \"/&Machine $machine, /" "$work/run.json" > "$work/$run-$machine.json"
  done
done
"$@" report "$work"/*-*.json -o "$work/report.html" | grep -q "^20 runs"
NODE_PATH=$modules node "$source/tests/tools/browser/page_check.cjs" "$chromium" "$work/report.html"
