"""KL divergence of two models over the vocabulary, chunk by chunk."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float

from jaxrl_entropy import sharding
from jaxrl_entropy.ops.logprobs import head_copies
from jaxrl_entropy.ops.softcap import soft_cap


@dataclasses.dataclass(frozen=True)
class Head:
  """How hidden states become logits; static under jit.

  Attributes:
    vocabulary: columns of the LM head that count.
    softcap: bound of the logits before the temperature; 0: none.
    temperature: divides the logits.
  """

  vocabulary: int
  softcap: float = 0.0
  temperature: float = 1.0

  def logp(
    self, hidden: Float[Array, "C D"], kernel: Float[Array, "D V"]
  ) -> Float[Array, "C V"]:
    """Returns the log-probs of one chunk of tokens, float32.

    Args:
      hidden: states after the final norm; sets the matmul's dtype.
      kernel: the LM head; its columns from `vocabulary` on are dropped.

    Returns:
      Log-probs at `temperature`, nats; V is `vocabulary`.
    """
    logits = jnp.matmul(
      hidden, kernel.astype(hidden.dtype), preferred_element_type=jnp.float32
    )
    logits = soft_cap(logits[:, : self.vocabulary], self.softcap)
    return jax.nn.log_softmax(logits / self.temperature)


def head_divergence(
  hidden: Float[Array, "R L D"],
  kernel: Float[Array, "D V"] | Float[Array, "N D V"],
  teacher_hidden: Float[Array, "R L E"],
  teacher_kernel: Float[Array, "E V"],
  head: Head,
  teacher_head: Head,
  chunk: int = 1024,
) -> Float[Array, "R L"]:
  """Returns `KL(student || teacher)` over the vocabulary at every token, nats.

  Exact; differentiable in the student's arguments. The logits of `chunk` tokens
  exist at a time on each device, in both passes. On a mesh each device works on
  its own tokens with whole heads.

  Args:
    hidden: the student's hidden states after the final norm.
    kernel: its LM head, or the `head_copies` of it.
    teacher_hidden: the teacher's hidden states.
    teacher_kernel: its LM head.
    head: of the student.
    teacher_head: of the teacher, with the same vocabulary.
    chunk: tokens whose logits exist at one time.
  """
  teacher = jax.lax.stop_gradient((teacher_hidden, teacher_kernel))
  local = functools.partial(_local, head, teacher_head, chunk)
  if sharding.single_device():
    return local(hidden, kernel, *teacher)
  mesh = jax.sharding.get_abstract_mesh()
  copies = head_copies(kernel) if kernel.ndim == 2 else kernel
  rows = sharding.fitting(P(sharding.ROWS, "context"), hidden.shape, mesh)
  return jax.shard_map(
    local,
    in_specs=(rows, P(sharding.TOKENS), rows, P()),
    out_specs=rows,
    check_vma=False,
  )(hidden, copies, *teacher)


def _local(
  head: Head,
  teacher_head: Head,
  chunk: int,
  hidden: jax.Array,
  kernel: jax.Array,
  teacher_hidden: jax.Array,
  teacher_kernel: jax.Array,
) -> jax.Array:
  kernel = kernel.reshape(kernel.shape[-2:])
  shape = hidden.shape[:-1]
  count = hidden[..., 0].size
  chunks = -(-count // chunk)
  size = -(-count // chunks)

  def split(x: jax.Array) -> jax.Array:
    flat = x.reshape(count, x.shape[-1])
    flat = jnp.pad(flat, ((0, chunks * size - count), (0, 0)))
    return flat.reshape(chunks, size, x.shape[-1])

  @jax.checkpoint
  def divergence(rows: tuple[jax.Array, jax.Array]) -> jax.Array:
    own = head.logp(rows[0], kernel)
    other = teacher_head.logp(rows[1], teacher_kernel)
    p = jnp.exp(own)
    return jnp.sum(jnp.where(p > 0, p * (own - other), 0.0), axis=-1)

  divergences = jax.lax.map(divergence, (split(hidden), split(teacher_hidden)))
  return divergences.reshape(-1)[:count].reshape(shape)
