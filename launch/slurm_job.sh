#!/usr/bin/env bash
# The job that slurm_gpu.sh submits: a command of jaxrl-entropy, one process a
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
# Processes that stop do so within moments, and none may be killed meanwhile;
# those that lost one of theirs get two minutes to say so.
srun --kill-on-bad-exit=0 --wait=120 .venv/bin/jaxrl-entropy "$@"
status=$?
# Of its processes srun reports the largest status; above 128 it is a signal.
if [ "$status" -eq "$RESTART" ] || [ "$status" -gt 128 ]; then
  if [ "${SLURM_RESTART_COUNT:-0}" -lt "${RESTARTS:-100}" ]; then
    scontrol requeue "$SLURM_JOB_ID"
  else
    echo "stopped with status $status after $SLURM_RESTART_COUNT restarts" >&2
  fi
fi
exit "$status"
