#!/usr/bin/env bash
# tests/tools/slurm.sh SOURCE_FOLDER DGQ - the Slurm array job of docs/QUANTIZER.md on a cluster of one node, this machine, set up
# in a temporary folder: its version is that of a single run. Skips where Slurm is missing or may not run.
set -euo pipefail
source=$1 dgq=$2
skip() {
  echo "not covered: Slurm array job ($1)"
  [ -z "${DGQ_NOT_COVERED:-}" ] || echo "Slurm array job ($1)" >> "$DGQ_NOT_COVERED"
  exit 0
}
for tool in munged mungekey slurmctld slurmd sbatch sinfo; do
  PATH=$PATH:/usr/sbin command -v "$tool" > /dev/null || skip "no $tool: install slurm-wlm and munge"
done
[ "$(id -u)" -eq 0 ] || skip "needs root"
export PATH=$(dirname "$dgq"):$PATH:/usr/sbin

dir=$(mktemp -d)
daemons=()
finish() {
  for ((i = ${#daemons[@]} - 1; i >= 0; --i)); do kill "${daemons[i]}" 2>/dev/null && wait "${daemons[i]}" || true; done
  rm -rf "$dir"
}
trap finish EXIT
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])'; }

chmod 755 "$dir"
mkdir -m 700 "$dir/key" "$dir/log" && mkdir -m 755 "$dir/run" "$dir/state" "$dir/spool"
mungekey --create --keyfile "$dir/key/munge.key"
munged --foreground --key-file "$dir/key/munge.key" --socket "$dir/run/munge" --pid-file "$dir/run/munged.pid" \
  --log-file "$dir/log/munged.log" --seed-file "$dir/key/seed" 2> "$dir/munged.err" &
daemons+=($!)
cpus=$(nproc)
cat > "$dir/slurm.conf" <<END
ClusterName=test
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
AuthType=auth/munge
AuthInfo=socket=$dir/run/munge
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/run/slurmctld.pid
SlurmdPidFile=$dir/run/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$cpus State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
export SLURM_CONF=$dir/slurm.conf
for _ in $(seq 50); do [ -S "$dir/run/munge" ] && break; sleep 0.1; done
[ -S "$dir/run/munge" ] || skip "munged does not start: $(tail -1 "$dir/munged.err")"
slurmctld -D > "$dir/slurmctld.log" 2>&1 &
daemons+=($!)
slurmd -D -N "$(hostname -s)" > "$dir/slurmd.log" 2>&1 &
daemons+=($!)
for _ in $(seq 100); do
  [ "$(sinfo --noheader --format %T 2>/dev/null)" = idle ] && break
  sleep 0.2
done
[ "$(sinfo --noheader --format %T 2>/dev/null)" = idle ] ||
  skip "the node does not come up: $(cat "$dir/slurmctld.log" "$dir/slurmd.log" | grep -m1 -iE 'fatal|error' || echo no reason given)"

awk '/^```bash slurm/ {on = 1; next} /^```/ {on = 0} on' "$source/docs/QUANTIZER.md" > "$dir/submit.sh"
[ -s "$dir/submit.sh" ] || { echo "docs/QUANTIZER.md shows no Slurm script"; exit 1; }
cd "$dir"
export MODEL=$source/models/demo WORK=$dir/work NAME=demo DGQ_REGISTRY=$dir/slurm.db OPTIONS="--recipe fast --calibration-tokens 512"
timeout 300 bash -x ./submit.sh || { cat "$dir"/*.log "$dir"/slurm-*.out; exit 1; }
cat slurm-*.out
dgq quantize "$MODEL" $OPTIONS --name demo --registry "$dir/single.db" > /dev/null
[ "$(sqlite3 "$dir/slurm.db" 'SELECT hex(digest) FROM version')" = "$(sqlite3 "$dir/single.db" 'SELECT hex(digest) FROM version')" ] ||
  { echo "the version differs from that of a single run"; exit 1; }
echo "an array job made the version of a single run"
