"""Strict JAX, a compilation cache, and the flags for long tests."""

import os
from pathlib import Path

# Read by JAX on import, and inherited by the processes that tests start.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUMPY_DTYPE_PROMOTION", "strict")
os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")
os.environ.setdefault(
  "JAX_COMPILATION_CACHE_DIR",
  str(Path(__file__).parents[1] / ".cache" / "jax"),
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")

# Compiling is most of the suite's time; tiny programs need no optimiser.
os.environ["XLA_FLAGS"] = (
  os.environ.get("XLA_FLAGS", "") + " --xla_backend_optimization_level=1"
)

import pytest

from tests.golden.tally import Tally

_OPTIONAL = ("slow", "parity")


def pytest_addoption(parser):
  for name in _OPTIONAL:
    parser.addoption(
      f"--{name}", action="store_true", help=f"run the {name} tests too"
    )


def pytest_configure(config):
  config.pluginmanager.register(Tally())


def pytest_collection_modifyitems(config, items):
  for name in _OPTIONAL:
    if config.getoption(f"--{name}"):
      continue
    skip = pytest.mark.skip(reason=f"{name} tests run with --{name}")
    for item in items:
      if name in item.keywords:
        item.add_marker(skip)
