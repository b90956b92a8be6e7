"""Weights between files and the parameter tree.

Reads Hugging Face folders (safetensors only; nothing is ever executed) and
GGUF files; writes Hugging Face folders. Tensors stream one by one: the host
never holds a second copy of the model.
"""

from collections.abc import Mapping
import dataclasses
import functools
import json
import math
import operator
import os
from pathlib import Path
import re
import shutil
from typing import Any

import jax
from jax.experimental import multihost_utils
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding
import numpy as np

from jaxrl_entropy import sharding
from jaxrl_entropy.models import lora, transformer
from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.models.io import gguf_file, hf_config, safetensors_folder
from jaxrl_entropy.models.io.gguf_tensors import GgufTensors, gguf_config
from jaxrl_entropy.models.io.names import Stored, stored
from jaxrl_entropy.models.io.safetensors_folder import (
  INDEX,
  SINGLE,
  SafetensorsFolder,
)
from jaxrl_entropy.models.io.sources import CheckpointError, TensorSource
from jaxrl_entropy.types import Params

# Constants that old files carry as tensors.
_HARMLESS = re.compile(
  r"(model\.layers\.\d+\.self_attn|model)\.rotary_emb\.inv_freq$"
)
_COMPANIONS = (
  "tokenizer.json",
  "tokenizer_config.json",
  "tokenizer.model",
  "special_tokens_map.json",
  "added_tokens.json",
  "vocab.json",
  "merges.txt",
  "chat_template.jinja",
  "generation_config.json",
)
_TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")


