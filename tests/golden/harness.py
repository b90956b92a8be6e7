"""Runs cases of the peers' own code through ours, and judges the answers.

A set is a folder with an `index.json` (its `format` says how arrays are stored)
and npz files. A case names a peer's function; what stands for it here is an
adapter, found by that name alone. Each module of `MODULES` registers its own:

* `ADAPTERS`: function -> adapter. An adapter takes the case's configuration and
  inputs (bfloat16 widened to float32) and returns, under the names of the
  case's outputs and scalars, what our code gives. Where the peer raises, so
  must the adapter (ValueError).
* `REASONS`: function -> why nothing stands for it. An adapter raises
  `NotImplementedCase(reason)` for configurations that have no counterpart, and
  `DiffersByDesign(section)` for inputs whose answer objectives-spec changes.
"""

from collections.abc import Callable, Iterator
import dataclasses
import functools
import importlib
import json
import os
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

MODULES = (
  "adapters_advantages",
  "adapters_covariance",
  "adapters_prime",
  "adapters_statistics",
  "adapters_trl",
  "adapters_verl",
)
DEFAULT = Path(__file__).parents[1] / "fixtures" / "golden"
UPCAST = "_upcast_f32"
# Figures about the peer's own run, which are no result of the function.
ABOUT_PEER = ("gap_k",)
MASKS = ("response_mask", "loss_mask", "completion_mask")

# Where the peer answers NaN and ours has to be finite: tag -> objectives-spec.
FINITE_BY_DESIGN = {
  "all_masked": "section 10.4 (10): no valid token gives 0",
  "nan_in_padding": "section 2: padding never reaches the loss",
  "fully_masked_rows": "section 8: a row without tokens adds nothing",
  "nan": "sections 2 and 6: empty rows add 0, and 0 ln 0 = 0",
}

Adapter = Callable[[dict[str, Any], dict[str, np.ndarray]], dict[str, Any]]


class NotImplementedCase(Exception):  # noqa: N818 (an outcome, not an error)
  """The peer's feature has no counterpart here, for the reason given."""


class DiffersByDesign(Exception):  # noqa: N818 (an outcome, not an error)
  """objectives-spec asks for another answer than the peer's, where it says."""


@dataclasses.dataclass(frozen=True)
class Case:
  id: str
  function: str
  config: dict[str, Any]
  inputs: dict[str, np.ndarray]
  expected: dict[str, np.ndarray]
  tags: tuple[str, ...]
  tolerance: dict[str, float]
  error: str | None

  @property
  def mask(self) -> np.ndarray | None:
    names = [name for name in MASKS if name in self.inputs]
    return self.inputs[names[0]].astype(bool) if names else None


@dataclasses.dataclass(frozen=True)
class Verdict:
  kind: str  # "passed", "differs by design" or "not implemented"
  reason: str = ""


def folder() -> Path:
  return Path(os.environ.get("JAXRL_GOLDEN_DIR", DEFAULT))


@functools.cache
def _arrays(path: Path) -> dict[str, np.ndarray]:
  with np.load(path) as file:
    return dict(file)


def _array(root: Path, entry: dict[str, Any]) -> np.ndarray:
  file, name = entry["key"].split(":")
  stored = _arrays(root / file)[name]
  if entry["dtype"] == "bfloat16" and stored.dtype == np.uint16:
    return stored.view(ml_dtypes.bfloat16).astype(np.float32)
  return stored.reshape(entry["shape"])


def _expected(root: Path, raw: dict[str, Any]) -> dict[str, np.ndarray]:
  """Outputs and scalars; those of the upcast run where there are any."""
  values = {k: _array(root, e) for k, e in raw["outputs"].items()}
  for name, value in raw["scalars"].items():
    if name not in ABOUT_PEER:
      values[name] = np.asarray(value, np.float64)
  upcast = {k.removesuffix(UPCAST): v for k, v in values.items() if UPCAST in k}
  plain = {k: v for k, v in values.items() if not k.endswith((UPCAST, "_f64"))}
  return plain | upcast


def load() -> Iterator[Case]:
  """The cases of the set."""
  root = folder()
  for raw in json.loads((root / "index.json").read_text())["cases"]:
    yield Case(
      id=raw["id"],
      function=raw["function"],
      config=raw["config"],
      inputs={k: _array(root, e) for k, e in raw["inputs"].items()},
      expected=_expected(root, raw),
      tags=tuple(raw["tags"]),
      tolerance=raw["tol"],
      error=raw.get("expect_error"),
    )


@functools.cache
def registered() -> tuple[dict[str, Adapter], dict[str, str]]:
  """All adapters, and the written reasons for there being none."""
  adapters: dict[str, Adapter] = {}
  reasons: dict[str, str] = {}
  for name in MODULES:
    module = importlib.import_module(f"tests.golden.{name}")
    adapters |= module.ADAPTERS
    reasons |= getattr(module, "REASONS", {})
  return adapters, reasons


def _compare(case: Case, name: str, ours: Any) -> bool:
  """Asserts that one result agrees; True where only the peer's is NaN."""
  theirs = case.expected[name]
  ours = np.asarray(ours, theirs.dtype).reshape(theirs.shape)
  if case.mask is not None and theirs.shape == case.mask.shape:
    if "grad" in name:
      padding = ours[~case.mask]
      assert np.isfinite(padding).all(), f"{name} in padding: {padding}"
    ours, theirs = ours[case.mask], theirs[case.mask]
  undefined = np.isnan(theirs)
  # An overflow of the peer's is one of ours: there the values are compared.
  assert np.isfinite(ours[~np.isinf(theirs)]).all(), f"{name}: {ours}"
  np.testing.assert_allclose(
    ours[~undefined], theirs[~undefined], **case.tolerance, err_msg=name
  )
  return bool(undefined.any())


def _judge(case: Case, results: dict[str, Any]) -> Verdict:
  missing = set(case.expected) - set(results)
  assert not missing, f"the adapter returns no {sorted(missing)}"
  undefined = [
    name for name in case.expected if _compare(case, name, results[name])
  ]
  if not undefined:
    return Verdict("passed")
  sections = [FINITE_BY_DESIGN[t] for t in case.tags if t in FINITE_BY_DESIGN]
  assert sections, f"the peer's {undefined} are NaN; no tag says why"
  return Verdict("differs by design", sections[0])


def run(case: Case) -> Verdict:
  """Raises AssertionError where ours disagrees with the peer."""
  adapters, reasons = registered()
  adapter = adapters.get(case.function)
  if adapter is None:
    return Verdict("not implemented", reasons.get(case.function, ""))
  try:
    results = adapter(case.config, case.inputs)
  except NotImplementedCase as reason:
    return Verdict("not implemented", str(reason))
  except DiffersByDesign as section:
    return Verdict("differs by design", str(section))
  except ValueError:
    if case.error:
      return Verdict("passed")
    raise
  assert not case.error, f"the peer raises {case.error}, ours does not"
  return _judge(case, results)
