"""Log-probs and full-vocabulary entropies, without the logits in memory.

The logits of a chunk of tokens exist at a time, in both passes. On a mesh each
device works on its own tokens and its own part of the vocabulary, with its own
copy of the head; the gradients of the copies are summed once, where the copies
were made: see `head_copies`.
"""

from collections.abc import Callable
import dataclasses
import functools
import math
from typing import Any

from flax import struct
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Int

from jaxrl_entropy import sharding
from jaxrl_entropy.ops import nucleus as nucleus_lib
from jaxrl_entropy.ops.softcap import soft_cap


@struct.dataclass
class TokenStats:
  """Statistics of each token's distribution, float32, nats.

  Attributes:
    logp: log-prob of the target.
    entropy: `-sum p log p` over the whole vocabulary.
    sum_p2: `sum p^2`; None unless asked for.
    sum_p2_logp: `sum p^2 log p`; None unless asked for.
    nucleus_entropy: of the renormalized nucleus; None unless asked for.
    rank: how many tokens are likelier than the target; None unless asked for.
    teacher_kl: KL from a teacher, see `ops.distillation`; None unless asked
      for.
    router_balance: of a mixture of experts, see `ops.router`; None unless
      asked for. Not a statistic of the distribution.
    router_z: likewise.
  """

  logp: Float[Array, "*B"]
  entropy: Float[Array, "*B"]
  sum_p2: Float[Array, "*B"] | None = None
  sum_p2_logp: Float[Array, "*B"] | None = None
  nucleus_entropy: Float[Array, "*B"] | None = None
  rank: Float[Array, "*B"] | None = None
  teacher_kl: Float[Array, "*B"] | None = None
  router_balance: Float[Array, "*B"] | None = None
  router_z: Float[Array, "*B"] | None = None


def token_stats(
  hidden: Float[Array, "*B D"],
  head: Float[Array, "D V"] | Float[Array, "N D V"],
  targets: Int[Array, "*B"],
  *,
  temperature: float | Float[Array, ""] = 1.0,
  chunk: int = 1024,
  moments: bool = False,
  nucleus: float = 0.0,
  rank: bool = False,
  vocabulary: int = 0,
  softcap: float = 0.0,
) -> TokenStats:
  """Statistics of `softmax(hidden head / temperature)` at every token.

  Exact, and differentiable in `hidden`, `head` and `temperature`. Logits of
  minus infinity have probability 0 and add nothing (0 log 0 = 0).

  Args:
    hidden: hidden states after the final norm; sets the matmuls' dtype.
    head: the LM head, or its `head_copies`.
    targets: the token that each hidden state predicts.
    temperature: divides the logits.
    chunk: tokens whose logits exist at one time, on each device.
    moments: also sum_p2 and sum_p2_logp.
    nucleus: also nucleus_entropy, of the most likely tokens whose probabilities
      add up to less than this: those before the one that reaches it. 0: not.
    rank: also rank, without gradient.
    vocabulary: columns of the head that count; later ones have probability 0
      and no gradient. 0: all of them.
    softcap: c, if not 0: logits become `c tanh(logits / c)` before the
      temperature divides them.
  """
  plan = dataclasses.replace(
    _plan(hidden, head, chunk, moments, vocabulary),
    softcap=softcap,
    nucleus=nucleus,
    rank=rank,
  )
  if plan.rows is not None and head.ndim == 2:
    head = head_copies(head)
  temperature = jnp.asarray(temperature, jnp.float32)
  return _token_stats(plan, hidden, head, targets, temperature)


def head_copies(head: Float[Array, "D V"]) -> Float[Array, "N D V"]:
  """Returns one copy of the LM head per shard of the tokens.

  For loops over micro-batches, on a mesh: the head is gathered once, and the
  gradients of the copies stay where they are until this function is
  differentiated, which sums them over devices once.
  """
  mesh = jax.sharding.get_abstract_mesh()
  width, vocabulary = sharding.fitting(
    P(sharding.WEIGHTS, "tensor"), head.shape, mesh
  )

  def copy(shard: jax.Array) -> jax.Array:
    if width is not None:
      shard = jax.lax.all_gather(shard, width, tiled=True)
    return shard[None]

  return jax.shard_map(
    copy,
    in_specs=P(width, vocabulary),
    out_specs=P(sharding.TOKENS, None, vocabulary),
    check_vma=False,
  )(head)


