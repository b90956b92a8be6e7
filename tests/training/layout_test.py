import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy import objectives, sharding
from jaxrl_entropy.models import transformer
from jaxrl_entropy.models.config import preset
from jaxrl_entropy.ops.logprobs import TokenStats
from jaxrl_entropy.training.forward import Forward
from jaxrl_entropy.training.layout import Layout, score_of
from jaxrl_entropy.training.update import loss_and_gradient, objective_batch
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
SHARED = dataclasses.replace(PLAIN, share=True)


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


def two_prompts():
  """The rollout, with a longer prompt of its own for each group."""
  first, second = np.array([2, 3, 4, 5], np.int32), np.array([9, 8], np.int32)
  prompts = [first, first, second, second]
  return dataclasses.replace(make_rollout(), prompts=prompts)


def test_a_prompt_stands_once_in_a_row_for_all_of_its_group():
  rows = SHARED.minibatch(two_prompts(), [], responses=4)
  tokens = np.asarray(rows.tokens)
  # The longest first, and the last token of the prompt before each response.
  np.testing.assert_array_equal(
    tokens[0, 0], [9, 8, 2, 3, 4, 5, 8, 2, 3, 0, 0, 0]
  )
  np.testing.assert_array_equal(
    tokens[0, 1], [2, 3, 4, 5, 2, 3, 4, 5, 2, 0, 0, 0]
  )
  np.testing.assert_array_equal(
    rows.positions[0, 1], [0, 1, 2, 3, 4, 5, 6, 3, 4, 0, 0, 0]
  )
  assert not rows.mask[1].any()
  assert int(rows.mask.sum()) == make_rollout().tokens


@pytest.mark.parametrize("layout", [PACKED, SHARED], ids=["packed", "shared"])
def test_packing_does_not_show_in_loss_and_gradient(params, layout):
  objective = objectives.resolve(
    "clip_cov", {"fraction": 0.3, "cov_low": 0.0, "cov_high": 9.0}
  )
  results = []
  for each in (PLAIN, layout):
    rows = each.minibatch(two_prompts(), ["advantages", "old_logp"], 4)
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


def test_an_embedding_is_the_mean_hidden_state_of_its_responses_tokens(params):
  score = score_of(dataclasses.replace(FORWARD, embedded=PLAIN.capacity))
  rollout = two_prompts()
  embedding = PLAIN.score(score, params, rollout)["embedding"]
  assert embedding.shape == (4, MODEL.hidden_size)
  ids = np.concatenate([rollout.prompts[2], rollout.responses[2]])[None]
  hidden = transformer.hidden_states(
    params, MODEL, ids, np.arange(ids.size)[None], np.ones_like(ids)
  )
  np.testing.assert_allclose(embedding[2], hidden[0, 2:].mean(0), atol=1e-5)


def test_a_minibatch_carries_the_embeddings_of_its_responses():
  rollout = make_rollout()
  rollout.outcomes["embedding"] = np.arange(12, dtype=np.float32).reshape(4, 3)
  chosen = rollout.select(np.array([3, 1]))
  names = ["embedding", "old_logp", "advantages"]
  rows = PACKED.minibatch(chosen, names, responses=6)
  nothing = TokenStats(*2 * [jnp.zeros(rows.tokens.shape)])
  batch = objective_batch(rows, nothing, num_responses=6, max_length=5)
  assert batch.embedding[:, 0].tolist() == [9, 3, 0, 0, 0, 0]
  own = np.asarray(batch.embedding)[np.asarray(batch.response[batch.mask]), 0]
  assert sorted(own) == [3, 9, 9]


@pytest.mark.parametrize("layout", [PACKED, SHARED], ids=["packed", "shared"])
def test_statistics_come_back_to_their_responses(params, layout):
  score = score_of(dataclasses.replace(FORWARD, embedded=PLAIN.capacity))
  rollout = two_prompts()
  plain = PLAIN.score(score, params, rollout)
  packed = layout.score(score, params, rollout)
  embedding = plain.pop("embedding")
  np.testing.assert_allclose(packed.pop("embedding"), embedding, atol=1e-5)
  assert set(plain) == set(packed) == {"logp", "entropy"}
  for name, values in plain.items():
    assert values.shape == rollout.mask.shape
    assert (values[rollout.mask] != 0).all()
    np.testing.assert_allclose(packed[name], values, atol=1e-5)
