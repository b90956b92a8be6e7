"""Writes Hugging Face folders.

Tensors are fetched and written one by one: the host never holds a second copy
of the model.
"""

from collections.abc import Mapping
import dataclasses
import json
import math
import operator
import os
from pathlib import Path
import shutil
from typing import Any

import jax
from jax.experimental import multihost_utils
import jax.numpy as jnp
import numpy as np

from jaxrl_entropy.models import lora
from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.models.io import hf_config, safetensors_folder
from jaxrl_entropy.models.io.checkpoints import read_json
from jaxrl_entropy.models.io.names import stored
from jaxrl_entropy.models.io.safetensors_folder import INDEX, SINGLE
from jaxrl_entropy.types import Params

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

  Args:
    source: a Hugging Face folder; all but its config.json may be missing.
    folder: where they are copied to; made if need be.

  Returns:
    The special token ids of its config.json.
  """
  source, folder = Path(source), Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  for name in _COMPANIONS:
    if (source / name).exists():
      shutil.copyfile(source / name, folder / name)
  config = read_json(source / "config.json")
  return {key: config[key] for key in _TOKEN_IDS if key in config}


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
    tensors = [self._fetch(leaf) for leaf in self.leaves]
    return tensors[0] if len(tensors) == 1 else np.concatenate(tensors)

  def _fetch(self, leaf: jax.Array) -> np.ndarray:
    array = leaf[self.place] if self.place else leaf
    if not array.is_fully_addressable:
      array = multihost_utils.process_allgather(array, tiled=True)
    values = np.asarray(array)
    return values.T if self.transposed else values


def _views(params: Params, config: TransformerConfig) -> dict[str, _View]:
  """Returns the stored tensors of a model, by name."""
  members: dict[str, list[tuple[int, jax.Array]]] = {}
  layouts: dict[str, tuple[tuple[int, ...], bool]] = {}
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    kept = stored(path, leaf, config)
    for place, name in kept.names.items():
      members.setdefault(name, []).append((kept.start, leaf))
      layouts[name] = place, kept.transposed
  return {
    name: _View(
      tuple(leaf for _, leaf in sorted(leaves, key=operator.itemgetter(0))),
      *layouts[name],
    )
    for name, leaves in members.items()
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


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
  path.write_text(json.dumps(content, indent=2) + "\n")
