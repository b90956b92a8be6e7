"""The device's side of sampling: jitted programs over slots and pages.

Every part of the data axes runs them on its own slots and its own pages, with
no talk between the parts; inside a part, weights and heads are split over the
tensor axis by XLA. Shapes never change, so a program compiles once for a
number of rows.
"""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any

from flax import struct
import jax
from jax.experimental import multihost_utils
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from jaxtyping import Array, Bool, Float, Int, UInt
import numpy as np

from jaxrl_entropy import sharding
from jaxrl_entropy.models import decoding
from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.models.decoding import Cache
from jaxrl_entropy.ops import paged_attention
from jaxrl_entropy.ops.paged_attention import View
from jaxrl_entropy.sampling import logits as logits_lib
from jaxrl_entropy.sampling.logits import AnyArray, Controls, Draw
from jaxrl_entropy.types import Params


@struct.dataclass
class Chunk:
  """Consecutive tokens of some prompts.

  Attributes:
    tokens: a prompt's tokens in each row, padded at the end.
    table: pages of each prompt.
    start: position of each row's first token.
    count: tokens of each row that are real.
  """

  tokens: Int[AnyArray, "R C"]
  table: Int[AnyArray, "R M"]
  start: Int[AnyArray, "R"]
  count: Int[AnyArray, "R"]


@struct.dataclass
class Copies:
  """Pages to copy; the first `count[0]` entries of a part are real."""

  source: Int[AnyArray, "B"]
  target: Int[AnyArray, "B"]
  count: Int[AnyArray, "1"]


@struct.dataclass
class Slots:
  """The sequences being decoded, one a slot.

  Attributes:
    token: the last token of the sequence, not yet in the cache.
    position: its position.
    budget: tokens to produce in this call; 0: an idle slot.
    seed: of the request.
    sample: which of the request's continuations.
    stop_ids: tokens that end the sequence; -1 in unused places.
    controls: sampling controls.
    table: pages of the sequence.
    patience: [1], leave when this many sequences have ended.
  """

  token: Int[AnyArray, "B"]
  position: Int[AnyArray, "B"]
  budget: Int[AnyArray, "B"]
  seed: UInt[AnyArray, "B"]
  sample: Int[AnyArray, "B"]
  stop_ids: Int[AnyArray, "B S"]
  controls: Controls
  table: Int[AnyArray, "B M"]
  patience: Int[AnyArray, "1"]

  @property
  def active(self) -> Bool[AnyArray, "B"]:
    return self.budget > 0


@struct.dataclass
class Produced:
  """What `decode` sampled; slot b holds `count[b]` tokens.

  Attributes:
    draws: tokens and their log-probs, [B, steps].
    count: tokens of each slot.
    stopped: the slot's last token is one of its stop ids.
  """

  draws: Draw
  count: Int[AnyArray, "B"]
  stopped: Bool[AnyArray, "B"]


