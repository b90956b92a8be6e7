#!/usr/bin/env bash
# Runs jaxrl-entropy on GPUs of a SLURM cluster, one process per GPU.
#
#   launch/slurm_gpu.sh [--dry-run] run NAME -- train --config=... --workdir=...
#   launch/slurm_gpu.sh [--dry-run] status|logs|delete NAME
#
# Settings, from the environment:
#   NODES           nodes (1)
#   GPUS_PER_NODE   GPUs on each (8)
#   TIME            time limit (24:00:00); a run stopped by it is queued again
#   RESTARTS        restarts after a lost process or node, or a stop (100)
#   SETUP           shell command that each node runs first, such as one that
#                   loads modules or copies data (none)
#   SBATCH_FLAGS    more flags of sbatch, such as "--partition=gpu"
#   LOGS            folder of the logs (runs/logs)
#
# The checkout, its .venv (install the extra "cuda") and the workdir must be
# on a file system that all nodes share.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=launch/cloud.sh
. launch/cloud.sh
parse_arguments "$@"

nodes=${NODES:-1} gpus=${GPUS_PER_NODE:-8} logs=${LOGS:-runs/logs}
read -r -a more_flags <<<"${SBATCH_FLAGS:-}"

submit() {
  local queued=
  if [ -z "$dry_run" ]; then
    queued=$(squeue --noheader --me --name="$name") ||
      fail "squeue failed, so $name may be queued already; nothing was submitted"
  fi
  if [ -n "$queued" ]; then
    echo "$name is already queued"
    return
  fi
  # SIGTERM before the time limit lets the run save; then it is queued again.
  # Of two jobs of one name that were submitted at once, one waits.
  do_or_show mkdir -p "$logs"
  do_or_show sbatch --job-name="$name" --nodes="$nodes" \
    --ntasks-per-node="$gpus" --gpus-per-node="$gpus" \
    --time="${TIME:-24:00:00}" --signal=TERM@180 --requeue \
    --dependency=singleton --open-mode=append --output="$logs/$name.log" \
    ${more_flags[@]+"${more_flags[@]}"} launch/slurm_job.sh "${command[@]}"
}

case $action in
  run) submit ;;
  status) do_or_show squeue --me --name="$name" ;;
  logs) do_or_show tail -n 100 "$logs/$name.log" ;;
  delete) do_or_show scancel --me --name="$name" ;;
esac
