"""The interface of files that hold weights.

A source names its tensors as Hugging Face does and reads any slice of one, so
that each device's slice of a sharded array is read alone.
"""

from typing import Protocol

import numpy as np

Index = tuple[slice, ...]


class CheckpointError(ValueError):
  """A weight file is missing, corrupt, or of another model."""


class TensorSource(Protocol):
  """Named tensors on disk."""

  def names(self) -> frozenset[str]:
    """Returns Hugging Face's names of all tensors."""

  def place(self, name: str) -> str:
    """Names the file and the tensor, for error messages."""

  def shape(self, name: str) -> tuple[int, ...]:
    """Returns the shape of a tensor as stored, kernels [out, in]."""

  def read(self, name: str, index: Index) -> np.ndarray:
    """Reads a slice of a tensor.

    Args:
      name: one of `names()`.
      index: a slice for each axis.

    Returns:
      The slice in the dtype of the file, or in float32 where that is quantized.

    Raises:
      ValueError: if the dtype is not supported or the file is cut short.
    """
