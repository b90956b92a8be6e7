"""What a weight file must offer to be imported.

A source names its tensors as Hugging Face does and reads any slice of one, so
that a device's part of a sharded array is all that passes through the host.
"""

from typing import Protocol

import numpy as np

Index = tuple[slice, ...]


class CheckpointError(ValueError):
  """A weight file that is missing, corrupt, or not the model it should be."""


class TensorSource(Protocol):
  """Named tensors on disk."""

  def names(self) -> frozenset[str]: ...

  def place(self, name: str) -> str:
    """The file and tensor, for error messages."""

  def shape(self, name: str) -> tuple[int, ...]: ...

  def read(self, name: str, index: Index) -> np.ndarray: ...
