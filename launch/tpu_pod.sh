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
#   SETUP         shell command that each host runs before the first start after
#                 it booted, such as one that mounts a bucket (none)
#   RETRIES       attempts after a preemption or a restartable exit (20)
#   LOGS          folder of the logs (runs/logs)
#
# The workdir must be a folder that all hosts share, such as a mounted bucket.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=launch/cloud.sh
. launch/cloud.sh
parse_arguments "$@"

need TPU_TYPE TPU_ZONE
check_type "$TPU_TYPE"
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
setup_failed="SETUP failed"
state=
errors=$(mktemp)
trap 'rm -f "$errors"' EXIT

queued() { do_or_show gcloud compute tpus queued-resources "$@" "${where[@]}"; }

# on_all COMMAND: runs a line of shell on every host.
on_all() {
  do_or_show gcloud compute tpus tpu-vm ssh "$name" "${where[@]}" \
    --worker=all --command="$1"
}

# cause: what gcloud said of its last failure, in one line.
cause() {
  local text
  text=$(tr -s '[:space:]' ' ' <"$errors")
  echo "${text:-gcloud failed and gave no reason}"
}

# Whether gcloud may succeed if it is asked again: there was no capacity, or
# no connection. A full quota needs its owner, unless it is of each minute.
is_passing() {
  case $(cause) in
    *'per minute'* | *RATE_LIMIT*) return 0 ;;
    *[Qq]uota* | *INVALID_ARGUMENT* | *PERMISSION_DENIED*) return 1 ;;
  esac
  local passing='RESOURCE_EXHAUSTED|UNAVAILABLE|DEADLINE_EXCEEDED|INTERNAL'
  passing+='|ABORTED|capacity|stockout|timed? ?out|connection|try again'
  passing+='|HTTP(Error)?:? (429|5[0-9]{2})'
  grep --quiet --ignore-case --extended-regexp "$passing" "$errors"
}

# stop_unless_passing WHAT: ends the launcher if asking again cannot help.
stop_unless_passing() {
  is_passing || fail "$1: $(cause)"
  echo "$name: $1: $(cause)"
}

# Sets `state` to that of the slice: ACTIVE, PROVISIONING, SUSPENDED, ...;
# MISSING if there is none, UNKNOWN if gcloud cannot tell now.
look() {
  if state=$(queued describe "$name" --format='value(state.state)' \
    2>"$errors"); then
    return
  fi
  state=MISSING
  if ! grep --quiet NOT_FOUND "$errors"; then
    stop_unless_passing "the slice cannot be looked up"
    state=UNKNOWN
  fi
}

delete_slice() {
  queued delete "$name" --force --quiet
}

# Asks for the slice; it may be there a moment later.
request_slice() {
  queued create "$name" --node-id="$name" \
    --accelerator-type="$(slice_type "$TPU_TYPE")" \
    --runtime-version="$image" ${TPU_SPOT:+--spot} 2>"$errors" && return
  grep --quiet ALREADY_EXISTS "$errors" && return
  stop_unless_passing "the slice cannot be had"
  return 1
}

# Removes a slice that failed; ends the launcher if its successor would, too.
drop_failed_slice() {
  queued describe "$name" --format='value(state.failedData.error.message)' \
    >"$errors" 2>&1 || true
  [ -n "$(tr -d '[:space:]' <"$errors")" ] || echo "no capacity" >"$errors"
  delete_slice || true
  stop_unless_passing "the slice failed"
}

# Returns when the slice is ACTIVE; asks for it, or again for it, if need be.
ensure_slice() {
  if [ -n "$dry_run" ]; then
    request_slice
    return
  fi
  look
  case $state in
    SUSPENDED | SUSPENDING)
      delete_slice || return 1
      state=MISSING
      ;;
  esac
  if [ "$state" = MISSING ]; then
    request_slice || return 1
    look
  fi
  while [ "$state" != ACTIVE ]; do
    case $state in
      MISSING | SUSPENDED) return 1 ;;
      FAILED)
        drop_failed_slice
        return 1
        ;;
    esac
    echo "$name: $state"
    sleep "$poll"
    look
  done
}

# Prints the line of shell that starts the command on a host, unless it runs:
# as long as it does, it holds a lock. SETUP has been run if `setup` holds its
# text and the identity of this boot.
start_line() {
  cat <<END
set -e
mkdir -p $folder && cd $folder
exec 9>lock
flock --nonblock 9 || exit 0
tar xzf $1
setup=$(quote "${SETUP-}")
boot="\$(cat /proc/sys/kernel/random/boot_id) \$setup"
if [ -n "\$setup" ] && [ "\$(cat setup 2>/dev/null)" != "\$boot" ]; then
  bash -ec "\$setup" 9>&- || { echo "$setup_failed on \$(hostname)"; exit 1; }
  echo "\$boot" >setup
fi
command -v python3.11 >/dev/null || {
  sudo apt-get -qq update && sudo apt-get -qq -y install python3.11-venv
}
. launch/venv.sh && ensure_venv tpu,math,sandbox,log
rm -f exit_status
JAXRL_TPU_POD=1 setsid nohup bash -c $(quote "$(quote \
      .venv/bin/jaxrl-entropy "${command[@]}") 9>&-; echo \$? >exit_status") \
>>log 2>&1 </dev/null &
END
}

# Copies the checkout to the hosts and starts the command there.
start() {
  local archive="/tmp/$name.tar.gz" status=0
  do_or_show git archive --format=tar.gz --output="$archive" HEAD ||
    fail "the checkout could not be packed"
  do_or_show gcloud compute tpus tpu-vm scp "$archive" "$name:$archive" \
    "${where[@]}" --worker=all || return 1
  on_all "$(start_line "$archive")" 2>&1 | tee "$errors" || status=1
  if grep --quiet "^$setup_failed" "$errors"; then
    fail "$(grep "^$setup_failed" "$errors"); its output is above"
  fi
  return "$status"
}

# Waits for the command to end on all hosts, and sets `status`: that of a host
# that ended by an error; else $RESTART if a host was told to stop, or lost a
# process of the job to a signal (above 128); else 0. It is `lost` when the
# slice is gone, or a host of it was started anew.
wait_for_end() {
  local answers ask="flock --nonblock $folder/lock true 2>/dev/null
[ \$? -ne 1 ] || { echo running; exit; }
cat $folder/exit_status 2>/dev/null || echo lost"
  status=lost
  look
  while [ "$state" = ACTIVE ] || [ "$state" = UNKNOWN ]; do
    # A host that cannot be reached may be so the next time.
    answers=$(on_all "$ask" 2>/dev/null) || answers=running
    case $answers in
      '' | *running*) sleep "$poll" ;;
      *lost*) return ;;
      *)
        status=$(worst "$answers")
        return
        ;;
    esac
    look
  done
}

worst() {
  local status failed=0 stopped=0
  # gcloud may print lines of its own.
  while read -r status; do
    [[ $status =~ ^[0-9]+$ ]] || continue
    if [ "$status" -eq "$RESTART" ] || [ "$status" -gt 128 ]; then
      stopped=$RESTART
    elif [ "$status" -gt "$failed" ]; then
      failed=$status
    fi
  done <<<"$1"
  [ "$failed" -eq 0 ] && echo "$stopped" || echo "$failed"
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
      echo "$name: not started; trying again"
      sleep "$poll"
      continue
    fi
    wait_for_end
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
esac