def load(
  path: str | os.PathLike[str],
  mesh: Mesh | None = None,
  dtype: str = "float32",
) -> tuple[TransformerConfig, Params]:
  """Reads a model's configuration and parameters.

  Args:
    path: a Hugging Face folder (config.json and safetensors) or a .gguf file.
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
  """The configuration alone; arguments and errors as `load`."""
  path = Path(path)
  if path.suffix == ".gguf":
    return gguf_config(gguf_file.open_gguf(path))
  return hf_config.from_hf(_read_json(path / "config.json"))


def save(
  folder: str | os.PathLike[str],
  config: TransformerConfig,
  params: Params,
  *,
  token_ids: Mapping[str, Any] | None = None,
  dtype: str | None = None,
  shard_bytes: int = 4 << 30,
) -> None:
  """Writes a Hugging Face folder that `transformers` loads.

  Low-rank adapters are merged. In a multi-process job every process must call
  this; the first one writes.

  Args:
    folder: made if need be; must not hold weights already.
    config: the model.
    params: its parameters, sharded in any way.
    token_ids: `bos_token_id` and the like, for config.json.
    dtype: of the files; None: as the parameters are.
    shard_bytes: size above which the weights are split over several files.

  Raises:
    UnsupportedConfigError: if no Hugging Face model type can express it.
    FileExistsError: if the folder already holds safetensors.
  """
  folder = Path(folder)
  described = hf_config.to_hf(config)
  if any(folder.glob("*.safetensors")):
    raise FileExistsError(f"{folder} already holds weights: choose another")
  params = lora.merged(params)
  kind = jnp.dtype(dtype or params["final_norm"]["scale"].dtype)
  views = _views(params, config)
  shards = _plan_shards(views, kind.itemsize, shard_bytes)
  writes = jax.process_index() == 0
  if writes:
    folder.mkdir(parents=True, exist_ok=True)
    described |= {"torch_dtype": kind.name, **(token_ids or {})}
    _write_json(folder / "config.json", described)
  for file, tensors in shards.items():
    # Every process takes part in fetching.
    safetensors_folder.write(
      folder / file if writes else Path(os.devnull),
      kind,
      {name: view.shape for name, view in tensors.items()},
      (view.fetch() for view in tensors.values()),
    )
  if writes and len(shards) > 1:
    _write_json(folder / INDEX, _index(shards, kind.itemsize))


def copy_companions(
  source: str | os.PathLike[str], folder: str | os.PathLike[str]
) -> dict[str, Any]:
  """Copies a Hugging Face folder's tokenizer and generation settings.

  Returns:
    The special token ids of its config.json.
  """
  source, folder = Path(source), Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  for name in _COMPANIONS:
    if (source / name).exists():
      shutil.copyfile(source / name, folder / name)
  given = _read_json(source / "config.json")
  return {key: given[key] for key in _TOKEN_IDS if key in given}


def _source(path: Path) -> TensorSource:
  if path.suffix == ".gguf":
    return GgufTensors(gguf_file.open_gguf(path))
  return SafetensorsFolder(path)


def _check_names(
  source: TensorSource, config: TransformerConfig, shapes: Any
) -> None:
  """Every tensor is there, and none that would be dropped."""
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
  """Reads one leaf, layer by layer straight to its devices."""
  kept = stored(path, leaf, config)
  if () in kept.names:
    return _read_array(source, kept, (), leaf.shape, dtype, where)
  layer_sharding = _drop_leading(where)
  stack = jnp.zeros(leaf.shape, dtype, device=where)
  for layer in range(leaf.shape[0]):
    array = _read_array(
      source, kept, (layer,), leaf.shape[1:], dtype, layer_sharding
    )
    stack = _set_layer(stack, array, layer)
  return jax.block_until_ready(stack)


def _read_array(
  source: TensorSource,
  kept: Stored,
  place: tuple[int, ...],
  shape: tuple[int, ...],
  dtype: np.dtype,
  where: Sharding,
) -> jax.Array:
  """Reads the part of a leaf at `place` in its leading axes."""
  if place in kept.names:
    name = kept.names[place]

    def part(index: tuple[slice, ...] | None) -> np.ndarray:
      assert index is not None
      return _read_part(source, kept, name, shape, index).astype(
        dtype, order="C"
      )

    return jax.make_array_from_callback(shape, where, part)

  def experts(index: tuple[slice, ...] | None) -> np.ndarray:
    assert index is not None
    chosen = range(*index[0].indices(shape[0]))
    parts = [
      _read_part(source, kept, kept.names[*place, i], shape[1:], index[1:])
      for i in chosen
    ]
    return np.stack(parts).astype(dtype, order="C")

  return jax.make_array_from_callback(shape, where, experts)


def _read_part(
  source: TensorSource,
  kept: Stored,
  name: str,
  shape: tuple[int, ...],
  index: tuple[slice, ...],
) -> np.ndarray:
  """Reads a slice of one tensor, in our order of axes.

  Args:
    source: the file.
    kept: how the leaf is stored.
    name: of the tensor.
    shape: of the leaf's part that the tensor holds.
    index: the slice of that part.
  """
  whole = shape[::-1] if kept.transposed else shape
  _check_shape(source, name, (kept.rows or whole[0], *whole[1:]))
  first, *others = index[::-1] if kept.transposed else index
  start, stop, _ = first.indices(whole[0])
  rows = slice(kept.start + start, kept.start + stop)
  values = source.read(name, (rows, *others))
  if not jnp.issubdtype(values.dtype, jnp.floating):
    raise CheckpointError(
      f"{source.place(name)} holds {values.dtype}: quantised weights are "
      "not supported"
    )
  if not np.isfinite(values).all():
    raise CheckpointError(f"{source.place(name)} holds NaN or infinity")
  return values.T if kept.transposed else values


@functools.partial(jax.jit, donate_argnums=0)
def _set_layer(stack: jax.Array, tensor: jax.Array, layer: int) -> jax.Array:
  return jax.lax.dynamic_update_index_in_dim(stack, tensor, layer, axis=0)


def _drop_leading(where: Sharding) -> Sharding:
  if isinstance(where, NamedSharding):
    return NamedSharding(where.mesh, PartitionSpec(*where.spec[1:]))
  return where


def _check_shape(
  source: TensorSource, name: str, shape: tuple[int, ...]
) -> None:
  if source.shape(name) != shape:
    raise CheckpointError(
      f"{source.place(name)} has shape {source.shape(name)}, the config says "
      f"{shape}"
    )


@dataclasses.dataclass(frozen=True)
class _View:
  """A stored tensor as parts of leaves, one behind the other.

  Attributes:
    leaves: whose rows make up the tensor, in order.
    place: of the tensor in the leaves' leading axes.
    transposed: whether it is stored transposed.
  """

  leaves: tuple[jax.Array, ...]
  place: tuple[int, ...]
  transposed: bool

  @property
  def shape(self) -> tuple[int, ...]:
    """The shape as stored."""
    shapes = [leaf.shape[len(self.place) :] for leaf in self.leaves]
    if self.transposed:
      shapes = [shape[::-1] for shape in shapes]
    return (sum(shape[0] for shape in shapes), *shapes[0][1:])

  def fetch(self) -> np.ndarray:
    """Copies the tensor to the host; every process of a job takes part."""
    parts = [self._fetch(leaf) for leaf in self.leaves]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)

  def _fetch(self, leaf: jax.Array) -> np.ndarray:
    part = leaf[self.place] if self.place else leaf
    if not part.is_fully_addressable:
      part = multihost_utils.process_allgather(part, tiled=True)
    values = np.asarray(part)
    return values.T if self.transposed else values


def _views(params: Params, config: TransformerConfig) -> dict[str, _View]:
  """The stored tensors of a model, by name."""
  members: dict[str, list[tuple[int, jax.Array]]] = {}
  layouts: dict[str, tuple[tuple[int, ...], bool]] = {}
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    kept = stored(path, leaf, config)
    for place, name in kept.names.items():
      members.setdefault(name, []).append((kept.start, leaf))
      layouts[name] = place, kept.transposed
  return {
    name: _View(
      tuple(leaf for _, leaf in sorted(parts, key=operator.itemgetter(0))),
      *layouts[name],
    )
    for name, parts in members.items()
  }


def _plan_shards(
  views: Mapping[str, _View], itemsize: int, shard_bytes: int
) -> dict[str, dict[str, _View]]:
  """Returns the tensors of each file, in order; files are filled up."""
  shards: list[dict[str, _View]] = [{}]
  room = shard_bytes
  for name, view in views.items():
    size = math.prod(view.shape) * itemsize
    if size > room and shards[-1]:
      shards.append({})
      room = shard_bytes
    shards[-1][name] = view
    room -= size
  if len(shards) == 1:
    return {SINGLE: shards[0]}
  return {
    f"model-{i:05d}-of-{len(shards):05d}.safetensors": shard
    for i, shard in enumerate(shards, 1)
  }


def _index(
  shards: Mapping[str, Mapping[str, _View]], itemsize: int
) -> dict[str, Any]:
  """Returns the index file of the shards."""
  sizes = [
    math.prod(view.shape)
    for shard in shards.values()
    for view in shard.values()
  ]
  return {
    "metadata": {"total_size": sum(sizes) * itemsize},
    "weight_map": {n: file for file, names in shards.items() for n in names},
  }


def _read_json(path: Path) -> dict[str, Any]:
  try:
    content = json.loads(path.read_text())
  except ValueError as error:
    raise CheckpointError(f"{path} is no JSON: {error}") from error
  if not isinstance(content, dict):
    raise CheckpointError(f"{path} is no JSON object")
  return content


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
  path.write_text(json.dumps(content, indent=2) + "\n")
