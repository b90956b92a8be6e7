#!/usr/bin/env bash
# The job that slurm_gpu.sh submits: a command of jaxrl-entropy, one process per
# task. A run that was told to stop, or lost a process, is queued again.
#
#   sbatch [flags] launch/slurm_job.sh COMMAND ...
set -uo pipefail
# SLURM runs a copy of this file, in the folder where the job was submitted.
# shellcheck source=launch/cloud.sh
. launch/cloud.sh

if [ -n "${SETUP-}" ]; then
  srun --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 bash -ec "$SETUP" || {
    echo "SETUP failed on a node; the command was not started" >&2
    exit 2
  }
fi
# A process that fails by itself notes its status: the others lose it and give
# another, and srun reports the largest. Above 128 a signal ended it.
logs=${LOGS:-runs/logs}
failures=$logs/$SLURM_JOB_ID.failures
mkdir -p "$logs"
rm -f "$failures"
# shellcheck disable=SC2016
task='trap : TERM
"${@:2}"
status=$?
[ "$status" -eq 0 ] || [ "$status" -eq "$1" ] || [ "$status" -gt 128 ] ||
  echo "$status" >>"$0"
exit "$status"'
# Processes that stop do so within moments, and none may be killed meanwhile;
# those that lost one of theirs get two minutes to say so.
srun --kill-on-bad-exit=0 --wait=120 bash -c "$task" "$failures" "$RESTART" \
  .venv/bin/jaxrl-entropy "$@"
status=$?
if [ -s "$failures" ]; then
  status=$(sort --numeric-sort "$failures" | tail -n 1)
  rm -f "$failures"
elif [ "$status" -eq "$RESTART" ] || [ "$status" -gt 128 ]; then
  if [ "${SLURM_RESTART_COUNT:-0}" -lt "${RESTARTS:-100}" ]; then
    scontrol requeue "$SLURM_JOB_ID"
  else
    echo "stopped with status $status after $SLURM_RESTART_COUNT restarts" >&2
  fi
fi
exit "$status"
