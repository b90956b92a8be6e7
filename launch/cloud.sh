# Sourced by the launchers: their common command line, and dry runs.
# shellcheck shell=bash

# The exit status of a run that was told to stop, or lost a process of its job,
# and can be continued.
# shellcheck disable=SC2034
RESTART=75

# parse_arguments [--dry-run] ACTION NAME [-- COMMAND ...]
# sets dry_run, action, name and the array command.
parse_arguments() {
  local words=()
  dry_run=
  while [ $# -gt 0 ] && [ "$1" != -- ]; do
    case $1 in
      -h | --help)
        usage
        exit
        ;;
      --dry-run) dry_run=1 ;;
      -*) fail "there is no flag $(quote "$1"); see --help" ;;
      *) words+=("$1") ;;
    esac
    shift
  done
  action=${words[0]-} name=${words[1]-}
  command=("${@:2}")
  case $action in
    run | status | logs | delete) ;;
    '') fail "give an action and a name; see --help" ;;
    *)
      fail "there is no action $(quote "$action"); use run, status, logs or \
delete"
      ;;
  esac
  [ -n "$name" ] || fail "give a name: ${0##*/} $action NAME; see --help"
  [ ${#words[@]} -le 2 ] ||
    fail "unexpected word $(quote "${words[2]}"); a command comes after --"
  # It becomes a name in every cloud, a folder, and a word of remote shells.
  if ! [[ $name =~ ^[a-z]([-a-z0-9]{0,37}[a-z0-9])?$ ]]; then
    fail "the name $(quote "$name") must start with a letter, hold only a-z, \
0-9 and -, and have fewer than 40 characters"
  fi
  if [ "$action" = run ] && [ ${#command[@]} -eq 0 ]; then
    fail "run needs a command: -- train --config=... --workdir=..."
  fi
}

fail() {
  echo "${0##*/}: error: $1" >&2
  exit 2
}

# need SETTING ...: fails, with all of them, if any is not set.
need() {
  local setting missing=
  for setting in "$@"; do
    [ -n "${!setting-}" ] || missing+="${missing:+, }$setting"
  done
  [ -z "$missing" ] || fail "set $missing; see --help"
}

# usage: prints the comment at the head of the script.
usage() {
  sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$0"
}

# check_type TYPE: fails unless a slice may have this type. Its number counts
# chips (v5e, v6e) or TensorCores, of which a host has eight (v4, v5p).
check_type() {
  case $1 in
    v5e-* | v5litepod-* | v6e-*)
      [[ ${1#*-} =~ ^(1|4|8|16|32|64|128|256)$ ]] ||
        fail "TPU_TYPE is $(quote "$1"): ${1%%-*} has 1, 4, 8, 16, 32, 64, 128 \
or 256 chips"
      ;;
    v4-* | v5p-*)
      [[ ${1#*-} =~ ^[1-9][0-9]{0,4}$ ]] && [ $((${1#*-} % 8)) -eq 0 ] ||
        fail "TPU_TYPE is $(quote "$1"): the number after ${1%%-*} counts \
TensorCores, in multiples of 8"
      ;;
    *)
      [[ $1 =~ ^[a-z0-9]+-[0-9]+$ ]] ||
        fail "TPU_TYPE is $(quote "$1"): give a type such as v5p-128"
      ;;
  esac
}

# slice_type TYPE: as the tools of Google Cloud call it.
slice_type() {
  echo "${1/#v5e-/v5litepod-}"
}

# quote WORD ...: the words as one line that a shell reads back as they are.
quote() {
  local line
  printf -v line '%q ' "$@"
  echo "${line% }"
}

# do_or_show COMMAND ...: runs it; a dry run prints it instead.
do_or_show() {
  if [ -n "$dry_run" ]; then
    quote "$@"
  else
    "$@"
  fi
}
