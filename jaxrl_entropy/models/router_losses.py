"""Losses and agreement of a mixture of experts' router with hidden states."""

from typing import Any

import jax
from jaxtyping import Array, Float, Int

from jaxrl_entropy.models import transformer
from jaxrl_entropy.models.config import TransformerConfig
from jaxrl_entropy.ops import router
from jaxrl_entropy.types import Params


def hidden_and_router_losses(
  params: Params,
  config: TransformerConfig,
  tokens: Int[Array, "B T"],
  positions: Int[Array, "B T"],
  segments: Int[Array, "B T"],
  **options: Any,
) -> tuple[Float[Array, "B T D"], Float[Array, "B T"], Float[Array, "B T"]]:
  """Computes `transformer.hidden_states` and each token's router losses.

  Args:
    params: as `transformer.init` makes them.
    config: a model with experts.
    tokens: ids; at padding any id of the vocabulary.
    positions: of each token in its own sequence, from 0.
    segments: sequence of each token in its row, from 1; 0 is padding.
    **options: `remat`, `attention` and `routes` of `hidden_states`.

  Returns:
    Hidden states, `ops.router.balance_loss` and `ops.router.z_loss`: means over
    the layers. The load is that of all tokens of the call but padding.

  Raises:
    ValueError: for a model without experts, or as `hidden_states`.
  """
  if not config.num_experts:
    raise ValueError("the model has no experts, and so no router losses")

  def losses(
    scores: Float[Array, "B T E"], routes: Int[Array, "B T k"] | None
  ) -> tuple[Array, Array]:
    del routes
    per_token = config.num_experts_per_tok
    balance = router.balance_loss(scores, segments > 0, per_token)
    return balance, router.z_loss(scores)

  hidden, per_layer = transformer.run_layers(
    params, config, tokens, positions, segments, **options, of_router=losses
  )
  balance, z = jax.tree.map(lambda loss: loss.mean(axis=0), per_layer)
  return hidden, balance, z


def hidden_and_agreement(
  params: Params,
  config: TransformerConfig,
  tokens: Int[Array, "B T"],
  positions: Int[Array, "B T"],
  segments: Int[Array, "B T"],
  *,
  routes: Int[Array, "B T L k"],
  **options: Any,
) -> tuple[Float[Array, "B T D"], Float[Array, "B T"]]:
  """Computes `transformer.hidden_states` and each token's `router.agreement`.

  Args:
    params: as `transformer.init` makes them.
    config: a model with experts.
    tokens: ids; at padding any id of the vocabulary.
    positions: of each token in its own sequence, from 0.
    segments: sequence of each token in its row, from 1; 0 is padding.
    routes: experts that the sampler chose in each layer; -1 where none are
      known, which agrees with nothing.
    **options: `remat` and `attention` of `hidden_states`.

  Returns:
    Hidden states with `routes` replayed, and the mean over the layers of the
    share of them that the layer's router would choose itself.
  """
  hidden, per_layer = transformer.run_layers(
    params,
    config,
    tokens,
    positions,
    segments,
    **options,
    routes=routes,
    of_router=router.agreement,
  )
  return hidden, per_layer.mean(axis=0)