@dataclasses.dataclass(frozen=True)
class Sizes:
  """Static sizes of the programs, all of one part of the data axes.

  Attributes:
    widths: numbers of slots that `decode` may be called with, ascending.
    pages: of the cache, the one for padding included.
    page_size: tokens a page holds.
    columns: pages of the longest sequence.
    chunk: tokens of a prompt in one call of `prefill`.
    fill_rows: prompts in one call of `prefill`.
    steps: tokens that a slot makes at most in one call of `decode`.
    stop_ids: stop ids a slot has room for.
    kernel: attend with the TPU kernel, on pages in its layout.
  """

  widths: tuple[int, ...]
  pages: int
  page_size: int
  columns: int
  chunk: int
  fill_rows: int
  steps: int
  stop_ids: int
  kernel: bool

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
      functools.partial(prefill, config=config), cache
    )
    self.decode = self._program(
      functools.partial(decode, config=config, steps=sizes.steps),
      (cache, self._rows),
    )
    self.copy_pages = self._program(copy_pages, cache)
    self._convert = functools.partial(
      decoding.weights, config=config, dtype=weight_dtype
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
    spec = sharding.param_spec(name, x.ndim + stacked)[stacked:]
    spec = P(*(axis if axis == "tensor" else None for axis in spec))
    return NamedSharding(mesh, sharding.fitting(spec, x.shape, mesh))

  return jax.tree_util.tree_map_with_path(place, weights)


def prefill(
  weights: Params, cache: Cache, chunk: Chunk, *, config: TransformerConfig
) -> Cache:
  """The cache with the chunk's tokens in it."""
  columns = paged_attention.columns(chunk.start, chunk.count, cache[0].size)
  columns = jax.lax.pmax(columns, sharding.ROWS)
  view = View(chunk.table, chunk.start, chunk.count, columns)
  _, cache = decoding.forward(weights, config, cache, chunk.tokens, view)
  return cache


def copy_pages(weights: None, cache: Cache, copies: Copies) -> Cache:
  """The cache with some pages copied, so that a sequence may write to them."""
  del weights
  count = copies.count[0]
  return tuple(
    paged_attention.copy(pages, copies.source, copies.target, count)
    for pages in cache
  )


def decode(
  weights: Params,
  cache: Cache,
  slots: Slots,
  *,
  config: TransformerConfig,
  steps: int,
) -> tuple[Cache, Produced]:
  """Up to `steps` tokens for every slot, fewer where slots fall idle.

  Leaves early when all have ended, or as many as the caller waits for.
  """
  started = slots.active.sum()

  def outlook(slots):
    """What the next step needs to know, equal on all parts.

    Loops must turn equally often everywhere: XLA may put collectives of the
    whole mesh into them.
    """
    left = slots.active.sum()
    columns = paged_attention.columns(
      slots.position, slots.active.astype(jnp.int32), cache[0].size
    )
    leave = started - left >= slots.patience[0]
    local = jnp.stack([left, leave.astype(left.dtype), columns])
    return jax.lax.pmax(local, sharding.ROWS)

  def unfinished(state):
    step, (left, leave, _), *_ = state
    return (step < steps) & (left > 0) & (leave == 0)

  def advance(state):
    step, (_, _, columns), cache, slots, produced = state
    active = slots.active
    view = View(slots.table, slots.position, active.astype(jnp.int32), columns)
    hidden, cache = decoding.forward(
      weights, config, cache, slots.token[:, None], view
    )
    drawn = logits_lib.draw(
      decoding.logits(weights, config, hidden[:, 0]),
      slots.controls,
      _uniforms(slots),
    )
    stopped = active & (drawn.token[:, None] == slots.stop_ids).any(axis=-1)
    produced = Produced(
      jax.tree.map(
        lambda made, new: made.at[:, step].set(new), produced.draws, drawn
      ),
      produced.count + active.astype(jnp.int32),
      produced.stopped | stopped,
    )
    slots = slots.replace(
      token=jnp.where(active, drawn.token, slots.token),
      position=slots.position + active.astype(jnp.int32),
      budget=jnp.where(active & ~stopped, slots.budget - 1, 0),
    )
    return step + 1, outlook(slots), cache, slots, produced

  state = (jnp.int32(0), outlook(slots), cache, slots, _nothing(slots, steps))
  _, _, cache, _, produced = jax.lax.while_loop(unfinished, advance, state)
  return cache, produced


def _nothing(slots: Slots, steps: int) -> Produced:
  rows = slots.token.shape[0]
  numbers = jnp.zeros((rows, steps))
  return Produced(
    Draw(jnp.zeros((rows, steps), jnp.int32), numbers, numbers, numbers),
    jnp.zeros(rows, jnp.int32),
    jnp.zeros(rows, bool),
  )


def _uniforms(slots: Slots) -> Float[Array, "B 2"]:
  """Random numbers that depend on the request, the sample and the position.

  And on nothing else: not on the slot, the neighbours, or how often the
  sequence was interrupted.
  """

  def row(seed, sample, position):
    key = jax.random.fold_in(jax.random.key(seed), sample)
    return jax.random.uniform(jax.random.fold_in(key, position), (2,))

  return jax.vmap(row)(slots.seed, slots.sample, slots.position)
