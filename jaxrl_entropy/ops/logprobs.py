"""Log-probs and full-vocabulary entropies, without the logits in memory."""

from flax import struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


@struct.dataclass
class TokenStats:
  """Statistics of each token's distribution, float32, nats.

  Attributes:
    logp: log-prob of the target.
    entropy: `-sum p log p` over the whole vocabulary.
    sum_p2: `sum p^2`; None unless asked for.
    sum_p2_logp: `sum p^2 log p`; None unless asked for.
  """

  logp: Float[Array, "*B"]
  entropy: Float[Array, "*B"]
  sum_p2: Float[Array, "*B"] | None = None
  sum_p2_logp: Float[Array, "*B"] | None = None


def token_stats(
  hidden: Float[Array, "*B D"],
  head: Float[Array, "D V"],
  targets: Int[Array, "*B"],
  *,
  temperature: float | Float[Array, ""] = 1.0,
  chunk: int = 1024,
  moments: bool = False,
) -> TokenStats:
  """Statistics of `softmax(hidden head / temperature)` at every token.

  Args:
    hidden: hidden states after the final norm.
    head: the LM head.
    targets: the token that each hidden state predicts.
    temperature: divides the logits.
    chunk: tokens whose logits exist at one time.
    moments: also sum_p2 and sum_p2_logp.
  """
  shape, width = targets.shape, hidden.shape[-1]
  count = targets.size
  chunk = min(chunk, count)
  pad = -count % chunk
  rows = jnp.pad(hidden.reshape(-1, width), ((0, pad), (0, 0)))
  ids = jnp.pad(targets.reshape(-1), (0, pad))

  @jax.checkpoint
  def stats(chunk):
    return _stats(*chunk, head, temperature, moments)

  chunks = (rows.reshape(-1, chunk, width), ids.reshape(-1, chunk))
  return jax.tree.map(
    lambda x: x.reshape(-1)[:count].reshape(shape), jax.lax.map(stats, chunks)
  )


def _stats(rows, ids, head, temperature, moments) -> TokenStats:
  logits = jnp.matmul(
    rows, head.astype(rows.dtype), preferred_element_type=jnp.float32
  )
  logp = jax.nn.log_softmax(logits / temperature, axis=-1)
  p = jnp.exp(logp)
  finite = jnp.where(p > 0, logp, 0.0)
  return TokenStats(
    jnp.take_along_axis(logp, ids[:, None], axis=-1)[:, 0],
    -jnp.sum(p * finite, axis=-1),
    jnp.sum(p * p, axis=-1) if moments else None,
    jnp.sum(p * p * finite, axis=-1) if moments else None,
  )
