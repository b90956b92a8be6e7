"""Reads models from Hugging Face folders and GGUF files.

Of a folder only safetensors are read, and nothing is ever executed. A few
layers of one leaf are read at a time, their tensors in parallel and each
device's slices alone: the host never holds a copy of the model.
"""

from collections.abc import Callable
import concurrent.futures
import functools
import json
import math
import os
from pathlib import Path
import re
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, Sharding
import numpy as np

from jaxrl_entropy import sharding
from jaxrl_entropy.models import transformer
from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.models.io import gguf_file, hf_config
from jaxrl_entropy.models.io.gguf_config import gguf_config
from jaxrl_entropy.models.io.gguf_tensors import GgufTensors
from jaxrl_entropy.models.io.names import Stored, stored
from jaxrl_entropy.models.io.safetensors_folder import SafetensorsFolder
from jaxrl_entropy.models.io.sources import (
  CheckpointError,
  Index,
  TensorSource,
)
from jaxrl_entropy.models.io.text_part import TextPart, is_multimodal
from jaxrl_entropy.types import Params

LAYERS_BYTES = 256 << 20
"""Layers of a leaf that are read together: this much, but at least one."""

READERS = concurrent.futures.ThreadPoolExecutor(8, "weights")

# Constants that old files carry as tensors.
_HARMLESS = re.compile(
  r"(model\.layers\.\d+\.self_attn|model)\.rotary_emb\.inv_freq$"
)


def load(
  path: str | os.PathLike[str],
  mesh: Mesh | None = None,
  dtype: str = "float32",
) -> tuple[TransformerConfig, Params]:
  """Reads a model's configuration and parameters.

  Args:
    path: a Hugging Face folder (config.json and safetensors) or a .gguf file.
      Of a multimodal model the text model is read.
    mesh: where the parameters go, by `sharding.PARAM_RULES`; None: the default
      device.
    dtype: of the parameters.

  Raises:
    FileNotFoundError: if there is no such folder or file.
    UnsupportedConfigError: if the model is not one that this decoder computes.
    CheckpointError: if a file or tensor is missing, corrupt, mis-shaped, not
      finite, or one too many; it names the file and the tensor.
  """
  path = Path(path)
  config = read_config(path)
  source = _source(path)
  shapes = jax.eval_shape(
    functools.partial(transformer.init, config), jax.random.key(0)
  )
  _check_names(source, config, shapes)
  if mesh is None:
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    shardings = jax.tree.map(lambda _: here, shapes)
  else:
    shardings = sharding.param_shardings(shapes, mesh)
  read = functools.partial(_read_leaf, source, config, jnp.dtype(dtype))
  return config, jax.tree_util.tree_map_with_path(read, shapes, shardings)


def read_config(path: str | os.PathLike[str]) -> TransformerConfig:
  """Reads a model's configuration alone, with the errors of `load`.

  Args:
    path: a Hugging Face folder with a config.json, or a .gguf file.
  """
  path = Path(path)
  if path.suffix == ".gguf":
    return gguf_config(gguf_file.open_gguf(path))
  return hf_config.from_hf(read_json(path / "config.json"))


def _source(path: Path) -> TensorSource:
  if path.suffix == ".gguf":
    return GgufTensors(gguf_file.open_gguf(path))
  folder = SafetensorsFolder(path)
  return TextPart(folder) if is_multimodal(folder.names()) else folder


def _check_names(
  source: TensorSource, config: TransformerConfig, shapes: Any
) -> None:
  """Checks that every tensor is there, and none that would be dropped."""
  leaves = jax.tree_util.tree_leaves_with_path(shapes)
  wanted = {
    name for leaf in leaves for name in stored(*leaf, config).names.values()
  }
  missing = sorted(wanted - source.names())
  if missing:
    raise CheckpointError(f"{source.place(missing[0])} is missing")
  for name in sorted(source.names() - wanted):
    tied = name == "lm_head.weight" and config.tie_embeddings
    if tied and not _same(source, name, "model.embed_tokens.weight"):
      raise CheckpointError(
        f"{source.place(name)} differs from the embedding, but the config ties "
        "them (tie_word_embeddings)"
      )
    if not tied and not _HARMLESS.match(name):
      raise CheckpointError(f"{source.place(name)} has no place in this model")


def _same(source: TensorSource, first: str, second: str) -> bool:
  shape = source.shape(first)
  everything = (slice(None),) * len(shape)
  return shape == source.shape(second) and np.array_equal(
    source.read(first, everything), source.read(second, everything)
  )