@dataclasses.dataclass(frozen=True)
class _Plan:
  """The static part of a call.

  Attributes:
    chunk: most tokens in a chunk.
    moments: whether the second moments are asked for.
    rows: how the tokens are split over the mesh; None: there is no mesh.
    vocabulary: the mesh axis that splits the head's columns, if any.
    repeats: copies of the head that meet the same tokens.
    limit: columns of the head, over the whole mesh, that count; None: all.
    softcap: bound of the logits before the temperature; 0: none.
    nucleus: probability that the nucleus stays below; 0: it is not asked for.
    rank: whether the target's rank is asked for.
  """

  chunk: int
  moments: bool
  rows: P | None = None
  vocabulary: str | None = None
  repeats: int = 1
  limit: int | None = None
  softcap: float = 0.0
  nucleus: float = 0.0
  rank: bool = False

  def run(self, local: Callable[..., Any], specs: Any, outputs: Any) -> Any:
    """Runs `local` on every device's shard, or on the whole without a mesh."""
    local = functools.partial(local, self)
    if self.rows is None:
      return local
    return jax.shard_map(
      local, in_specs=specs, out_specs=outputs, check_vma=False
    )

  @property
  def token_axes(self) -> tuple[str, ...]:
    """Mesh axes that split the tokens."""
    return tuple(jax.tree.leaves(tuple(self.rows or ())))

  @property
  def head(self) -> P:
    """Sharding of the copies of the head."""
    return P(sharding.TOKENS, None, self.vocabulary)

  def over_vocabulary(self, reduce: Callable[..., Any], x: Any) -> Any:
    return reduce(x, self.vocabulary) if self.vocabulary else x

  def over_tokens(self, x: Any) -> Any:
    return jax.lax.psum(x, self.token_axes) if self.token_axes else x


