# Sourced by the launchers: their common command line, and dry runs.
# shellcheck shell=bash

# The exit status of a run that was told to stop and can be continued.
# shellcheck disable=SC2034
RESTART=75

# parse_arguments [--dry-run] ACTION NAME [-- COMMAND ...]
# sets dry_run, action, name and the array command.
parse_arguments() {
  dry_run=
  if [ "${1-}" = --dry-run ]; then
    dry_run=1
    shift
  fi
  action=${1-} name=${2-}
  command=("${@:4}")
  if [ -z "$action" ] || [ -z "$name" ] || [ "${3:---}" != -- ]; then
    usage
    exit 2
  fi
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

# usage: prints the comment at the head of the script.
usage() {
  sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$0" >&2
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
