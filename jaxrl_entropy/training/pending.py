"""Serializes pending rollouts and unfinished responses into checkpoints.

Rollouts that are not yet learned from and responses that are not yet complete:
dataclasses, containers and NumPy arrays. Nothing in the bytes is executed when
they are read.
"""

import dataclasses
import io
import json
from typing import Any

import numpy as np

from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.sampling.request import Completion
from jaxrl_entropy.training.rollout import PartialGroup, Rollout

TYPES = {
  kind.__name__: kind for kind in (Problem, Completion, PartialGroup, Rollout)
}


def encode(value: Any) -> np.ndarray:
  """Returns `value` as a uint8 array.

  Args:
    value: numbers, text, NumPy arrays, the dataclasses of `TYPES`, and lists,
      tuples and dicts of these.
  """
  arrays: list[np.ndarray] = []
  text = json.dumps(_plain(value, arrays))
  file = io.BytesIO()
  np.savez(file, np.frombuffer(text.encode(), np.uint8), *arrays)
  return np.frombuffer(file.getvalue(), np.uint8)


def decode(data: np.ndarray) -> Any:
  """Returns the value that was passed to `encode`, tuples included."""
  with np.load(io.BytesIO(data.tobytes()), allow_pickle=False) as file:
    text, *arrays = (file[name] for name in file.files)
  return _rebuild(json.loads(text.tobytes()), arrays)


def _plain(value: Any, arrays: list[np.ndarray]) -> Any:
  if isinstance(value, np.ndarray):
    arrays.append(value)
    return {"array": len(arrays) - 1}
  if isinstance(value, list):
    return [_plain(item, arrays) for item in value]
  if isinstance(value, tuple):
    return {"tuple": [_plain(item, arrays) for item in value]}
  if isinstance(value, dict):
    return {"dict": {k: _plain(v, arrays) for k, v in value.items()}}
  if dataclasses.is_dataclass(value):
    name = type(value).__name__
    return {"type": name, "fields": _plain(dict(vars(value)), arrays)}
  return value.item() if isinstance(value, np.generic) else value


def _rebuild(plain: Any, arrays: list[np.ndarray]) -> Any:
  if isinstance(plain, list):
    return [_rebuild(item, arrays) for item in plain]
  if not isinstance(plain, dict):
    return plain
  if "array" in plain:
    return arrays[plain["array"]]
  if "tuple" in plain:
    return tuple(_rebuild(item, arrays) for item in plain["tuple"])
  if "dict" in plain:
    return {k: _rebuild(v, arrays) for k, v in plain["dict"].items()}
  return TYPES[plain["type"]](**_rebuild(plain["fields"], arrays))
