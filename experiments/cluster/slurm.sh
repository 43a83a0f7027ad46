#!/usr/bin/env bash
# A real Slurm on this machine, of Debian's packages (slurm-wlm, munge), in a folder of its own: runs a small sweep as an
# array of four shards and as one process, and compares the tables byte by byte. Everything ends with the script.
# Usage: experiments/cluster/slurm.sh     (exit code 0: equal, 77: no Slurm runs here)
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
for program in munged slurmctld slurmd sbatch; do
  if ! command -v "$program" >/dev/null && [ ! -x "/usr/sbin/$program" ]; then
    echo "slurm.sh: no $program (Debian: apt-get install slurm-wlm munge)" >&2
    exit 77
  fi
done
PATH=$PATH:/usr/sbin
work=$(mktemp -d)
daemons=()
finish() {
  if [ "${#daemons[@]}" -gt 0 ]; then kill "${daemons[@]}" 2>/dev/null || true; wait "${daemons[@]}" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap finish EXIT

host=$(hostname -s)
cpus=$(nproc)
memory=$(($(awk '/MemTotal/ {print $2}' /proc/meminfo) / 1024 * 9 / 10))
mkdir -p "$work/state" "$work/spool"
dd if=/dev/urandom of="$work/munge.key" bs=128 count=1 status=none
chmod 600 "$work/munge.key"
cat >"$work/slurm.conf" <<CONF
ClusterName=onefet
SlurmctldHost=$host(127.0.0.1)
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$work/munge.socket
CryptoType=crypto/munge
SlurmctldPort=16817
SlurmdPort=16818
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MailProg=/bin/true
ReturnToService=2
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
echo 'CgroupPlugin=cgroup/v1' >"$work/cgroup.conf"
export SLURM_CONF=$work/slurm.conf

munged --force --foreground --key-file="$work/munge.key" --socket="$work/munge.socket" --pid-file="$work/munge.pid" \
  --log-file="$work/munge.log" --seed-file="$work/munge.seed" >"$work/munged.out" 2>&1 &
daemons+=($!)
for _ in $(seq 50); do [ -S "$work/munge.socket" ] && break; sleep 0.1; done
slurmctld -D -f "$SLURM_CONF" >/dev/null 2>&1 &
daemons+=($!)
slurmd -D -f "$SLURM_CONF" -N "$host" >/dev/null 2>&1 &
daemons+=($!)
for _ in $(seq 100); do sinfo -h -o %T 2>/dev/null | grep -q idle && break; sleep 0.2; done
if ! sinfo -h -o %T 2>/dev/null | grep -q idle; then
  echo 'slurm.sh: the node does not come up' >&2
  tail -n 20 "$work/slurmctld.log" "$work/slurmd.log" >&2 || true
  echo 'slurm.sh: this machine lets no Slurm run' >&2
  exit 77
fi

cd "$work"
cat >four.yaml <<YAML
schema: onefet.experiment/1
kind: accuracy
name: four
base: { maxWindows: 1, contextTokens: 64, chips: 2 }
grid: { adc.bits: [5, 6, 7, 8] }
reference: { adc.bits: 8 }
YAML
onefet() { node "$root/src/onefet.js" "$@"; }
onefet sweep four.yaml --out array --slurm 4 --threads 1 --no-report
# A cache of its own: nothing of the array is used.
mkdir alone && cd alone
onefet sweep ../four.yaml --out runs --threads 1 --no-report >/dev/null
cd ..
for file in results.csv results.jsonl; do cmp array/sweep-four-*/"$file" alone/runs/sweep-four-*/"$file"; done
ls array/sweep-four-*/slurm
echo 'slurm.sh: four shards on Slurm and one process made the same tables'
