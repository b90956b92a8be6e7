#!/usr/bin/env bash
# Trains a small policy with GRPO, Clip-Cov and KL-Cov and writes a report.
#
#   ./launch/quickstart.sh [--config.FIELD=VALUE ...]
#
# Run again, it continues what was stopped and says what is already there.
# WORKDIR is the folder of the study (runs/quickstart).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=launch/venv.sh
. launch/venv.sh

workdir=${WORKDIR:-runs/quickstart}
ensure_venv log
# XLA frees its large buffers after every step. glibc would give them back to the
# system and ask for them again, which costs a sixth of a small run's time.
export MALLOC_MMAP_THRESHOLD_=4000000000 MALLOC_TRIM_THRESHOLD_=8000000000
export MALLOC_TOP_PAD_=67108864
.venv/bin/jaxrl-entropy sweep --config=configs/quickstart.py \
  --workdir="$workdir" "$@"
.venv/bin/jaxrl-entropy analyze --workdir="$workdir"
