import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_entropy import sharding
from jaxrl_entropy.models import transformer
from jaxrl_entropy.models.config import preset
from jaxrl_entropy.training import probe
from jaxrl_entropy.training.step import Forward

MODEL = preset("tiny", vocab_size=16, num_layers=1)


def states():
  rng = np.random.default_rng(0)
  prompts = [rng.integers(2, 16, 3) for _ in range(6)]
  responses = [rng.integers(2, 16, n) for n in (1, 2, 3, 4, 4, 4)]
  return probe.choose_states(prompts, responses, 8, rng)


def test_states_end_before_a_sampled_token_and_survive_the_disk(tmp_path):
  chosen = states()
  assert len(chosen) == 8
  assert all(3 <= len(state) <= 6 for state in chosen)
  probe.save_states(tmp_path / "probe.npz", chosen)
  assert [p.name for p in tmp_path.iterdir()] == ["probe.npz"]
  for a, b in zip(
    chosen, probe.load_states(tmp_path / "probe.npz"), strict=True
  ):
    np.testing.assert_array_equal(a, b)


def test_observed_distributions_are_those_of_the_naive_forward():
  params = transformer.init(MODEL, jax.random.key(0))
  mesh = sharding.make_mesh(devices=jax.devices()[:1])
  observe = probe.make_observe(states(), 8, Forward(MODEL, 0.7), mesh)
  observed = observe(params)
  for row, state in zip(observed, states(), strict=True):
    logits = transformer.logits(params, MODEL, jnp.asarray(state[None]))
    expected = jax.nn.log_softmax(logits[0, -1] / 0.7)
    np.testing.assert_allclose(row, expected, atol=2e-6)


def test_covariance_predicts_the_entropy_change_to_first_order():
  key, other = jax.random.split(jax.random.key(1))
  logits = 2.0 * jax.random.normal(key, (5, 16))
  direction = jax.random.normal(other, (5, 16))

  def gap(step):
    before = jax.nn.log_softmax(logits)
    after = jax.nn.log_softmax(logits + jnp.float32(step) * direction)
    found = probe.dynamics(before, after)
    return abs(found["probe/delta_entropy"] - found["probe/minus_cov"])

  # Lemma 1: what is left is of second order in the step.
  assert gap(0.2) / gap(0.1) > 3.0
  assert gap(0.1) < 2e-2
