"""Chooses the attention kernels of a run by trying them on its devices.

No kernel is trusted because it should work: at start each is compared with
XLA's result on the run's own shapes, timed, and used where it is right and
faster. Where nothing but XLA could run, as on CPU, nothing is tried.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec as P

from jaxrl_entropy import distributed, sharding
from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.ops.attention import dispatch, paged, ragged, trials
from jaxrl_entropy.ops.attention.paged import Pages, View
from jaxrl_entropy.ops.attention.ragged import RaggedPages
from jaxrl_entropy.sampling import tuning as tuning_lib
from jaxrl_entropy.sampling.tuning import Tuning
from jaxrl_entropy.training.forward import Forward

MOST_SLOTS = 16
"""Sequences of a shard in a trial: each holds keys for the longest one."""

Cases = Mapping[int, tuple[Mapping[str, Callable[..., Any]], tuple[Any, ...]]]


def tried_forward(
  forward: Forward, mesh: Mesh, rows: int, length: int
) -> Forward:
  """Returns the forward pass with the attention that is right and fastest.

  The back-end "auto" becomes "xla" where the platform's kernel is wrong or
  slow. All processes of a job must call this.

  Args:
    forward: the pass.
    mesh: where it runs.
    rows: of one micro-batch.
    length: tokens of a row.
  """
  model = forward.model
  shape = rows, length, model.num_heads, model.head_dim
  q = jax.ShapeDtypeStruct(shape, model.dtype)
  with jax.set_mesh(mesh):
    kernel = dispatch.platform_backend(q, model.attention_softcap)
    if forward.attention != "auto" or kernel == "xla":
      return forward
    chosen = _choose(
      {
        window: (
          _training(("xla", kernel), model, window),
          _packed(model, mesh, shape),
        )
        for window in sorted(set(model.windows))
      },
      f"attention over {rows} rows of {length} tokens",
    )
  if chosen == "xla":
    return dataclasses.replace(forward, attention="xla")
  # "auto" is the kernel, but XLA for rows that it cannot compute.
  return forward


def _training(
  backends: Sequence[str], model: TransformerConfig, window: int
) -> dict[str, Callable[..., Any]]:
  """Returns each back-end's attention with its gradients, by name."""

  def gradients(
    backend: str,
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    segments: jax.Array,
    cotangent: jax.Array,
  ) -> Any:
    real = (segments > 0)[..., None, None]

    def attend(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
      mixed = dispatch.attend(
        *(q, k, v, segments, window, backend), model.attention_softcap
      )
      return jnp.where(real, mixed, 0)  # Padding may hold anything.

    mixed, backward = jax.vjp(attend, q, k, v)
    return mixed, backward(cotangent)

  return {
    backend: functools.partial(gradients, backend) for backend in backends
  }


def _packed(
  model: TransformerConfig, mesh: Mesh, shape: tuple[int, ...]
) -> tuple[jax.Array, ...]:
  """Returns random queries, keys, values, segments and a cotangent."""
  rows, length, heads, dim = shape

  def make() -> tuple[jax.Array, ...]:
    keys = jax.random.split(jax.random.key(0), 4)
    q, k, v, cotangent = (
      jax.random.normal(key, (rows, length, count, dim), model.dtype)
      for key, count in zip(
        keys, (heads, *(model.num_kv_heads,) * 2, heads), strict=True
      )
    )
    # Two sequences and padding.
    segments = jnp.searchsorted(
      jnp.array([length // 3, length - length // 8]),
      jnp.arange(length),
      side="right",
    )
    segments = jnp.broadcast_to((segments + 1) % 3, (rows, length))
    return q, k, v, segments.astype(jnp.int32), cotangent

  where = jax.NamedSharding(mesh, P(sharding.ROWS, "context"))
  return jax.jit(make, out_shardings=where)()


def tried_tuning(
  model: TransformerConfig, mesh: Mesh, slots: int, length: int
) -> Tuning:
  """Returns the sampler's sizes, with the kernel where it is right and faster.

  All processes of a job must call this.

  Args:
    model: the decoder.
    mesh: where it is sampled.
    slots: sequences decoded at a time, on the whole mesh.
    length: tokens of the longest sequence.
  """
  tuning = tuning_lib.for_mesh(mesh)
  platform = mesh.devices.flat[0].platform
  if platform != "tpu" or not ragged.supports(
    model.head_dim, model.num_kv_heads, mesh
  ):
    return tuning
  kinds = {"xla": Pages, "kernel": RaggedPages}
  shards = sharding.row_parts(mesh)
  sizes = min(-(-slots // shards), MOST_SLOTS), length, tuning
  with jax.set_mesh(mesh):
    chosen = _choose(
      {
        window: decoding_case(kinds, model, mesh, *sizes, window)
        for window in sorted(set(model.windows))
      },
      f"attention to {length} cached tokens",
    )
  return dataclasses.replace(tuning, kernel=chosen == "kernel")


def decoding_case(
  kinds: Mapping[str, Any],
  model: TransformerConfig,
  mesh: Mesh,
  slots: int,
  length: int,
  tuning: Tuning,
  window: int,
) -> tuple[dict[str, Callable[..., Any]], tuple[Any, ...]]:
  """Returns functions that write and read pages of each kind, and their inputs.

  Args:
    kinds: classes with the methods of `paged.Pages`, by name.
    model: the decoder.
    mesh: its devices.
    slots: of each shard of the rows.
    length: tokens of a sequence.
    tuning: the sampler's sizes.
    window: of the attention; 0: none.
  """
  size, shards = tuning.page_size, sharding.row_parts(mesh)
  pages_per_sequence = -(-length // size)
  chunk = min(tuning.chunk, length - 1)
  heads, dim = model.num_kv_heads, model.head_dim
  shapes = (chunk + 1, model.num_heads), (length, heads), (length, heads)

  def make() -> tuple[jax.Array, ...]:
    table = 1 + jnp.arange(slots * pages_per_sequence, dtype=jnp.int32)
    keys = jax.random.split(jax.random.key(0), len(shapes))
    return *(
      jax.random.normal(key, (shards * slots, *shape, dim), model.dtype)
      for key, shape in zip(keys, shapes, strict=True)
    ), jnp.tile(table.reshape(slots, pages_per_sequence), (shards, 1))

  def run(kind: Any, q: Any, k: Any, v: Any, table: Any) -> Any:
    pages = _empty(kind, 1 + slots * pages_per_sequence, size, model)

    def view(start: int, count: int) -> View:
      starts = jnp.full(slots, start, jnp.int32)
      counts = jnp.full(slots, count, jnp.int32)
      used = paged.pages_in_use(starts, counts, size)
      return View(table, starts, counts, used, tuning.pages_per_block)

    pages = pages.write(k, v, view(0, length))
    cap = model.attention_softcap
    return [
      pages.attend(new, view(length - new.shape[1], new.shape[1]), window, cap)
      for new in (q[:, :1], q[:, 1:])
    ]

  rows = P(sharding.ROWS)
  functions: dict[str, Callable[..., Any]] = {
    name: jax.shard_map(
      functools.partial(run, kind),
      mesh=mesh,
      in_specs=rows,
      out_specs=rows,
      axis_names=set(sharding.ROWS),
      check_vma=False,
    )
    for name, kind in kinds.items()
  }
  split = sharding.fitting(P(*rows, None, "tensor"), (0, 0, heads), mesh)
  where = (*(jax.NamedSharding(mesh, split),) * 3, sharding.row_sharding(mesh))
  arrays: tuple[Any, ...] = jax.jit(make, out_shardings=where)()
  return functions, arrays


def _empty(kind: Any, pages: int, size: int, model: TransformerConfig) -> Any:
  heads, dim = model.num_kv_heads, model.head_dim
  if issubclass(kind, RaggedPages):
    return kind(jnp.zeros((pages, size, 2 * heads, dim), model.dtype))
  zeros = jnp.zeros((pages, heads, size, dim), model.dtype)
  return kind(zeros, zeros)


def _choose(cases: Cases, name: str) -> str:
  """Returns the function that all processes of a job take, and says why."""
  mine = [trials.run(*case) for case in cases.values()]
  everywhere = [
    tried for process in distributed.all_gather(mine) for tried in process
  ]
  chosen = trials.best(everywhere)
  distributed.say(f"{name}: {trials.describe(everywhere, chosen)}")
  return chosen
