"""The parts of losses: transforms, selectors, aggregates, and their chain.

    from jaxrl_entropy import losses

    loss = losses.objective(
      losses.ppo_clip(0.2, 0.28),
      losses.masked(losses.add_kl(1.0), losses.top_covariance(2e-3)),
      aggregate=losses.token_mean(),
    )

Complete losses by name are in `jaxrl_entropy.objectives`.
"""

from typing import NoReturn

from jaxrl_entropy.losses.adaptive_clip import (
  balanced_clip,
  gradient_preserving_clip,
  pull_back,
)
from jaxrl_entropy.losses.aggregates import (
  Aggregation,
  aggregate_by,
  seq_mean_token_mean,
  seq_mean_token_sum,
  seq_mean_token_sum_norm,
  token_mean,
  token_sum,
)
from jaxrl_entropy.losses.base import (
  Aggregate,
  LossTransform,
  PRNGKey,
  Scalar,
  Selection,
  Selector,
  TokenLoss,
  count_metric,
  inverse_lengths,
  response_mean,
  response_sum,
  share_metric,
  token_metric,
)
from jaxrl_entropy.losses.chains import (
  Objective,
  chain,
  masked,
  objective,
  set_to_zero,
  shadow,
)
from jaxrl_entropy.losses.conditions import (
  all_of,
  complement,
  correct_responses,
  drifted_responses,
  entropy_ratio_outside,
  hard_groups,
  likely_tokens,
  mastered_groups,
  rewarded_tokens,
  rising_tokens,
)
from jaxrl_entropy.losses.entropy_flow import (
  balance_entropy_flow,
  entropy_change_weight,
  polarity_weight,
)
from jaxrl_entropy.losses.likelihood import (
  clipped_likelihood,
  divergence_likelihood,
  log_likelihood,
  response_likelihood,
)
from jaxrl_entropy.losses.parts import part, pick
from jaxrl_entropy.losses.penalties import (
  add_entropy,
  add_entropy_anchor,
  add_kl,
  add_mastery_kl,
  add_reference_kl,
  add_router_losses,
  add_teacher_kl,
  add_value_loss,
)
from jaxrl_entropy.losses.ratio import (
  log_ratio,
  sequence_ratio,
  sequence_token_ratio,
  token_ratio,
)
from jaxrl_entropy.losses.response_entropy import (
  confident_response_weight,
  scale_by_entropy_advantage,
  uncertain_response_weight,
)
from jaxrl_entropy.losses.scores import (
  centered_covariance_score,
  certainty_score,
  covariance_score,
  discriminator_score,
  entropy_change_score,
  entropy_score,
  nucleus_entropy_score,
  teaching_score,
)
from jaxrl_entropy.losses.selectors import (
  random_as_many,
  random_band,
  random_covariance,
  top_covariance,
  top_entropy,
  top_fraction,
  top_quantile,
)
from jaxrl_entropy.losses.surrogate import (
  clip_metrics,
  dual_clip,
  geo_mean,
  policy_gradient,
  ppo_clip,
  soft_clip,
)
from jaxrl_entropy.losses.weighting import (
  covariance_kernel,
  importance_weight,
  restrict_to,
  sign_weight,
  teacher_weight,
  weigh,
)


def __getattr__(name: str) -> NoReturn:
  raise AttributeError(
    f"jaxrl_entropy.losses has no part {name!r}; complete losses are elsewhere:"
    f" see objectives.{name}"
  )
