"""The text model inside the weights of a multimodal one."""

from collections.abc import Iterable
import logging

import numpy as np

from jaxrl_entropy.models.io.sources import Index, TensorSource

# Prefixes of the text model's tensors in files of transformers 4 and 5.
_PREFIXES = ("language_model.", "model.language_model.")


def is_multimodal(names: Iterable[str]) -> bool:
  """Returns whether tensors of these names belong to a multimodal model."""
  return any(name.startswith(_PREFIXES) for name in names)


class TextPart:
  """A source of the text model's tensors alone, under a text model's names."""

  def __init__(self, source: TensorSource) -> None:
    self._source = source
    text_names = {_text_name(name): name for name in source.names()}
    self._names = {ours: name for ours, name in text_names.items() if ours}
    left = len(source.names()) - len(self._names)
    logging.warning(
      "%d tensors outside of the text model are not read, vision among them",
      left,
    )

  def names(self) -> frozenset[str]:
    """Returns the names of the text model's tensors."""
    return frozenset(self._names)

  def place(self, name: str) -> str:
    """Names the file and the tensor, for error messages."""
    return self._source.place(self._names.get(name, name))

  def shape(self, name: str) -> tuple[int, ...]:
    """Returns the shape of a tensor."""
    return self._source.shape(self._names[name])

  def read(self, name: str, index: Index) -> np.ndarray:
    """Reads a slice of a tensor.

    Args:
      name: the tensor's name in a text model.
      index: a slice for each axis.
    """
    return self._source.read(self._names[name], index)


def _text_name(name: str) -> str:
  """Returns the name in a text model's files; "" for other tensors."""
  if name.startswith("model.language_model."):
    return "model." + name.removeprefix("model.language_model.")
  if name.startswith("language_model."):
    return name.removeprefix("language_model.")
  return name if name == "lm_head.weight" else ""
