"""A kernel is used where it is right and faster, and only there."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy.ops.attention import trials
from jaxrl_entropy.ops.attention.trials import Trial

X = jnp.linspace(-1, 1, 32).reshape(4, 8)


def reference(x):
  return {"mixed": jnp.tanh(x), "gradient": 1 - jnp.tanh(x) ** 2}


def rounded(x):
  return {k: v.astype(jnp.bfloat16) for k, v in reference(x).items()}


def wrong(x):
  return reference(x) | {"gradient": jnp.ones_like(x)}


def not_finite(x):
  return reference(x) | {"mixed": jnp.full_like(x, jnp.nan)}


def crashing(x):
  raise RuntimeError(f"cannot compile for {x.shape}\nand a long trace")


def run(monkeypatch, candidate, *seconds):
  """Trials of the reference and a candidate that take `seconds`."""
  durations = iter(seconds)
  monkeypatch.setattr(trials, "median_seconds", lambda call: next(durations))
  return trials.run({"xla": reference, "kernel": candidate}, (X,))


@pytest.mark.parametrize(
  ("candidate", "seconds", "chosen", "line"),
  [
    (rounded, 0.5, "kernel", "kernel 500.00 ms: kernel is used"),
    (rounded, 2.0, "xla", "kernel 2000.00 ms: xla is used"),
    (wrong, 0.5, "xla", "kernel differs by"),
    (not_finite, 0.5, "xla", "kernel differs by nan of the result: xla"),
    (
      crashing,
      0.5,
      "xla",
      "kernel failed (RuntimeError: cannot compile for (4, 8)): xla is used",
    ),
  ],
)
def test_only_right_and_fast_kernels_are_used(
  monkeypatch, candidate, seconds, chosen, line
):
  tried = run(monkeypatch, candidate, 1.0, seconds)
  assert trials.best([tried]) == chosen
  assert line in trials.describe([tried], trials.best([tried]))


def test_a_kernel_must_be_right_everywhere():
  good = {"xla": Trial(2.0, 0.0), "kernel": Trial(1.0, 0.01)}
  bad = {"xla": Trial(2.0, 0.0), "kernel": Trial(1.0, 0.1)}
  assert trials.best([good, good]) == "kernel"
  assert trials.best([good, bad]) == "xla"
  assert "differs by 0.1" in trials.describe([good, bad], "xla")


def test_the_reference_must_run():
  with pytest.raises(RuntimeError, match="cannot compile"):
    trials.run({"xla": crashing}, (X,))


def test_durations_are_measured():
  calls = []
  assert trials.median_seconds(lambda: calls.append(np.zeros(1))) >= 0
  assert len(calls) == trials.REPEATS
