#!/usr/bin/env bash
# Runs jaxrl-entropy on all hosts of a TPU slice of its own.
#
#   launch/tpu_pod.sh [--dry-run] run NAME -- train --config=... --workdir=...
#   launch/tpu_pod.sh [--dry-run] status|logs|delete NAME
#
# `run` asks for the slice if it is not there, copies this checkout to every
# host, installs it, and starts the command; after a preemption it starts
# over, and the run continues from its last checkpoint. Called again, it joins
# what is under way. Logs are collected at the end. The slice stays (and
# costs) until `delete`, or the end of the run with TPU_DELETE=1.
#
# Settings, from the environment:
#   TPU_TYPE      slice, such as v5p-128 (required)
#   TPU_ZONE      its zone (required)
#   TPU_PROJECT   its project (that of gcloud)
#   TPU_IMAGE     software of the hosts (by the type)
#   TPU_SPOT      1: a slice that may be preempted
#   TPU_DELETE    1: delete the slice when the run has ended
#   RETRIES       attempts after a preemption or a restartable exit (20)
#   LOGS          folder of the logs (runs/logs)
#
# The workdir must be a folder that all hosts share, such as a mounted bucket.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=launch/cloud.sh
. launch/cloud.sh
parse_arguments "$@"

for setting in TPU_TYPE TPU_ZONE; do
  [ -n "${!setting-}" ] || fail "set $setting"
done
case $TPU_TYPE in
  v4-*) image=tpu-ubuntu2204-base ;;
  v5e-* | v5litepod-*) image=v2-alpha-tpuv5-lite ;;
  v5p-*) image=v2-alpha-tpuv5 ;;
  v6e-*) image=v2-alpha-tpuv6e ;;
  *) image= ;;
esac
image=${TPU_IMAGE:-$image}
[ -n "$image" ] || fail "set TPU_IMAGE: no image is known for $TPU_TYPE"
where=(--zone="$TPU_ZONE" ${TPU_PROJECT:+--project="$TPU_PROJECT"})
logs=${LOGS:-runs/logs} folder=jaxrl_entropy-$name
poll=${POLL_SECONDS:-30}

queued() { do_or_show gcloud compute tpus queued-resources "$@" "${where[@]}"; }

# on_all COMMAND: runs a line of shell on every host.
on_all() {
  do_or_show gcloud compute tpus tpu-vm ssh "$name" "${where[@]}" \
    --worker=all --command="$1"
}

# The state of the slice: ACTIVE, PROVISIONING, SUSPENDED, ..., or MISSING.
slice_state() {
  gcloud compute tpus queued-resources describe "$name" "${where[@]}" \
    --format='value(state.state)' 2>/dev/null || echo MISSING
}

delete_slice() {
  queued delete "$name" --force --quiet
}

# Returns when the slice is ACTIVE; asks for it, or again for it, if need be.
ensure_slice() {
  local state=MISSING
  [ -n "$dry_run" ] || state=$(slice_state)
  case $state in
    SUSPENDED | SUSPENDING | FAILED)
      delete_slice
      state=MISSING
      ;;
  esac
  if [ "$state" = MISSING ]; then
    queued create "$name" --node-id="$name" \
      --accelerator-type="$(slice_type "$TPU_TYPE")" \
      --runtime-version="$image" ${TPU_SPOT:+--spot}
  fi
  [ -z "$dry_run" ] || return 0
  while state=$(slice_state) && [ "$state" != ACTIVE ]; do
    case $state in MISSING | SUSPENDED | FAILED) return 1 ;; esac
    echo "$name: $state"
    sleep "$poll"
  done
}

# Copies the checkout to the hosts and starts the command, unless it runs: as
# long as it does, it holds a lock.
start() {
  local archive="/tmp/$name.tar.gz"
  do_or_show git archive --format=tar.gz --output="$archive" HEAD || return 1
  do_or_show gcloud compute tpus tpu-vm scp "$archive" "$name:$archive" \
    "${where[@]}" --worker=all || return 1
  on_all "set -e
mkdir -p $folder && cd $folder
exec 9>lock
flock --nonblock 9 || exit 0
tar xzf $archive
command -v python3.11 >/dev/null || {
  sudo apt-get -qq update && sudo apt-get -qq -y install python3.11-venv
}
. launch/venv.sh && ensure_venv tpu,math,sandbox,log
rm -f exit_status
JAXRL_TPU_POD=1 setsid nohup bash -c $(quote "$(quote \
    .venv/bin/jaxrl-entropy "${command[@]}") 9>&-; echo \$? >exit_status") \
>>log 2>&1 </dev/null &"
}

# Waits for the command to end on all hosts; prints its largest exit status,
# or `lost` when the slice is gone, or a host of it was started anew.
wait_for_end() {
  local statuses ask="flock --nonblock $folder/lock true 2>/dev/null
[ \$? -ne 1 ] || { echo running; exit; }
cat $folder/exit_status 2>/dev/null || echo lost"
  while [ "$(slice_state)" = ACTIVE ]; do
    # A host that cannot be reached may be so the next time.
    statuses=$(on_all "$ask" 2>/dev/null | sort -rn) || statuses=running
    case $statuses in
      '' | *running*) sleep "$poll" ;;
      *lost*) break ;;
      *)
        echo "${statuses%%[!0-9]*}"
        return
        ;;
    esac
  done
  echo lost
}

collect_logs() {
  do_or_show mkdir -p "$logs"
  if [ -n "$dry_run" ]; then
    on_all "cat $folder/log"
  else
    on_all "cat $folder/log" >"$logs/$name.log" || true
    echo "logs: $logs/$name.log"
  fi
}

finish() {
  collect_logs
  [ -z "${TPU_DELETE-}" ] || delete_slice
}

run() {
  local attempt status
  if [ -n "$dry_run" ]; then
    ensure_slice
    start
    finish
    return
  fi
  [ -z "$(git status --porcelain)" ] ||
    echo "warning: what is not committed is not copied to the hosts" >&2
  for ((attempt = 0; attempt <= ${RETRIES:-20}; attempt++)); do
    if ! { ensure_slice && start; }; then
      echo "$name: the slice is not to be had; trying again"
      sleep "$poll"
      continue
    fi
    status=$(wait_for_end)
    case $status in
      lost | "$RESTART") echo "$name: stopped early ($status), going on" ;;
      *)
        finish
        return "$status"
        ;;
    esac
  done
  finish
  return "$RESTART"
}

case $action in
  run) run ;;
  status) queued describe "$name" ;;
  logs) collect_logs ;;
  delete) delete_slice ;;
  *) fail "there is no action $action; use run, status, logs or delete" ;;
esac
