"""The sampler's programs, jitted over a mesh.

Every part of the data axes runs them on its own slots and its own pages, with
no talk between the parts; inside a part, weights and heads are split over the
tensor axis by XLA. Shapes never change, so a program compiles once for a
number of rows.
"""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any

import jax
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
import numpy as np

from jaxrl_entropy import sharding
from jaxrl_entropy.models import decoding
from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.sampling.logits import BLOCK
from jaxrl_entropy.sampling.programs import copy_pages, decode, prefill
from jaxrl_entropy.types import Params


@dataclasses.dataclass(frozen=True)
class Sizes:
  """Static sizes of the programs, all of one part of the data axes.

  Attributes:
    widths: numbers of slots that `decode` may be called with, ascending.
    pages: of the cache, the one for padding included.
    page_size: tokens a page holds.
    columns: pages of the longest sequence.
    chunk: tokens of a prompt in one row of `prefill`.
    fill_widths: numbers of rows that `prefill` may be called with, ascending.
    steps: tokens that a slot makes at most in one call of `decode`.
    stop_ids: stop ids a slot has room for.
    span: pages of a sequence attended to at one time.
    kernel: attend with the TPU kernel, on pages in its layout.
    weights_first: see `layers.weights_first`.
  """

  widths: tuple[int, ...]
  pages: int
  page_size: int
  columns: int
  chunk: int
  fill_widths: tuple[int, ...]
  steps: int
  stop_ids: int
  span: int
  kernel: bool
  weights_first: bool

  @property
  def slots(self) -> int:
    return self.widths[-1]


class Engine:
  """The compiled programs of one model on one mesh.

  Attributes:
    parts: of the data axes, each with its own slots and pages.
    local_parts: those whose rows this process holds.
    compilations: how often a program was compiled for new shapes.
  """

  def __init__(
    self,
    config: TransformerConfig,
    mesh: Mesh,
    sizes: Sizes,
    weight_dtype: str = "",
  ):
    """Args: weight_dtype: of its copy of the weights, see decoding.weights."""
    self._mesh = mesh
    self.compilations = 0
    self.parts = mesh.shape["data"] * mesh.shape["fsdp"]
    self._rows = sharding.row_sharding(mesh)
    held = self._rows.addressable_devices_indices_map((self.parts,))
    self.local_parts = len({rows[0].start for rows in held.values() if rows})

    new_cache = functools.partial(
      decoding.init_cache,
      config,
      sizes.pages * self.parts,
      sizes.page_size,
      sizes.kernel,
    )
    shapes = jax.eval_shape(new_cache)
    heads = P(sharding.ROWS, *(None,) * (shapes[0].HEADS - 1), "tensor")
    cache = jax.tree.map(
      lambda x: NamedSharding(mesh, sharding.fitting(heads, x.shape, mesh)),
      shapes,
    )
    self._cache_shapes = _placed(shapes, cache)
    self.new_cache = jax.jit(new_cache, out_shardings=cache)
    self.prefill = self._program(
      functools.partial(prefill, config=config, span=sizes.span), cache
    )
    self.decode = self._program(
      functools.partial(
        decode,
        config=config,
        steps=sizes.steps,
        span=sizes.span,
        weights_first=sizes.weights_first,
      ),
      (cache, self._rows),
    )
    self.copy_pages = self._program(copy_pages, cache)
    tensor = mesh.shape["tensor"]
    self._convert = functools.partial(
      decoding.weights,
      config=config,
      dtype=weight_dtype,
      # Every part of the vocabulary has whole blocks.
      vocabulary=BLOCK * tensor if tensor > 1 else 1,
      weights_first=sizes.weights_first,
    )
    self._copy: Callable[[Params], Params] | None = None

  def _program(self, function: Callable, out_shardings: Any) -> Callable:
    """`function(weights, cache, rows)` on each part with its own rows."""
    part = P(sharding.ROWS)
    mapped = jax.shard_map(
      function,
      mesh=self._mesh,
      in_specs=(P(), part, part),
      out_specs=part,
      axis_names=set(sharding.ROWS),
      check_vma=False,
    )

    def traced(*args: Any) -> Any:
      self.compilations += 1  # Python runs only while JAX traces.
      return mapped(*args)

    return jax.jit(traced, donate_argnums=1, out_shardings=out_shardings)

  def weights(self, params: Params) -> Params:
    """The sampler's copy of a policy's parameters, in its own layout."""
    if self._copy is None:
      placed = self._weight_shapes(params)
      self._copy = jax.jit(
        self._convert,
        out_shardings=jax.tree.map(lambda x: x.sharding, placed),
      )
    return self._copy(params)

  def _weight_shapes(self, params: Params) -> Any:
    shapes = jax.eval_shape(self._convert, params)
    return _placed(shapes, _weight_shardings(shapes, self._mesh))

  def shapes(self, params: Params, rows: Any) -> tuple[Any, Any, Any]:
    """What a program is called with, without the numbers, to compile it ahead.

    Args:
      params: the policy's, or their shapes.
      rows: a program's rows, NumPy, for all parts.

    Returns:
      Shapes with shardings of (weights, cache, rows).
    """
    everywhere = jax.tree.map(lambda _: self._rows, rows)
    return (
      self._weight_shapes(params),
      self._cache_shapes,
      _placed(rows, everywhere),
    )

  def agree(self, value: int) -> int:
    """The largest value that any process of the job has; all must ask."""
    if jax.process_count() == 1:
      return value
    return int(multihost_utils.process_allgather(np.int32(value)).max())

  def put(self, tree: Any) -> Any:
    """This process's rows (NumPy, leading axis) as arrays over the mesh."""
    place = functools.partial(
      jax.make_array_from_process_local_data, self._rows
    )
    return jax.tree.map(place, tree)

  def fetch(self, tree: Any) -> Any:
    """The rows of this process, as NumPy."""

    def rows(x: jax.Array) -> np.ndarray:
      parts = {s.index[0].start or 0: s.data for s in x.addressable_shards}
      return np.concatenate([parts[start] for start in sorted(parts)])

    for leaf in jax.tree.leaves(tree):
      leaf.copy_to_host_async()
    return jax.tree.map(rows, tree)


def _placed(shapes: Any, shardings: Any) -> Any:
  """Shapes (or arrays' shapes) with these shardings."""
  return jax.tree.map(
    lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where),
    shapes,
    shardings,
  )


def _weight_shardings(weights: Any, mesh: Mesh) -> Any:
  """Split over tensor as the parameters are; whole on the other axes."""

  def place(path: tuple[Any, ...], x: jax.ShapeDtypeStruct) -> NamedSharding:
    name = sharding.path_name(path)
    stacked = 1 if name.startswith("layers") else 0
    kernel = name.replace("transposed", "kernel")
    spec = sharding.param_spec(kernel, x.ndim + stacked)[stacked:]
    spec = spec if kernel == name else spec[::-1]
    spec = P(*(axis if axis == "tensor" else None for axis in spec))
    return NamedSharding(mesh, sharding.fitting(spec, x.shape, mesh))

  return jax.tree_util.tree_map_with_path(place, weights)