def _read_leaf(
  source: TensorSource,
  config: TransformerConfig,
  dtype: np.dtype,
  path: tuple[Any, ...],
  leaf: jax.ShapeDtypeStruct,
  where: Sharding,
) -> jax.Array:
  """Reads one leaf, a few layers at a time, straight to its devices."""
  kept = stored(path, leaf, config)
  read = functools.partial(_read_array, source, kept, dtype)
  if () in kept.names:
    return read(leaf.shape, 0, where)
  layers, *shape = leaf.shape
  at_once = max(LAYERS_BYTES // (math.prod(shape) * dtype.itemsize), 1)
  stack = jnp.zeros(leaf.shape, dtype, device=where)
  for first in range(0, layers, at_once):
    count = min(at_once, layers - first)
    array = read((count, *shape), first, where)
    stack = _set_layers(stack, array, first)
  return jax.block_until_ready(stack)


def _read_array(
  source: TensorSource,
  kept: Stored,
  dtype: np.dtype,
  shape: tuple[int, ...],
  first: int,
  where: Sharding,
) -> jax.Array:
  """Reads an array of one or more tensors, several of them in parallel.

  Args:
    source: the files.
    kept: how the leaf is stored.
    dtype: to convert it to.
    shape: of the array: the leaf's, of some of its layers.
    first: the first of these layers.
    where: its sharding.
  """
  leading = len(next(iter(kept.names)))

  def read_slice(index: Index) -> np.ndarray:
    bounds = [
      axis.indices(size)[:2] for axis, size in zip(index, shape, strict=True)
    ]
    out = np.empty([stop - start for start, stop in bounds], dtype)
    starts = [start for start, _ in bounds[:leading]]
    starts[:1] = [start + first for start in starts[:1]]

    def read(place: tuple[int, ...]) -> None:
      name = kept.names[tuple(np.add(starts, place).tolist())]
      inner = shape[leading:], index[leading:]
      _read_part(source, kept, name, *inner, out[place])

    list(READERS.map(read, np.ndindex(out.shape[:leading])))
    return out

  return jax.make_array_from_callback(shape, where, _once(read_slice))


def _once(
  read: Callable[[Index], np.ndarray],
) -> Callable[[Index | None], np.ndarray]:
  """Returns `read` for JAX, which asks again for each device of a slice."""
  slices: dict[tuple[tuple[int, int], ...], np.ndarray] = {}

  def cached(index: Index | None) -> np.ndarray:
    assert index is not None
    key = tuple((axis.start, axis.stop) for axis in index)
    if key not in slices:
      slices[key] = read(index)
    return slices[key]

  return cached


def _read_part(
  source: TensorSource,
  kept: Stored,
  name: str,
  shape: tuple[int, ...],
  index: Index,
  out: np.ndarray,
) -> None:
  """Reads a slice of one tensor, in our order of axes, and checks it.

  Args:
    source: the file.
    kept: how the leaf is stored.
    name: of the tensor.
    shape: of the leaf's part that the tensor holds.
    index: the slice of that part.
    out: gets the values, in its dtype.
  """
  whole = shape[::-1] if kept.transposed else shape
  _check_shape(source, name, (kept.rows or whole[0], *whole[1:]))
  first, *others = index[::-1] if kept.transposed else index
  start, stop, _ = first.indices(whole[0])
  rows = slice(kept.start + start, kept.start + stop)
  values = source.read(name, (rows, *others))
  _convert(values.T if kept.transposed else values, out)
  # Converted first: NumPy checks float32 faster than bfloat16.
  if not np.isfinite(out).all():
    raise CheckpointError(f"{source.place(name)} holds NaN or infinity")


def _convert(values: np.ndarray, out: np.ndarray) -> None:
  """Copies `values` to `out`; bfloat16 by its bits, without Python's lock."""
  if values.dtype != jnp.bfloat16 or out.dtype not in (jnp.bfloat16, "f4"):
    out[...] = values
  elif out.dtype == jnp.bfloat16:
    out.view(np.uint16)[...] = values.view(np.uint16)
  else:
    bits = out.view(np.uint32)
    bits[...] = values.view(np.uint16)
    bits <<= 16


@functools.partial(jax.jit, donate_argnums=0)
def _set_layers(stack: jax.Array, layers: jax.Array, first: int) -> jax.Array:
  return jax.lax.dynamic_update_slice_in_dim(stack, layers, first, axis=0)


def _check_shape(
  source: TensorSource, name: str, shape: tuple[int, ...]
) -> None:
  if source.shape(name) != shape:
    raise CheckpointError(
      f"{source.place(name)} has shape {source.shape(name)}, the config says "
      f"{shape}"
    )


def read_json(path: Path) -> dict[str, Any]:
  """Reads a file that holds a JSON object.

  Raises:
    CheckpointError: if it holds anything else.
  """
  try:
    content = json.loads(path.read_text())
  except ValueError as error:
    raise CheckpointError(f"{path} is no JSON: {error}") from error
  if not isinstance(content, dict):
    raise CheckpointError(f"{path} is no JSON object")
  return content
