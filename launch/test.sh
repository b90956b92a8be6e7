#!/usr/bin/env bash
# Runs the tests, and makes .venv first if it is missing.
#
#   ./launch/test.sh                     all tests but the long ones
#   ./launch/test.sh tests/ops -k kl     any arguments of pytest
#   ./launch/test.sh --slow              the tests that take minutes, too
#   ./launch/test.sh --parity            those against live PyTorch peers, too
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=launch/venv.sh
. launch/venv.sh

extras="test"
case " $* " in *" --parity "*) extras="test,parity" ;; esac
ensure_venv "$extras"
# Two processes: most tests are of one thread, and memory is not endless.
# Files go to them in the order that tests/conftest.py gives.
exec .venv/bin/python -m pytest --numprocesses=2 --dist=loadfile \
  --no-loadscope-reorder "$@"
