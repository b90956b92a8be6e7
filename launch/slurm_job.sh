#!/usr/bin/env bash
# The job that slurm_gpu.sh submits: a command of jaxrl-entropy, one process a
# task. A run that was told to stop is queued again.
#
#   sbatch [flags] launch/slurm_job.sh COMMAND ...
set -uo pipefail
# SLURM runs a copy of this file, in the folder where the job was submitted.
# shellcheck source=launch/cloud.sh
. launch/cloud.sh

# Processes that stop do so within moments, and none may be killed meanwhile;
# those that lost one of theirs get two minutes to say so.
srun --kill-on-bad-exit=0 --wait=120 .venv/bin/jaxrl-entropy "$@"
status=$?
[ "$status" -ne "$RESTART" ] || scontrol requeue "$SLURM_JOB_ID"
exit "$status"