def _plan(
  hidden: jax.Array,
  head: jax.Array,
  chunk: int,
  moments: bool,
  vocabulary: int,
) -> _Plan:
  limit = vocabulary if 0 < vocabulary < head.shape[-1] else None
  if sharding.single_device():
    return _Plan(chunk, moments, limit=limit)
  mesh = jax.sharding.get_abstract_mesh()
  leading = (sharding.ROWS, "context")[: hidden.ndim - 1]
  rows = sharding.fitting(P(*leading), hidden.shape, mesh)
  (axis,) = sharding.fitting(P("tensor"), head.shape[-1:], mesh)
  if mesh.shape["tensor"] == 1:
    axis = None
  plan = _Plan(chunk, moments, rows, axis, limit=limit)
  shards = math.prod(mesh.shape[axis] for axis in plan.token_axes)
  return dataclasses.replace(plan, repeats=sharding.token_parts() // shards)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _token_stats(plan, hidden, head, targets, temperature):
  return _forward(plan, hidden, head, targets, temperature)[0]


def _forward(plan, hidden, head, targets, temperature):
  specs = (plan.rows, plan.head, plan.rows, P())
  stats, normalizers = plan.run(_local_forward, specs, plan.rows)(
    hidden, head, targets, temperature
  )
  return stats, (hidden, head, targets, temperature, stats, normalizers)


def _backward(plan, residuals, cotangents):
  hidden, head, targets, temperature, stats, normalizers = residuals
  per_token = (targets, normalizers, _coefficients(stats, cotangents))
  specs = (plan.rows, plan.head, P(), plan.rows)
  outputs = (plan.rows, plan.head, P())
  d_hidden, d_head, d_temperature = plan.run(_local_backward, specs, outputs)(
    hidden, head, temperature, per_token
  )
  return d_hidden, d_head, None, d_temperature


_token_stats.defvjp(_forward, _backward)


def _local_forward(plan, hidden, head, targets, temperature):
  """Returns statistics and log-normalizers of one device's tokens."""
  head = _own(head).astype(hidden.dtype)

  def chunk(inputs):
    rows, ids = inputs
    logits = _logits(plan, rows, head, temperature)
    top = plan.over_vocabulary(jax.lax.pmax, jnp.max(logits, axis=-1))
    sums = _sums(plan, logits, top) | _target(plan, logits, ids)
    sums = plan.over_vocabulary(jax.lax.psum, sums)
    stats, normalizers = _statistics(sums, top)
    if plan.nucleus:
      entropy, own = _nucleus(plan, logits, top, sums["w"])
      stats = stats.replace(nucleus_entropy=entropy)
      normalizers |= own
    if plan.rank:
      rank = _rank(plan, logits, ids, sums["target"])
      stats = stats.replace(rank=rank)
    return stats, normalizers

  chunks = _split(plan.chunk, targets.shape, (hidden, targets))
  return _join(targets.shape, jax.lax.map(chunk, chunks))


def _local_backward(plan, hidden, head, temperature, per_token):
  """Returns one device's gradients; the head's is of its own copy."""
  own = _own(head)
  cast = own.astype(hidden.dtype)

  def chunk(carry, inputs):
    d_head, d_temperature = carry
    rows, (ids, normalizers, coefficients) = inputs
    logits = _logits(plan, rows, cast, temperature)
    d_logits = _logit_gradient(plan, logits, ids, normalizers, coefficients)
    sized = jnp.where(d_logits == 0, 0.0, d_logits * logits)
    d_temperature -= jnp.sum(sized) / temperature
    d_logits = d_logits / temperature
    if plan.softcap:
      # Columns that do not count have no gradient, and an infinite logit.
      capped = jnp.where(d_logits == 0, 0.0, logits) * temperature
      d_logits *= 1.0 - jnp.square(capped / plan.softcap)
    d_logits = d_logits.astype(rows.dtype)
    d_head += _matmul(rows.T, d_logits)
    return (d_head, d_temperature), _matmul(d_logits, cast.T)

  zeros = (jnp.zeros(own.shape, jnp.float32), jnp.float32(0))
  shape = hidden.shape[:-1]
  chunks = _split(plan.chunk, shape, (hidden, per_token))
  (d_head, d_temperature), d_rows = jax.lax.scan(chunk, zeros, chunks)
  d_hidden = plan.over_vocabulary(jax.lax.psum, _join(shape, d_rows))
  d_temperature = plan.over_tokens(
    plan.over_vocabulary(jax.lax.psum, d_temperature)
  )
  d_head = (d_head / plan.repeats).astype(head.dtype).reshape(head.shape)
  return d_hidden.astype(hidden.dtype), d_head, d_temperature


def _own(head):
  """Returns this device's copy, [D, V]."""
  return head.reshape(head.shape[-2:])


def _matmul(a, b):
  return jnp.matmul(a, b, preferred_element_type=jnp.float32)


def _logits(plan, rows, head, temperature):
  logits = soft_cap(_matmul(rows, head), plan.softcap) / temperature
  if plan.limit is None:
    return logits
  ids = jax.lax.broadcasted_iota(jnp.int32, logits.shape, 1)
  counts = ids + _offset(plan, logits) < plan.limit
  return jnp.where(counts, logits, -jnp.inf)


def _sums(plan, logits, top):
  """Returns the sums over this vocabulary shard that determine all outputs."""
  below = logits - top[:, None]
  weight = jnp.exp(below)
  log_weight = jnp.where(weight > 0, below, 0.0)  # 0 log 0 = 0
  terms = {"w": weight, "w_log": weight * log_weight}
  if plan.moments:
    square = weight * weight
    terms |= {"w2": square, "w2_log": square * log_weight}
  return {name: jnp.sum(term, axis=-1) for name, term in terms.items()}


def _target(plan, logits, ids):
  """Returns the target's logit if it is in this vocabulary shard, else 0."""
  local = ids - _offset(plan, logits)
  inside = (local >= 0) & (local < logits.shape[-1])
  index = jnp.where(inside, local, 0)[:, None]
  picked = jnp.take_along_axis(logits, index, axis=-1)[:, 0]
  return {"target": jnp.where(inside, picked, 0.0)}


def _offset(plan, logits):
  """Returns the first id of this vocabulary shard."""
  if plan.vocabulary is None:
    return 0
  return jax.lax.axis_index(plan.vocabulary) * logits.shape[-1]


def _nucleus(plan, logits, top, total):
  """Returns the nucleus's entropy, its cutoff and its log-normalizer."""
  add = functools.partial(plan.over_vocabulary, jax.lax.psum)
  below = logits - top[:, None]
  weight = jnp.exp(below)
  edge = nucleus_lib.cutoff(below, weight, plan.nucleus * total, add)
  inside = nucleus_lib.above_cutoff(below, edge)
  mass, size = add(
    (
      jnp.sum(jnp.where(inside, weight, 0.0), axis=-1),
      jnp.sum(jnp.where(inside, weight * below, 0.0), axis=-1),
    )
  )
  mass = jnp.where(mass > 0, mass, 1.0)
  entropy = jnp.log(mass) - size / mass
  return entropy, {"top": top, "edge": edge, "nucleus": top + jnp.log(mass)}


def _rank(plan, logits, ids, target):
  """Returns how many logits of the whole vocabulary exceed the target's."""
  above = (logits > target[:, None]) & ~_is_target(plan, logits, ids)
  count = jnp.sum(above, axis=-1, dtype=jnp.float32)
  return plan.over_vocabulary(jax.lax.psum, count)


def _is_target(plan, logits, ids):
  places = jax.lax.broadcasted_iota(jnp.int32, logits.shape, 1)
  return places == (ids - _offset(plan, logits))[:, None]


def _statistics(sums, top):
  """Returns TokenStats and, by name, the log of the softmax's normalizer."""
  total, log_total = sums["w"], jnp.log(sums["w"])
  stats = TokenStats(
    logp=sums["target"] - top - log_total,
    entropy=log_total - sums["w_log"] / total,
  )
  if "w2" in sums:
    sum_p2 = sums["w2"] / total**2
    sum_p2_logp = sums["w2_log"] / total**2 - log_total * sum_p2
    stats = stats.replace(sum_p2=sum_p2, sum_p2_logp=sum_p2_logp)
  return stats, {"lse": top + log_total}


def _coefficients(stats, cotangents):
  """Returns the terms of each token that `_logit_gradient` uses.

  With l = log p and cotangents g of logp, entropy H, S = sum p^2 and
  R = sum p^2 log p, the gradient of a logit is

    g_logp (1[target] - p) - g_H p (l + H) + 2 g_S p (p - S)
      + g_R p (2 p l + p - 2 R - S),

  collected here by powers of p and l. The entropy of the nucleus adds
  `-g q (log q + H)` with the nucleus's own probabilities q and entropy.
  """
  g = cotangents
  constant = -g.logp - g.entropy * stats.entropy
  coefficients = {"target": g.logp, "p_log": -g.entropy}
  if stats.sum_p2 is not None:
    constant -= 2 * g.sum_p2 * stats.sum_p2
    constant -= g.sum_p2_logp * (2 * stats.sum_p2_logp + stats.sum_p2)
    coefficients["p2"] = 2 * g.sum_p2 + g.sum_p2_logp
    coefficients["p2_log"] = 2 * g.sum_p2_logp
  if stats.nucleus_entropy is not None:
    coefficients["nucleus"] = -g.nucleus_entropy
    coefficients["nucleus_entropy"] = stats.nucleus_entropy
  return coefficients | {"p": constant}


def _logit_gradient(plan, logits, ids, normalizers, coefficients):
  c = {name: value[:, None] for name, value in coefficients.items()}
  logp = logits - normalizers["lse"][:, None]
  p = jnp.exp(logp)
  logp = jnp.where(p > 0, logp, 0.0)
  slope = c["p"] + c["p_log"] * logp
  if "p2" in c:
    slope += p * (c["p2"] + c["p2_log"] * logp)
  hit = _is_target(plan, logits, ids)
  gradient = p * slope + jnp.where(hit, c["target"], 0.0)
  if "nucleus" in c:
    below = logits - normalizers["top"][:, None]
    inside = nucleus_lib.above_cutoff(below, normalizers["edge"])
    logq = jnp.where(inside, logits - normalizers["nucleus"][:, None], -jnp.inf)
    slope = jnp.where(inside, logq + c["nucleus_entropy"], 0.0)
    gradient += c["nucleus"] * jnp.exp(logq) * slope
  return gradient


def _split(chunk, shape, tree):
  """Reshapes [*shape, ...] to [chunks, at most `chunk`, ...], zero-padded."""
  count = math.prod(shape)
  chunks = -(-count // chunk)
  size = -(-count // chunks)

  def split(x):
    flat = x.reshape(count, *x.shape[len(shape) :])
    padding = [(0, chunks * size - count)] + [(0, 0)] * (flat.ndim - 1)
    return jnp.pad(flat, padding).reshape(chunks, size, *flat.shape[1:])

  return jax.tree.map(split, tree)


def _join(shape, tree):
  """Inverts `_split`."""
  count = math.prod(shape)

  def join(x):
    flat = x.reshape(-1, *x.shape[2:])[:count]
    return flat.reshape(*shape, *flat.shape[1:])

  return jax.tree.map(join, tree)
