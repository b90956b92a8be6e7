"""Chains in which a part would have no effect are refused by name."""

import pytest

from jaxrl_entropy import losses

HIGH = losses.top_entropy(0.2)


def mine(loss, batch, key):
  del batch, key
  return loss


LEGAL = {
  "the usual order": (
    losses.token_ratio(),
    losses.ppo_clip(),
    losses.dual_clip(),
    losses.add_kl(1.0),
    losses.importance_weight(),
  ),
  "another surrogate on some tokens": (
    losses.ppo_clip(),
    losses.masked(losses.ppo_clip(0.5, 0.5), HIGH),
    losses.add_kl(1.0),
  ),
  "two halves": (
    losses.masked(losses.ppo_clip(0.5, 0.5), HIGH),
    losses.masked(losses.ppo_clip(), losses.complement(HIGH)),
  ),
  "a ratio for some tokens": (
    losses.masked(losses.sequence_ratio(), HIGH),
    losses.policy_gradient(),
  ),
  "a term alone": (losses.add_entropy(0.1),),
  "a function of one's own before a surrogate": (mine, losses.ppo_clip()),
  "a function of one's own under a weight": (mine, losses.set_to_zero()),
  "what is nested": (
    losses.chain(losses.token_ratio(), losses.ppo_clip()),
    losses.chain(losses.add_kl(1.0)),
  ),
  "a shadow anywhere": (losses.shadow(HIGH, "high"), losses.ppo_clip()),
}


@pytest.mark.parametrize("name", LEGAL)
def test_an_order_that_works_is_taken(name):
  losses.objective(*LEGAL[name], aggregate="token_mean")


REFUSED = {
  "a penalty before": (
    (losses.add_kl(1.0), losses.ppo_clip()),
    r"ppo_clip\(\) sets the loss and would discard what add_kl\(\)",
  ),
  "a penalty on some tokens before": (
    (losses.masked(losses.add_kl(1.0), HIGH), losses.ppo_clip()),
    r"discard what add_kl\(\)",
  ),
  "a penalty before a replacement": (
    (
      losses.ppo_clip(),
      losses.add_kl(1.0),
      losses.masked(losses.ppo_clip(0.5, 0.5), HIGH),
    ),
    r"discard what add_kl\(\)",
  ),
  "a penalty before a bound": (
    (losses.ppo_clip(), losses.add_kl(1.0), losses.dual_clip()),
    r"dual_clip\(\) sets the loss and would discard",
  ),
  "a penalty before, nested": (
    (losses.chain(losses.add_kl(1.0)), losses.chain(losses.ppo_clip())),
    r"discard what add_kl\(\)",
  ),
  "two surrogates": (
    (losses.policy_gradient(), losses.ppo_clip()),
    r"discard that of policy_gradient\(\)",
  ),
  "a ratio after": (
    (losses.ppo_clip(), losses.sequence_ratio()),
    r"no surrogate reads the ratio of sequence_ratio\(\)",
  ),
  "two ratios": (
    (losses.token_ratio(), losses.sequence_ratio(), losses.ppo_clip()),
    r"sequence_ratio\(\) replaces the ratio of token_ratio\(\)",
  ),
  "a weight before": (
    (losses.importance_weight(), losses.ppo_clip()),
    r"importance_weight\(\) multiplies the loss",
  ),
  "a bound alone": (
    (losses.dual_clip(),),
    r"dual_clip\(\) bounds the loss of a surrogate",
  ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_order_that_loses_a_part_is_refused(name):
  transforms, message = REFUSED[name]
  with pytest.raises(ValueError, match=message):
    losses.objective(*transforms, aggregate="token_mean")


def test_declared_parts_of_one_s_own_are_checked():
  @losses.part("penalty")
  def add_something():
    return mine

  with pytest.raises(ValueError, match=r"discard what add_something\(\)"):
    losses.objective(add_something(), losses.ppo_clip(), aggregate="token_mean")
  with pytest.raises(ValueError, match="kind is 'penaltee'; use 'ratio'"):
    losses.part("penaltee")
