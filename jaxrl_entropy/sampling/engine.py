"""The sampler's programs, jitted over a mesh.

Each shard of the data axes runs them on its own slots and pages, without
communication between shards; within a shard XLA splits weights and heads over
the tensor axis. Shapes are static, so each bucket of rows compiles once.
"""

from collections.abc import Callable, Sequence
import dataclasses
import functools
import time
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
import numpy as np

from jaxrl_entropy import sharding
from jaxrl_entropy.models import decoding
from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.sampling import transfer
from jaxrl_entropy.sampling.decode import decode
from jaxrl_entropy.sampling.logits import BLOCK
from jaxrl_entropy.sampling.programs import copy_pages, prefill, read_routes
from jaxrl_entropy.types import Params


@dataclasses.dataclass(frozen=True)
class Sizes:
  """Static sizes of the programs, all per shard of the data axes.

  Attributes:
    batch_buckets: numbers of slots that `decode` is called with, ascending.
    pages: pages of the cache, including the one for padding.
    page_size: tokens per page.
    pages_per_sequence: pages of the longest sequence.
    chunk: tokens of a prompt in one row of `prefill`.
    prefill_buckets: numbers of rows that `prefill` is called with, ascending.
    steps: decoding steps per call of `decode`.
    stop_ids: stop ids that a slot has room for.
    pages_per_block: pages of a sequence attended to at one time.
    kernel: attend with the TPU kernel, on pages in its layout.
    transposed_kernels: see `layers.transposed_matmul`.
    draft_tokens: tokens of a draft; 0 turns drafts off.
    draft_bucket: largest bucket whose program drafts.
    routes: record the experts of each token.
  """

  batch_buckets: tuple[int, ...]
  pages: int
  page_size: int
  pages_per_sequence: int
  chunk: int
  prefill_buckets: tuple[int, ...]
  steps: int
  stop_ids: int
  pages_per_block: int
  kernel: bool
  transposed_kernels: bool
  draft_tokens: int
  draft_bucket: int
  routes: bool = False

  @property
  def slots(self) -> int:
    """Sequences that can be decoded at a time."""
    return self.batch_buckets[-1]

  @property
  def history_length(self) -> int:
    """Tokens of the longest sequence and of one draft after it."""
    return self.pages_per_sequence * self.page_size + self.draft_tokens + 1

  def drafts(self, bucket: int) -> bool:
    """Returns whether the decode program of this bucket drafts."""
    return self.draft_tokens > 0 and bucket <= self.draft_bucket


