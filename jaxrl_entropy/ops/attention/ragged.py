"""JAX's TPU kernel for attention over pages, with its own page layout.

A page is [page tokens, 2 * kv heads, head dim], each key head followed by its
value head. The kernel computes prompts and single tokens alike. Tests compare
its arguments with JAX's reference; it has not run on a TPU yet.
"""

import dataclasses
from typing import ClassVar

from flax import struct
import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec as P
from jaxtyping import Array, Float

from jaxrl_entropy.ops.attention.paged import View

LANES = 128
# Passed explicitly: the kernel's defaults are those of the local device, which
# is not the one a planned run is compiled for.
KEYS_PER_BLOCK = 512
QUERIES_PER_BLOCK = 32


def supports(head_dim: int, kv_heads: int, mesh: Mesh) -> bool:
  """Returns whether the kernel can compute these heads on this mesh.

  Args:
    head_dim: width d of one head; a multiple of `LANES` is needed.
    kv_heads: number of key heads, which the tensor axis has to divide.
    mesh: devices that run the kernel, with an axis "tensor".
  """
  return head_dim % LANES == 0 and kv_heads % mesh.shape["tensor"] == 0


@struct.dataclass
class RaggedPages:
  """Keys and values of one layer; has the methods of `paged.Pages`.

  Attributes:
    kv: keys and values in turn: heads is twice the number of key heads.
  """

  HEADS: ClassVar[int] = 2
  """The axis of the key and value heads."""

  kv: Float[Array, "N P heads d"]

  @property
  def page_size(self) -> int:
    """Tokens per page."""
    return self.kv.shape[1]

  def write(
    self,
    k: Float[Array, "B T K d"],
    v: Float[Array, "B T K d"],
    view: View,
  ) -> "RaggedPages":
    """Returns the pages with the rows' new tokens in them.

    Args:
      k: keys of the new tokens, rotated.
      v: their values.
      view: positions and pages of the rows. Padding is written to page 0.
    """
    rows, length, _, dim = k.shape
    pairs = jnp.stack([k, v], axis=3).reshape(rows, length, -1, dim)
    index = view.slots(length, self.page_size)
    return dataclasses.replace(
      self,
      kv=self.kv.at[index].set(
        pairs.astype(self.kv.dtype), mode="promise_in_bounds"
      ),
    )

  def attend(
    self,
    q: Float[Array, "B T H d"],
    view: View,
    window: int = 0,
    softcap: float = 0.0,
  ) -> Float[Array, "B T H d"]:
    """Computes causal attention of each token over the row up to itself.

    Args:
      q: queries of tokens that `write` has already put into the pages.
      view: positions and pages of the rows; the kernel needs only their `start`
        and `table`.
      window: number of tokens a query sees, itself included; 0 means all.
      softcap: c, if not 0: scores become `c tanh(scores / c)`.

    Returns:
      The weighted values, in the dtype of `q`.
    """
    # Imported late: it loads slowly and serves TPUs alone.
    from jax.experimental.pallas.ops.tpu import ragged_paged_attention as kernel

    rows, length, heads, dim = q.shape
    starts = jnp.arange(rows + 1, dtype=jnp.int32) * length
    pages_per_sequence = view.table.shape[1]
    pages_per_block = max(KEYS_PER_BLOCK // self.page_size, 1)

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
        soft_cap=softcap or None,
        num_kv_pages_per_block=min(pages_per_sequence, pages_per_block),
        num_queries_per_block=QUERIES_PER_BLOCK,
      )

    # The kernel counts a row's padding as tokens. They come after all real
    # tokens, so none sees them, but they may need pages beyond the table.
    extra_pages = -(-(length - 1) // self.page_size)
    args = (
      q.reshape(rows * length, heads, dim),
      self.kv,
      view.start + length,
      jnp.pad(view.table, ((0, 0), (0, extra_pages))),
    )
    return _per_device(local)(*args).reshape(q.shape)


def _per_device(local):
  """Maps `local` over the heads of each device: XLA cannot split a kernel."""
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
