"""Strict JAX, a compilation cache, and the flags for long tests."""

import gc
import os
from pathlib import Path
import signal

# Read by JAX on import, and inherited by the processes that tests start.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUMPY_DTYPE_PROMOTION", "strict")
os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")
os.environ.setdefault(
  "JAX_COMPILATION_CACHE_DIR",
  str(Path(__file__).parents[1] / ".cache" / "jax"),
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")

# A shell's background jobs inherit an ignored SIGINT, and so would the
# processes whose answer to ctrl-C is tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
  signal.signal(signal.SIGINT, signal.default_int_handler)

# Compiling is most of the suite's time; tiny programs need no optimizer, and
# the older emitters make their kernels three times faster. The last of two
# equal flags counts: one in the environment is kept.
os.environ["XLA_FLAGS"] = " ".join(
  (
    "--xla_backend_optimization_level=0",
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_cpu_parallel_codegen_split_count=1",
    os.environ.get("XLA_FLAGS", ""),
  )
)

import jax
import jaxtyping
import numpy as np
import pytest

import tests.shapes

# Shapes and dtypes are checked wherever an array lives.
jaxtyping.Array = jax.Array | np.ndarray

# Before anything of these is imported: shapes and dtypes of calls are checked.
# Left out are modules of containers whose leaves are at times shardings, shapes
# or stacked arrays (those of the sampler, of rows and of the training state),
# and modules whose functions are handed sections of a config, or fields that a
# batch lacks (`losses.fields.Absent`, whose use has an error of its own).
CHECKED = {
  "losses": (
    *("adaptive_clip", "aggregates", "entropy_flow", "likelihood"),
    *("penalties", "ratio", "response_entropy", "scores", "selectors"),
    *("surrogate", "weighting"),
  ),
  "advantages": (
    *("base", "controlled", "implicit_reward", "outcome", "process"),
    "tokenwise",
  ),
  "ops": (
    *("attention.dispatch", "attention.xla"),
    *("covariance", "router", "selection", "softcap"),
  ),
  "models": (
    *("experts", "layers", "prefix", "rope", "router_losses", "transformer"),
  ),
  "training": ("update",),
}
jaxtyping.install_import_hook(
  [
    f"jaxrl_entropy.{folder}.{name}"
    for folder, names in CHECKED.items()
    for name in names
  ],
  f"{tests.shapes.__name__}.checked",
)

from tests.golden.tally import Tally  # noqa: E402

_OPTIONAL = ("slow", "parity")


def pytest_addoption(parser):
  for name in _OPTIONAL:
    parser.addoption(
      f"--{name}", action="store_true", help=f"run the {name} tests too"
    )


def pytest_configure(config):
  config.pluginmanager.register(Tally())
  # Tracing makes objects by the million, and next to none of them are cycles.
  gc.set_threshold(100_000, 50, 100)


# These take minutes and start first, so that two workers end together.
_LONG = (
  *("training/loop", "sampling/sampler", "golden/golden", "cli/plan"),
  *("rewards/sandbox/hostile", "rewards/verifiers/code", "models/decoding"),
  *("training/update", "training/mesh", "sampling/drafts", "docs", "extending"),
)
_FIRST = {
  str(Path(__file__).parent / f"{name}_test.py"): index
  for index, name in enumerate(_LONG)
}


def pytest_collection_modifyitems(config, items):
  items.sort(key=lambda item: _FIRST.get(str(item.path), len(_FIRST)))
  for name in _OPTIONAL:
    if config.getoption(f"--{name}"):
      continue
    skip = pytest.mark.skip(reason=f"{name} tests run with --{name}")
    for item in items:
      if name in item.keywords:
        item.add_marker(skip)
