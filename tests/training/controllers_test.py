"""Schedules and feedback of loss coefficients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy.training import controllers


def single(**spec):
  return controllers.resolve({"coefficient": spec})


def value(controller, state, update=0):
  return float(controller.coefficients(state, jnp.int32(update))["coefficient"])


def test_linear_annealing_reaches_exactly_zero():
  controller = single(name="linear", start=2e-3, end=0.0, updates=100, delay=50)
  state = controller.init()
  got = [value(controller, state, u) for u in (0, 50, 100, 150, 10_000)]
  np.testing.assert_allclose(got, [2e-3, 2e-3, 1e-3, 0, 0], rtol=1e-6)
  assert got[-1] == 0


def test_cosine_and_exponential():
  cosine = single(name="cosine", start=1.0, end=0.2, updates=10)
  got = [value(cosine, cosine.init(), u) for u in (0, 5, 10, 20)]
  np.testing.assert_allclose(got, [1.0, 0.6, 0.2, 0.2], atol=1e-6)
  decay = single(name="exponential", start=4.0, decay=0.5, updates=10)
  got = [value(decay, decay.init(), u) for u in (0, 10, 20)]
  np.testing.assert_allclose(got, [4.0, 2.0, 1.0], rtol=1e-6)


def test_target_entropy_steers_a_policy_to_its_target():
  """Entropy falls by itself and rises with the coefficient."""
  controller = single(name="target_entropy", target=0.5, start=0.05, gain=0.05)
  state, entropy = controller.init(), 1.5
  for _ in range(600):
    state = controller.update(state, {"entropy/token_mean": entropy})
    entropy += 0.2 * (value(controller, state) - entropy)
  np.testing.assert_allclose(entropy, 0.5, rtol=0.02)


def test_target_entropy_stays_between_its_bounds():
  controller = single(
    name="target_entropy", target=0.5, start=1.0, low=0.1, high=2.0
  )
  for entropy, bound in ((0.0, 2.0), (50.0, 0.1)):
    state = controller.init()
    for _ in range(50):
      state = controller.update(state, {"entropy/token_mean": entropy})
    np.testing.assert_allclose(value(controller, state), bound)


def test_target_entropy_comes_back_after_a_long_time_above_its_target():
  controller = single(name="target_entropy", target=0.5, start=1.0)
  state = controller.init()
  for _ in range(500):
    state = controller.update(state, {"entropy/token_mean": 2.0})
  for _ in range(20):
    state = controller.update(state, {"entropy/token_mean": 0.0})
  assert value(controller, state) > 1.0


def test_adaptive_entropy_acts_below_its_target_only():
  controller = single(name="adaptive_entropy", target=0.3, step=0.01, high=1.0)
  state, got = controller.init(), []
  for entropy in (0.1, 0.1, 0.5, 0.1, 0.5, 0.5, 0.5, 0.1):
    state = controller.update(state, {"entropy/token_mean": entropy})
    got.append(value(controller, state))
  expected = [0.01, 0.02, 0.0, 0.02, 0.0, 0.0, 0.0, 0.01]
  np.testing.assert_allclose(got, expected, atol=1e-7)


def test_the_defaults_of_adaptive_entropy_are_the_authors():
  controller = single(name="adaptive_entropy")
  state, got = controller.init(), []
  for _ in range(60):
    state = controller.update(state, {"entropy/token_mean": 0.1})
    got.append(value(controller, state))
  np.testing.assert_allclose(got[0], 1e-4, rtol=1e-5)
  np.testing.assert_allclose(got[-1], 5e-3, rtol=1e-5)


def test_step_entropy_moves_by_the_sign_of_the_error():
  controller = single(
    name="step_entropy", target=0.3, step=0.25, start=1.5, low=1.5, high=2.0
  )
  state, got = controller.init(), []
  for entropy in (0.1, 0.2, 0.2, 0.3, 0.9, 0.9, 0.9):
    state = controller.update(state, {"entropy/token_mean": entropy})
    got.append(value(controller, state))
  np.testing.assert_allclose(got, [1.75, 2.0, 2.0, 2.0, 1.75, 1.5, 1.5])


def test_pi_entropy_adds_the_error_to_its_sum():
  controller = single(name="pi_entropy", target=0.3, integral=0.1, limit=0.5)
  state, total = controller.init(), 0.0
  assert value(controller, state) == 0
  for entropy in (0.5, 0.4, 0.1, 0.3, 2.0):
    state = controller.update(state, {"entropy/token_mean": entropy})
    error = entropy - 0.3
    expected = np.clip(total + error, -0.5, 0.5)
    total += 0.1 * error
    np.testing.assert_allclose(value(controller, state), expected, atol=1e-6)


def test_pi_entropy_removes_a_constant_drift():
  """The integral part leaves no error where the entropy falls by itself."""
  controller = single(name="pi_entropy", target=0.5, integral=0.05)
  state, entropy = controller.init(), 1.0
  for _ in range(400):
    state = controller.update(state, {"entropy/token_mean": entropy})
    entropy += 0.1 * (-0.2 - value(controller, state))
  np.testing.assert_allclose(entropy, 0.5, atol=0.02)


def test_first_value_stays():
  controller = single(name="first_value", metric="entropy/anchored")
  state = controller.init()
  assert value(controller, state) == -1
  for entropy in (0.7, 0.2, 1.0):
    state = controller.update(state, {"entropy/anchored": entropy})
    np.testing.assert_allclose(value(controller, state), 0.7, rtol=1e-6)


def test_entropy_trend_is_above_zero_while_the_entropy_falls():
  controller = single(name="entropy_trend", limit=0.4)
  state, got = controller.init(), []
  for entropy in (1.0, 1.0, 0.95, 0.5, 1.5):
    state = controller.update(state, {"entropy/token_mean": entropy})
    got.append(value(controller, state))
  np.testing.assert_allclose(got, [0, 0, 0.25, 0.4, -0.4], atol=1e-6)


def test_adaptive_kl_moves_by_a_fifth_a_horizon():
  controller = single(
    name="adaptive_kl", target=0.1, start=1.0, horizon=100, samples=100
  )
  state = controller.update(controller.init(), {"kl/reference": 10.0})
  np.testing.assert_allclose(value(controller, state), 1.2, rtol=1e-6)
  state = controller.update(state, {"kl/reference": 0.09})
  np.testing.assert_allclose(value(controller, state), 1.2 * 0.9, rtol=1e-6)


def test_a_measurement_that_is_not_finite_changes_nothing():
  controller = single(name="target_entropy", target=0.5, start=1.0)
  state = controller.update(controller.init(), {"entropy/token_mean": np.nan})
  assert value(controller, state) == 1.0


def test_a_metric_that_no_update_reports_is_named():
  controller = single(
    name="adaptive_kl", target=0.1, start=1.0, horizon=100, samples=8
  )
  state = controller.init()
  # A step without updates has nothing to report.
  assert value(controller, controller.update(state, {"reward/mean": 0})) == 1.0
  with pytest.raises(ValueError, match="fed by the metric 'kl/reference'"):
    controller.update(state, {"loss": 0.1})


def test_several_controllers_trace_into_one_compiled_step():
  controller = controllers.resolve(
    {
      "fraction": {"name": "linear", "start": 1.0, "end": 0.0, "updates": 4},
      "coefficient": {"name": "target_entropy", "target": 1.0, "start": 3.0},
    }
  )
  traces = []

  @jax.jit
  def step(state, update):
    traces.append(1)
    return controller.coefficients(state, update)

  state = controller.init()
  for update in range(3):
    got = step(state, jnp.int32(update))
    state = controller.update(state, {"entropy/token_mean": 0.0})
  assert len(traces) == 1
  np.testing.assert_allclose(got["fraction"], 0.5)
  np.testing.assert_allclose(got["coefficient"], 3.0 * np.e, rtol=1e-6)


def test_no_controllers():
  none = controllers.resolve({})
  assert none.init() == {}
  assert none.coefficients({}, jnp.int32(0)) == {}
  assert none.update({}, {}) == {}


@pytest.mark.parametrize(
  ("spec", "message"),
  [
    ({"name": "pid"}, r"loss\.controllers\.coefficient\.name 'pid'"),
    ({"start": 1.0}, "name ''"),
    ({"name": "linear", "begin": 1.0}, r"it is called as linear\(start"),
    ({"name": "target_entropy", "target": 0.0, "start": 1.0}, "above 0"),
  ],
)
def test_bad_specs(spec, message):
  with pytest.raises(ValueError, match=message):
    controllers.resolve({"coefficient": spec})
