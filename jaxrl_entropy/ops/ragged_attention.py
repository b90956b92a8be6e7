"""JAX's TPU kernel for attention over pages, in its own layout of them.

A page is [page tokens, 2 * kv heads, head dim], each key head before its value
head. The kernel takes prompts and single tokens alike. Tests check its
arguments against JAX's reference; it has not run on a TPU.
"""

from typing import ClassVar

from flax import struct
import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec as P
from jaxtyping import Array, Float

from jaxrl_entropy.ops.paged_attention import View

LANES = 128
# Given, because the kernel would look them up for the local device, which is
# another than the one compiled for when a run is planned.
KEYS_PER_BLOCK = 512
QUERIES_PER_BLOCK = 32


def supports(head_dim: int, kv_heads: int, mesh: Mesh) -> bool:
  """Whether the kernel can compute heads of this kind on this mesh."""
  return head_dim % LANES == 0 and kv_heads % mesh.shape["tensor"] == 0


@struct.dataclass
class RaggedPages:
  """The keys and values of one layer; methods as `paged_attention.Pages`."""

  HEADS: ClassVar[int] = 2
  """The axis of the key and value heads."""

  kv: Float[Array, "N P heads d"]

  @property
  def size(self) -> int:
    """Tokens a page holds."""
    return self.kv.shape[1]

  def write(
    self,
    k: Float[Array, "B T K d"],
    v: Float[Array, "B T K d"],
    view: View,
  ) -> "RaggedPages":
    """The pages with the rows' new tokens in them."""
    rows, length, _, dim = k.shape
    pairs = jnp.stack([k, v], axis=3).reshape(rows, length, -1, dim)
    index = view.places(length, self.size)
    return RaggedPages(
      self.kv.at[index].set(
        pairs.astype(self.kv.dtype), mode="promise_in_bounds"
      )
    )

  def attend(
    self, q: Float[Array, "B T H d"], view: View, window: int = 0
  ) -> Float[Array, "B T H d"]:
    """Each token attends to the tokens of its row up to itself."""
    # Here, because the import takes long and serves TPUs alone.
    from jax.experimental.pallas.ops.tpu import ragged_paged_attention as kernel

    rows, length, heads, dim = q.shape
    starts = jnp.arange(rows + 1, dtype=jnp.int32) * length
    columns = view.table.shape[1]

    def local(q, kv, ends, table):
      return kernel.ragged_paged_attention(
        q,
        kv,
        ends,
        table,
        starts,
        jnp.array([rows], jnp.int32),
        sm_scale=dim**-0.5,
        sliding_window=window or None,
        num_kv_pages_per_block=min(
          columns, max(KEYS_PER_BLOCK // self.size, 1)
        ),
        num_queries_per_block=QUERIES_PER_BLOCK,
      )

    # A row's padding counts as tokens: it is behind all that see it, and may
    # be beyond the last page.
    beyond = -(-(length - 1) // self.size)
    args = (
      q.reshape(rows * length, heads, dim),
      self.kv,
      view.start + length,
      jnp.pad(view.table, ((0, 0), (0, beyond))),
    )
    return _over_heads(local)(*args).reshape(q.shape)


def _over_heads(local):
  """`local` on the heads of each device: XLA cannot split a kernel itself."""
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty:
    return local
  heads, pages = P(None, "tensor"), P(None, None, "tensor")
  return jax.shard_map(
    local,
    in_specs=(heads, pages, P(), P()),
    out_specs=heads,
    axis_names=set(mesh.axis_names) - set(mesh.manual_axes),
    check_vma=False,
  )