class Engine:
  """The compiled programs of one model on one mesh.

  Attributes:
    shards: shards of the data axes, each with its own slots and pages.
    local_shards: shards whose rows this process holds.
    compilations: number of compiled programs so far.
    transferred_bytes: of weights that came from other devices, all copies that
      this process holds.
    transferred_seconds: that this took.
  """

  def __init__(
    self,
    config: TransformerConfig,
    mesh: Mesh,
    sizes: Sizes,
    weight_dtype: str = "",
  ) -> None:
    """Creates the programs; they compile at their first call.

    Args:
      config: the model.
      mesh: the devices.
      sizes: static sizes of the programs.
      weight_dtype: storage dtype of the weights, see `decoding.weights`.
    """
    self._mesh = mesh
    self.compilations = 0
    self.transferred_bytes, self.transferred_seconds = 0, 0.0
    self.shards = sharding.row_parts(mesh)
    self._rows = sharding.row_sharding(mesh)
    indices = self._rows.addressable_devices_indices_map((self.shards,))
    self.local_shards = len({i[0].start for i in indices.values() if i})

    new_cache = functools.partial(
      decoding.init_cache,
      config,
      sizes.pages * self.shards,
      sizes.page_size,
      sizes.kernel,
      sizes.routes,
    )
    shapes = jax.eval_shape(new_cache)
    axis = shapes.layers[0].HEADS
    heads = P(sharding.ROWS, *(None,) * (axis - 1), "tensor")
    cache = shapes.replace(
      layers=jax.tree.map(
        lambda x: NamedSharding(mesh, sharding.fitting(heads, x.shape, mesh)),
        shapes.layers,
      ),
      routes=self._rows if sizes.routes else None,
    )
    self._cache_shapes = _with_shardings(shapes, cache)
    self.new_cache = jax.jit(new_cache, out_shardings=cache)
    self.prefill = self._program(
      functools.partial(
        prefill, config=config, pages_per_block=sizes.pages_per_block
      ),
      cache,
    )
    decode_with = functools.partial(
      decode,
      config=config,
      steps=sizes.steps,
      pages_per_block=sizes.pages_per_block,
      transposed_kernels=sizes.transposed_kernels,
    )
    self.decode, self.decode_with_drafts = (
      self._program(
        functools.partial(decode_with, drafts=drafts), (cache, self._rows)
      )
      for drafts in (0, sizes.draft_tokens)
    )
    self.copy_pages = self._program(copy_pages, cache)
    self.read_routes = self._program(read_routes, (cache, self._rows))
    tensor = mesh.shape["tensor"]
    self._convert = functools.partial(
      decoding.weights,
      config=config,
      dtype=weight_dtype,
      # Every shard of the vocabulary gets whole blocks.
      vocab_multiple=BLOCK * tensor if tensor > 1 else 1,
      transposed_kernels=sizes.transposed_kernels,
    )
    self._conversions: dict[Mesh, Callable[[Params], Params]] = {}

  def _program(self, function: Callable, out_shardings: Any) -> Callable:
    """Jits `function(weights, cache, rows)`, mapped over the shards."""
    rows = P(sharding.ROWS)

    def traced(weights: Params, *args: Any) -> Any:
      self.compilations += 1  # Python runs only while JAX traces.
      mapped = jax.shard_map(
        function,
        mesh=self._mesh,
        in_specs=(_mapped_weights(weights, self._mesh), rows, rows),
        out_specs=rows,
        axis_names=set(sharding.ROWS),
        check_vma=False,
      )
      return mapped(weights, *args)

    return jax.jit(traced, donate_argnums=1, out_shardings=out_shardings)

  def weights(self, params: Params) -> Params:
    """Copies a policy's parameters into the sampler's layout and dtype.

    Args:
      params: on the sampler's devices, or on a mesh of others.
    """
    source = self._other_mesh(params)
    if source is None:
      return self._conversion(params, self._mesh, _SPLIT)(params)
    start = time.perf_counter()
    with jax.set_mesh(source):
      staged = self._conversion(params, source, _ALL)(params)
    weights = transfer.transfer(
      staged, _weight_shardings(staged, self._mesh, _SPLIT)
    )
    self.transferred_seconds += time.perf_counter() - start
    self.transferred_bytes += transfer.local_bytes(weights)
    return weights

  def _conversion(
    self, params: Params, mesh: Mesh, axes: Sequence[Any]
  ) -> Callable[[Params], Params]:
    """Returns the jitted conversion whose results are split over `axes`."""
    if mesh not in self._conversions:
      shapes = jax.eval_shape(self._convert, params)
      self._conversions[mesh] = jax.jit(
        self._convert, out_shardings=_weight_shardings(shapes, mesh, axes)
      )
    return self._conversions[mesh]

  def _other_mesh(self, params: Params) -> Mesh | None:
    """Returns the mesh of the parameters if it has other devices."""
    where = getattr(jax.tree.leaves(params)[0], "sharding", None)
    mesh = where.mesh if isinstance(where, NamedSharding) else None
    if not isinstance(mesh, Mesh):
      return None
    own = set(self._mesh.devices.flat)
    return None if set(mesh.devices.flat) == own else mesh

  def _weight_shapes(self, params: Params) -> Any:
    shapes = jax.eval_shape(self._convert, params)
    shardings = _weight_shardings(shapes, self._mesh, _SPLIT)
    return _with_shardings(shapes, shardings)

  def shapes(self, params: Params, rows: Any) -> tuple[Any, Any, Any]:
    """Returns the argument shapes of a program, to compile it ahead of time.

    Args:
      params: the policy's parameters, or their shapes.
      rows: the program's rows for all shards, NumPy.

    Returns:
      Shapes with shardings of (weights, cache, rows).
    """
    row_shardings = jax.tree.map(lambda _: self._rows, rows)
    return (
      self._weight_shapes(params),
      self._cache_shapes,
      _with_shardings(rows, row_shardings),
    )

  def put(self, tree: Any) -> Any:
    """Puts this process's rows (NumPy, leading axis) on the mesh.

    Args:
      tree: NumPy arrays whose first axis has the rows of this process alone.
    """
    place = functools.partial(
      jax.make_array_from_process_local_data, self._rows
    )
    return jax.tree.map(place, tree)

  def fetch(self, tree: Any) -> Any:
    """Returns the rows of this process as NumPy arrays.

    Args:
      tree: arrays split over the data axes by their first axis.
    """

    def rows(x: jax.Array) -> np.ndarray:
      shards = {s.index[0].start or 0: s.data for s in x.addressable_shards}
      return np.concatenate([shards[start] for start in sorted(shards)])

    for leaf in jax.tree.leaves(tree):
      leaf.copy_to_host_async()
    return jax.tree.map(rows, tree)


def _with_shardings(shapes: Any, shardings: Any) -> Any:
  """Returns the shapes of a tree with these shardings."""
  return jax.tree.map(
    lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where),
    shapes,
    shardings,
  )


# The axes that weights are split over in training, and in the sampler.
_ALL = ("tensor", "fsdp", sharding.WEIGHTS, sharding.EXPERTS)
_SPLIT = ("tensor", sharding.EXPERTS)


def _weight_shardings(weights: Any, mesh: Mesh, axes: Sequence[Any]) -> Any:
  """Splits weights and experts as in training, over those axes alone."""

  def place(path: tuple[Any, ...], x: jax.ShapeDtypeStruct) -> NamedSharding:
    name = sharding.path_name(path)
    stacked = 1 if name.startswith("layers") else 0
    kernel = name.replace("transposed", "kernel")
    spec = sharding.param_spec(kernel, x.ndim + stacked)[stacked:]
    spec = spec if kernel == name else spec[::-1]
    spec = P(*(axis if axis in axes else None for axis in spec))
    return NamedSharding(mesh, sharding.fitting(spec, x.shape, mesh))

  return jax.tree_util.tree_map_with_path(place, weights)


def _mapped_weights(weights: Any, mesh: Mesh) -> Any:
  """Returns the specs over `sharding.ROWS`: only experts are split there."""

  def spec(where: NamedSharding) -> P:
    split = bool(where.spec) and "expert" in (where.spec[0] or ())
    return P("expert") if split else P()

  return jax.tree.map(spec, _weight_shardings(weights, mesh, _SPLIT))
