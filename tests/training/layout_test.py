import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy import sharding
from jaxrl_entropy.losses import alias
from jaxrl_entropy.models import transformer
from jaxrl_entropy.models.config import preset
from jaxrl_entropy.training.layout import Layout, score_of
from jaxrl_entropy.training.step import Forward, loss_and_gradient
from tests.training.rollouts import make_rollout

MODEL = preset("nano", vocab_size=32, num_layers=1)
FORWARD = Forward(MODEL, chunk=16)
PLAIN = Layout(
  sharding.make_mesh(devices=jax.devices()[:1]),
  row_length=12,
  response_length=5,
  capacity=8,
  micro_batches=2,
  updates=1,
  pack=False,
)
PACKED = dataclasses.replace(PLAIN, pack=True)


@pytest.fixture(scope="module")
def params():
  return transformer.init(MODEL, jax.random.key(0))


def test_rows_carry_the_signals_of_their_tokens():
  rollout = make_rollout()
  rows = PLAIN.minibatch(rollout, ["advantages"], responses=6)
  assert rows.tokens.shape == (2, 3, 12)
  signal = np.asarray(rows.signals["advantages"]).reshape(6, 12)
  np.testing.assert_array_equal(
    signal[2, 2:6], rollout.signals["advantages"][2, :4]
  )


def test_packing_fills_fewer_rows_of_the_same_shape():
  # 5, 3, 6 and 4 tokens: two rows of 12 hold them.
  rows = PACKED.minibatch(make_rollout(), [], responses=4)
  assert rows.tokens.shape == (2, 2, 12)
  assert not rows.mask[1].any()
  assert int(rows.mask.sum()) == make_rollout().tokens


def test_packing_does_not_show_in_loss_and_gradient(params):
  objective = alias.resolve(
    "clip_cov", {"fraction": 0.3, "low": 0.0, "high": 9.0}
  )
  results = []
  for layout in (PLAIN, PACKED):
    rows = layout.minibatch(make_rollout(), ["advantages", "old_logp"], 4)
    call = jax.jit(
      lambda rows: loss_and_gradient(
        params,
        rows,
        objective,
        jax.random.key(0),
        FORWARD,
        num_responses=4,
        max_length=5,
      )
    )
    results.append(call(rows))
  (loss, _, gradient), (packed_loss, _, packed_gradient) = results
  np.testing.assert_allclose(packed_loss, loss, rtol=1e-5)
  norm = max(float(jnp.abs(g).max()) for g in jax.tree.leaves(gradient))
  for a, b in zip(
    jax.tree.leaves(gradient), jax.tree.leaves(packed_gradient), strict=True
  ):
    np.testing.assert_allclose(a, b, atol=1e-5 * norm)


def test_statistics_come_back_to_their_responses(params):
  score = score_of(FORWARD)
  rollout = make_rollout()
  plain = PLAIN.score(score, params, rollout)
  packed = PACKED.score(score, params, rollout)
  assert set(plain) == {"logp", "entropy"}
  for name, values in plain.items():
    assert values.shape == rollout.mask.shape
    assert (values[rollout.mask] != 0).all()
    np.testing.assert_allclose(packed[name], values, atol=1e-5)
