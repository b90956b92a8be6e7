"""The policy's forward pass over packed rows: log-probs and entropies."""

from collections.abc import Callable
import dataclasses
from typing import Any

from flax import struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxrl_entropy.models import transformer
from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.models.router_losses import (
  hidden_and_agreement,
  hidden_and_router_losses,
)
from jaxrl_entropy.ops import masked
from jaxrl_entropy.ops.distillation import Head, head_divergence
from jaxrl_entropy.ops.logprobs import TokenStats, token_stats
from jaxrl_entropy.training.packed_batch import Rows
from jaxrl_entropy.types import Params

# Statistics of the policy's distributions, computed where a method reads them,
# beside `logp` and `entropy`.
MOMENTS = {"sum_p2", "sum_p2_logp"}
OPTIONAL = MOMENTS | {"nucleus_entropy", "rank"}


@struct.dataclass
class ScoringStats(TokenStats):
  """Statistics that a rollout's scoring computes, and no update.

  Attributes:
    router_agreement: share of the sampler's experts that the token's routers
      would choose; None unless asked for.
    embedding: mean of the final hidden states of each response's tokens; 0 for
      a response that is in another micro-batch. None unless asked for.
  """

  router_agreement: Float[Array, "*B"] | None = None
  embedding: Float[Array, "N D"] | None = None


@dataclasses.dataclass(frozen=True)
class Forward:
  """Settings of the policy's forward pass; static under jit.

  Attributes:
    model: the decoder.
    temperature: divides the logits, as it does in the sampler.
    remat: rematerialization policy by name.
    attention: attention back-end by name.
    chunk: tokens in one chunk of the fused head.
    moments: whether the second moments of the distribution are computed.
    nucleus: probability that the nucleus stays below, whose entropy is
      computed; 0: it is not.
    rank: whether each token's rank is computed.
    router: whether the losses of the experts' router are computed.
    teacher: the forward pass of a teacher model, from which the policy's
      divergence is computed; None: there is none.
    replay: whether the experts that the rows name are taken again.
    agreement: whether `router_agreement` is computed where experts are
      replayed; the result is then `ScoringStats`.
    embedded: responses whose `embedding` is computed, in scoring alone; 0: of
      none.
  """

  model: TransformerConfig
  temperature: float = 1.0
  remat: str = "none"
  attention: str = "auto"
  chunk: int = 1024
  moments: bool = False
  nucleus: float = 0.0
  rank: bool = False
  router: bool = False
  teacher: "Forward | None" = None
  replay: bool = False
  agreement: bool = False
  embedded: int = 0

  def hidden(self, params: Params, rows: Rows) -> Float[Array, "R L D"]:
    """Returns the hidden states of one micro-batch after the final norm.

    Args:
      params: of the decoder.
      rows: the micro-batch, arrays [R, L].
    """
    return self._run(transformer.hidden_states, params, rows)

  def _run(self, run: Callable[..., Any], params: Params, rows: Rows) -> Any:
    replayed = {"routes": rows.routes} if self._replays(rows) else {}
    return run(
      params,
      self.model,
      rows.tokens,
      rows.positions,
      rows.segments,
      remat=self.remat,
      attention=self.attention,
      **replayed,
    )

  @property
  def head(self) -> Head:
    """How its hidden states become logits."""
    return Head(
      self.model.real_vocab_size, self.model.logits_softcap, self.temperature
    )

  def _replays(self, rows: Rows) -> bool:
    return self.replay and rows.routes is not None

  def __call__(
    self, params: Params, rows: Rows, teacher: Params | None = None
  ) -> TokenStats:
    """Returns log-prob and entropy at every token of a micro-batch, [R, L].

    Column t describes token t; column 0, which nothing predicts, is undefined.

    Args:
      params: of the policy.
      rows: the micro-batch.
      teacher: parameters of the teacher; None: there is no divergence from it.
    """
    extra: dict[str, Array] = {}
    if self.agreement and self._replays(rows):
      hidden, agreement = self._run(hidden_and_agreement, params, rows)
      extra = {"router_agreement": agreement}
    elif self.router:
      hidden, balance, z = self._run(hidden_and_router_losses, params, rows)
      extra = {"router_balance": balance, "router_z": z}
    else:
      hidden = self.hidden(params, rows)
    stats = token_stats(
      hidden,
      transformer.lm_head(params, self.model),
      jnp.roll(rows.tokens, -1, axis=-1),
      temperature=self.temperature,
      chunk=self.chunk,
      moments=self.moments,
      nucleus=self.nucleus,
      rank=self.rank,
      vocabulary=self.model.real_vocab_size,
      softcap=self.model.logits_softcap,
    )
    if self.teacher is not None and teacher is not None:
      extra["teacher_kl"] = head_divergence(
        hidden,
        transformer.lm_head(params, self.model),
        self.teacher.hidden(teacher, rows),
        transformer.lm_head(teacher, self.teacher.model),
        self.head,
        self.teacher.head,
        self.chunk,
      )
    kind = ScoringStats if self.embedded or self.agreement else TokenStats
    stats = kind(**(vars(stats) | extra))
    stats = jax.tree.map(lambda x: jnp.roll(x, 1, axis=-1), stats)
    if not self.embedded:
      return stats
    return stats.replace(embedding=embedding(hidden, rows, self.embedded))


def embedding(
  hidden: Float[Array, "R L D"], rows: Rows, responses: int
) -> Float[Array, "N D"]:
  """Returns the mean hidden state of each response's tokens, float32.

  A product with the responses' masks: each device sums its own tokens, and
  only [N, D] crosses devices.

  Args:
    hidden: states of all tokens.
    rows: the micro-batch, which holds whole responses.
    responses: N.

  Returns:
    The means, without gradient; 0 for responses that the rows do not hold.
  """
  hidden = masked.guard(jax.lax.stop_gradient(hidden), rows.mask[..., None])
  owner = jnp.where(rows.mask, rows.response, -1)
  own = jax.nn.one_hot(owner, responses, dtype=hidden.dtype)
  total = jnp.einsum(
    "rln,rld->nd",
    own,
    hidden,
    precision="highest",
    preferred_element_type=jnp.float32,
  )
  count = own.sum((0, 1), jnp.float32)[:, None]
  return total / jnp.maximum(count, 1.0)


# (params, rows of one micro-batch) -> arrays [R, L], named as the fields of a
# TokenBatch: what the objective may differentiate.
ForwardPass = Callable[[Params, Rows], Any]


def forward_slices(forward: ForwardPass, params: Params, rows: Rows) -> Any:
  """Runs the forward pass of every micro-batch, [M, R, L].

  A slice without response tokens costs nothing; its statistics are 0.

  Args:
    forward: the forward pass of one micro-batch.
    params: its parameters.
    rows: a mini-batch or more, [M, R, L]; slices run one after the other.

  Returns:
    The results of `forward`, stacked: arrays [M, R, L].
  """

  def run(slice_: Rows) -> Any:
    return forward(params, slice_)

  def skip(slice_: Rows) -> Any:
    shapes = jax.eval_shape(run, slice_)
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

  return jax.lax.map(
    lambda slice_: jax.lax.cond(slice_.mask.any(), run, skip, slice_), rows
  )
