"""`jaxrl-entropy doctor`: what this machine offers, and what to install."""

from collections.abc import Sequence
import importlib.metadata
import importlib.util
import platform
import shutil

from jaxrl_entropy import config as config_lib
from jaxrl_entropy.cli import flags
from jaxrl_entropy.errors import install_extra
from jaxrl_entropy.rewards.sandbox import confine, launch, seccomp

_EXAMPLES = """\
  jaxrl-entropy doctor
"""
# Purpose of each optional package, and the extra that installs it.
_PACKAGES = {
  "math_verify": ("judging mathematics", "math"),
  "reasoning_gym": ("the gym task", "gym"),
  "gguf": ("quantized GGUF weights", "gguf"),
  "pyseccomp": ("the sandbox", "sandbox"),
  "pyarrow": ("Parquet files", "parquet"),
  "matplotlib": ("plots of a report", "log"),
  "wandb": ("records for Weights & Biases", "wandb"),
  "trackio": ("records for Trackio", "trackio"),
  "mlflow": ("records for MLflow", "mlflow"),
  "libtpu": ("TPUs, and jaxrl-entropy plan", "tpu"),
}
_REMEDIES = {
  "bubblewrap": "apt-get install bubblewrap; pip install pyseccomp; in a "
  "container, allow user namespaces",
  "namespaces": "pip install pyseccomp; Linux 5.13 or later with Landlock; in "
  "a container, allow user namespaces",
  "rlimits": "Linux and Python 3.11 or later",
}

_WORKS = {
  "rlimits": "works, but runs nothing unless config.reward.sandbox asks"
}


def main(argv: Sequence[str]) -> int:
  """Prints the report; returns 1 where no safe sandbox works."""
  flags.parser(
    "doctor", "Says what this machine offers.", _EXAMPLES
  ).parse_args(argv)
  _print_machine()
  _print_packages()
  return _print_sandbox()


def _print_machine() -> None:
  import jax

  from jaxrl_entropy.training import memory

  # First of all: without a device there is nothing else to say.
  devices = jax.devices()
  version = importlib.metadata.version("jaxrl_entropy")
  commit = config_lib.commit()
  print(f"jaxrl_entropy {version}{f', commit {commit}' if commit else ''}")
  print(f"Python {platform.python_version()}, {platform.platform()}")
  print(f"JAX {jax.__version__}: {len(devices)} x {devices[0].device_kind}")
  disk = shutil.disk_usage(".")
  print(
    f"memory: {memory.available_on_host() / 2**30:.1f} GiB free; disk of this "
    f"folder: {disk.free / 2**30:.1f} of {disk.total / 2**30:.1f} GiB free\n"
  )


def _print_packages() -> None:
  for package, (purpose, extra) in _PACKAGES.items():
    installed = importlib.util.find_spec(package) is not None
    remedy = "" if installed else f": {install_extra(extra)}"
    print(f"  {_mark(installed)} {package:<14} {purpose}{remedy}")


def _print_sandbox() -> int:
  print("\nSandbox for code that a model wrote, the strongest level first:")
  failures = {level: launch.failure(level) for level in launch.LEVELS}
  for level, reason in failures.items():
    works = _WORKS.get(level, "works")
    print(f"  {_mark(reason is None)} {level:<14} {reason or works}")
    if reason:
      print(f"    {'':<14} {_REMEDIES[level]}")
  print(f"  seccomp: {_mark(seccomp.available())}, Landlock: version "
        f"{confine.landlock_version()}")  # fmt: skip
  try:
    print(f"Programs and answers run at level {launch.choose()!r}.")
  except launch.SandboxError as error:
    print(f"{error}")
    return 1
  return 0


def _mark(works: bool) -> str:
  return "yes" if works else "no "
