import jax
import numpy as np
import pytest

from jaxrl_entropy.losses import alias
from jaxrl_entropy.ops.covariance import token_covariance
from tests.losses import batches

KEY = jax.random.key(0)


def test_clip_higher_reports_the_tokens_that_it_lets_through():
  batch = batches.make()
  loss, metrics = alias.resolve("clip_higher")(batch, KEY)
  ratio = np.exp(batch.logp - batch.old_logp)
  extra = batch.mask & (batch.advantages > 0) & (ratio > 1.2) & (ratio <= 1.28)
  assert extra.any()
  covariance = token_covariance(batch.logp, batch.advantages, batch.mask)
  found = metrics["extra/covariance"].compute()
  np.testing.assert_allclose(found, covariance[extra].mean(), rtol=1e-5)
  share = metrics["extra/share"].compute()
  np.testing.assert_allclose(share, extra.sum() / batch.mask.sum(), rtol=1e-6)
  plain, _ = alias.resolve("grpo", {"high": 0.28})(batch, KEY)
  assert loss == plain


@pytest.mark.parametrize(
  ("name", "sign"), [("entropy_bonus", -1), ("reference_kl", 1)]
)
def test_a_bonus_or_penalty_is_added_to_grpo(name, sign):
  batch = batches.make()
  plain, _ = alias.resolve("grpo")(batch, KEY)
  losses = [
    alias.resolve(name, {"coefficient": c})(batch, KEY)[0] for c in (0.0, 0.1)
  ]
  assert losses[0] == plain
  assert np.sign(losses[1] - plain) == sign


def test_an_unknown_name_or_argument_is_named():
  with pytest.raises(ValueError, match="unknown loss 'grpoo'"):
    alias.resolve("grpoo")
  with pytest.raises(ValueError, match="does not take these args"):
    alias.resolve("clip_cov", {"fractoin": 0.1})
