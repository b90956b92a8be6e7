#!/usr/bin/env bash
# Runs jaxrl-entropy on TPU slices of a GKE cluster, through xpk.
#
#   launch/gke_xpk.sh [--dry-run] run NAME -- train --config=... --workdir=...
#   launch/gke_xpk.sh [--dry-run] status|logs|delete NAME
#
# Settings, from the environment:
#   GKE_CLUSTER   cluster, as xpk or gcloud made it (required)
#   GKE_ZONE      its zone (required)
#   GKE_PROJECT   its project (required)
#   TPU_TYPE      slice, such as v5p-128 (required)
#   IMAGE         container image made from the Dockerfile (required)
#   SLICES        slices (1)
#   RESTARTS      restarts after a preemption or a killed process (100)
#   SETUP         shell command that each pod runs first, such as one that
#                 mounts a bucket or installs packages (none)
#
# The workdir must be a folder that all pods share, such as a mounted bucket.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=launch/cloud.sh
. launch/cloud.sh
parse_arguments "$@"

need GKE_CLUSTER GKE_ZONE GKE_PROJECT
where=(--cluster="$GKE_CLUSTER" --zone="$GKE_ZONE" --project="$GKE_PROJECT")

list() {
  do_or_show xpk workload list "${where[@]}" --filter-by-job="^$name\$"
}

delete() {
  do_or_show xpk workload delete "${where[@]}" --workload="$name" --force
}

# Makes room for a workload of this name; fails if there is one at work.
make_room() {
  local listing
  listing=$(list) || {
    echo "$listing" >&2
    exit 1
  }
  # Only the lines of the table start with a name: xpk repeats the filter, too.
  case $(grep "^$name " <<<"$listing") in
    '') ;;
    *' Finished '*) delete ;;
    *) return 1 ;;
  esac
}

submit() {
  local setup=
  need TPU_TYPE IMAGE
  check_type "$TPU_TYPE"
  [ -z "${SETUP-}" ] || setup="bash -ec $(quote "$SETUP") && "
  if [ -z "$dry_run" ] && ! make_room; then
    echo "$name is already running, or waits for its turn"
    return
  fi
  # Of its own xpk takes a stopped run for a failed one. It sends signals to the
  # shell that it starts, which the command therefore replaces.
  do_or_show xpk workload create "${where[@]}" --workload="$name" \
    --tpu-type="$(slice_type "$TPU_TYPE")" --num-slices="${SLICES:-1}" \
    --docker-image="$IMAGE" --max-restarts="${RESTARTS:-100}" \
    --restart-on-exit-codes="$RESTART" \
    --command="${setup}exec $(quote jaxrl-entropy "${command[@]}")"
}

case $action in
  run) submit ;;
  status) list ;;
  logs)
    do_or_show kubectl logs --tail=100 --prefix \
      --selector="jobset.sigs.k8s.io/jobset-name=$name"
    ;;
  delete) delete ;;
esac
