"""A part that was not called, or stands where another belongs."""

import pytest

from jaxrl_entropy import losses
from jaxrl_entropy.losses import parts


def factory(power):
  def update(loss, batch, key):
    del batch, key
    return loss.replace(loss=power * loss.loss)

  return update


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda: [losses.policy_gradient], "policy_gradient was not called"),
    (lambda: [losses.ppo_clip], r"write ppo_clip\(...\)"),
    (
      lambda: [losses.ppo_clip(), factory],
      "factory.* cannot be a transform, .*call it",
    ),
    (
      lambda: [losses.top_entropy(0.2)],
      "no transform: .* 'selector'",
    ),
    (
      lambda: [losses.token_mean()],
      "no transform: .* 'aggregate'",
    ),
    (
      lambda: [losses.masked(losses.add_kl(1.0), losses.top_entropy)],
      "top_entropy was not called",
    ),
    (
      lambda: [losses.masked(losses.top_entropy(0.2), losses.add_kl(1.0))],
      "top_entropy.* is no transform",
    ),
    (
      lambda: [losses.shadow(losses.add_kl(1.0), "x")],
      "add_kl.* is no selector: .* 'transform'",
    ),
    (
      lambda: [losses.shadow(losses.complement(losses.top_entropy), "x")],
      "top_entropy was not called",
    ),
  ],
)
def test_a_mistake_in_a_chain_is_named(make, message):
  with pytest.raises(ValueError, match=message):
    losses.objective(*make(), aggregate="token_mean")


def test_what_is_no_function_is_named():
  with pytest.raises(ValueError, match="3 is no transform"):
    parts.check(3, "transform", 3)


@pytest.mark.parametrize(
  "aggregate",
  [losses.token_mean, losses.seq_mean_token_sum_norm, losses.ppo_clip()],
)
def test_a_mistaken_aggregate_is_named(aggregate):
  with pytest.raises(ValueError, match=r"was not called|no aggregate"):
    losses.objective(losses.ppo_clip(), aggregate=aggregate)


@pytest.mark.parametrize("name", ["grpo", "kl_cov", "rloo"])
def test_a_complete_loss_is_found_elsewhere(name):
  with pytest.raises(AttributeError, match=f"see objectives.{name}"):
    getattr(losses, name)
