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
.venv/bin/jaxrl-entropy sweep --config=configs/quickstart.py \
  --workdir="$workdir" "$@"
.venv/bin/jaxrl-entropy analyze --workdir="$workdir"
