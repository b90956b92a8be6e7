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
from jaxrl_entropy.ops.distillation import Head, head_divergence
from jaxrl_entropy.ops.logprobs import TokenStats, token_stats
from jaxrl_entropy.training.packed_batch import Rows
from jaxrl_entropy.types import Params

# Statistics of the policy's distributions, computed where a method reads them,
# beside `logp` and `entropy`.
MOMENTS = {"sum_p2", "sum_p2_logp"}
OPTIONAL = MOMENTS | {"nucleus_entropy", "rank"}


@struct.dataclass
class ReplayStats(TokenStats):
  """Statistics of tokens whose experts are those of the sampler.

  Attributes:
    router_agreement: share of them that the token's routers would choose.
  """

  router_agreement: Float[Array, "*B"] | None = None


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
    agreement: whether the result is `ReplayStats`, where experts are replayed.
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
    kind = ReplayStats if "router_agreement" in extra else TokenStats
    stats = kind(**(vars(stats) | extra))
    return jax.tree.map(lambda x: jnp.roll(x, 1, axis=-1), stats)


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
