"""The weights of a Hugging Face folder: read lazily, never trusted; written.

Format: https://github.com/huggingface/safetensors#format.
"""

from collections.abc import Iterable, Mapping
import functools
import json
import math
from pathlib import Path, PurePosixPath
import struct
from typing import Any

import jax.numpy as jnp
import numpy as np
import safetensors

from jaxrl_entropy.models.io.sources import CheckpointError, Index

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
_TYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
_DTYPES = {short: jnp.dtype(name) for name, short in _TYPES.items()}
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def write(
  path: Path,
  dtype: np.dtype[Any],
  shapes: Mapping[str, tuple[int, ...]],
  values: Iterable[np.ndarray],
) -> None:
  """Writes one file, holding one tensor at a time.

  The safetensors package would want all of them in memory.

  Args:
    path: the file.
    dtype: of every tensor: float32, float16 or bfloat16.
    shapes: by name.
    values: the tensors, in the order of `shapes`.
  """
  header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
  stop = 0
  for name, shape in shapes.items():
    start, stop = stop, stop + math.prod(shape) * dtype.itemsize
    header[name] = {
      "dtype": _TYPES[dtype.name],
      "shape": shape,
      "data_offsets": (start, stop),
    }
  text = json.dumps(header).encode()
  text += b" " * (-len(text) % 8)
  with path.open("wb") as file:
    file.write(struct.pack("<Q", len(text)) + text)
    for tensor in values:
      file.write(np.ascontiguousarray(tensor, dtype).view(np.uint8).data)


def _header_bytes(path: Path) -> int:
  with path.open("rb") as file:
    return 8 + int(struct.unpack("<Q", file.read(8))[0])


def _header(path: Path) -> dict[str, Any]:
  """Returns dtype, shape and place of each tensor of a valid file."""
  with path.open("rb") as file:
    text = file.read(_header_bytes(path))[8:]
  header = dict(json.loads(text))
  header.pop("__metadata__", None)
  return header


class SafetensorsFolder:
  """The *.safetensors of a Hugging Face folder, with or without an index.

  Raises:
    CheckpointError: if there are none, a file leaves the folder or cannot be
      read, or a tensor is not in the file that should hold it.
  """

  def __init__(self, folder: Path) -> None:
    self._folder = folder
    self._map = functools.cache(self._map_file)
    self._open = functools.cache(self._read_header)
    self._file_of = self._locate()

  def names(self) -> frozenset[str]:
    return frozenset(self._file_of)

  def place(self, name: str) -> str:
    return f"{self._folder / self._file_of.get(name, '')}: tensor {name!r}"

  def shape(self, name: str) -> tuple[int, ...]:
    return tuple(self._open(self._file_of[name])[name]["shape"])

  def read(self, name: str, index: Index) -> np.ndarray:
    file = self._file_of[name]
    info = self._open(file)[name]
    if info["dtype"] not in _DTYPES:
      raise CheckpointError(
        f"{self.place(name)} holds {info['dtype']}: quantized weights are not "
        "supported"
      )
    start, stop = info["data_offsets"]
    values = self._map(file)[start:stop].view(_DTYPES[info["dtype"]])
    return values.reshape(info["shape"])[index]

  def _names_in(self, file: str) -> frozenset[str]:
    return frozenset(self._open(file))

  def _map_file(self, file: str) -> np.ndarray:
    """Returns a file's bytes behind its header, read when they are used."""
    path = self._folder / file
    return np.memmap(path, np.uint8, "r", offset=_header_bytes(path))

  def _read_header(self, file: str) -> Mapping[str, Any]:
    """Returns the header of a file that the safetensors package accepts."""
    path = self._folder / file
    try:
      with safetensors.safe_open(path, framework="np"):
        return _header(path)
    except (OSError, safetensors.SafetensorError) as error:
      raise CheckpointError(
        f"{path} is missing, cut short or no safetensors file ({error})"
      ) from error

  def _locate(self) -> dict[str, str]:
    index = self._folder / INDEX
    if not index.exists():
      if not (self._folder / SINGLE).exists():
        raise CheckpointError(self._nothing())
      return dict.fromkeys(self._names_in(SINGLE), SINGLE)
    try:
      claimed = dict(json.loads(index.read_text())["weight_map"])
    except (ValueError, KeyError, TypeError) as error:
      raise CheckpointError(f"{index}: no weight_map ({error!r})") from error
    for name, file in claimed.items():
      self._check_claim(name, file)
    held = {
      name: file
      for file in sorted(set(claimed.values()))
      for name in self._names_in(file)
    }
    return held | claimed

  def _check_claim(self, name: str, file: Any) -> None:
    path = PurePosixPath(str(file))
    if path.is_absolute() or ".." in path.parts or "\\" in str(file):
      raise CheckpointError(
        f"{self._folder / INDEX}: tensor {name!r} is said to be in {file!r}, "
        "which leaves the folder"
      )
    if path.suffix != ".safetensors":
      raise CheckpointError(
        f"{self._folder / INDEX}: tensor {name!r} is said to be in {file!r}, "
        "which is no safetensors file"
      )
    try:
      names = self._names_in(file)
    except CheckpointError as error:
      raise CheckpointError(f"{error}; it should hold {name!r}") from error
    if name not in names:
      raise CheckpointError(
        f"{self._folder / file}: tensor {name!r} is missing from the file"
      )

  def _nothing(self) -> str:
    pickles = [p for glob in _PICKLES for p in self._folder.glob(glob)]
    if pickles:
      return (
        f"{pickles[0]} is a pickle, which can run code when it is read: "
        "convert it to safetensors first"
      )
    return f"{self._folder} holds neither {SINGLE} nor {INDEX}"
