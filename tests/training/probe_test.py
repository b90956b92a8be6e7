import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_entropy import sharding
from jaxrl_entropy.models import transformer
from jaxrl_entropy.models.config import preset
from jaxrl_entropy.training import probe
from jaxrl_entropy.training.forward import Forward

MODEL = preset("tiny", vocab_size=16, num_layers=1)


def traces():
  rng = np.random.default_rng(0)
  prompts = [rng.integers(2, 16, 3) for _ in range(6)]
  responses = [rng.integers(2, 16, n) for n in (1, 2, 3, 4, 4, 4)]
  return probe.choose_traces(prompts, responses, 8, rng)


def test_traces_have_the_states_asked_for_and_survive_the_disk(tmp_path):
  chosen = traces()
  states = sum(len(t.tokens) - t.prompt for t in chosen)
  assert 8 <= states < 12
  probe.save_traces(tmp_path / "probe.npz", chosen)
  assert [p.name for p in tmp_path.iterdir()] == ["probe.npz"]
  loaded = probe.load_traces(tmp_path / "probe.npz")
  for a, b in zip(chosen, loaded, strict=True):
    np.testing.assert_array_equal(a.tokens, b.tokens)
    assert a.prompt == b.prompt


def observe(states=99, chunk=probe.CHUNK):
  params = transformer.init(MODEL, jax.random.key(0))
  mesh = sharding.make_mesh(devices=jax.devices()[:1])
  made = probe.make_observe(
    traces(), states, 8, Forward(MODEL, 0.7), mesh, chunk
  )
  return list(made(params))


def test_observed_distributions_are_those_of_the_naive_forward():
  params = transformer.init(MODEL, jax.random.key(0))
  expected = []
  for trace in traces():
    logits = transformer.logits(params, MODEL, jnp.asarray(trace.tokens[None]))
    expected.append(logits[0, trace.prompt - 1 : -1] / 0.7)
  expected = jax.nn.log_softmax(jnp.concatenate(expected))
  (observed,) = observe()
  np.testing.assert_allclose(observed, expected, atol=2e-6)


def test_chunks_hold_all_states_and_no_more_values_than_asked():
  (whole,) = observe()
  chunks = observe(chunk=3 * 16)
  assert all(len(chunk) <= 3 for chunk in chunks)
  np.testing.assert_allclose(jnp.concatenate(chunks), whole, atol=2e-6)


def test_of_long_responses_as_many_states_are_taken_as_asked():
  (whole,), (few,) = observe(), observe(states=4)
  assert len(whole) > len(few) == 4
  np.testing.assert_allclose(few[jnp.array([0, -1])], whole[jnp.array([0, -1])])


def test_the_dynamics_do_not_depend_on_the_chunks():
  before, after = (
    jax.nn.log_softmax(jax.random.normal(jax.random.key(seed), (7, 16)))
    for seed in range(2)
  )
  whole = probe.dynamics(before, after)
  parts = probe.dynamics_of_chunks(
    *([x[:3], x[3:6], x[6:]] for x in (before, after))
  )
  for key, value in whole.items():
    np.testing.assert_allclose(parts[key], value, rtol=1e-5)


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
