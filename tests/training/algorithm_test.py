import jax.numpy as jnp
import pytest

from jaxrl_entropy.config import defaults, finalize
from jaxrl_entropy.errors import UserError
from jaxrl_entropy.training import algorithm as algorithm_lib, forward


def resolve(**changes):
  config = defaults.get_config()
  for field, value in changes.items():
    with config.unlocked():
      config.update_from_flattened_dict({field.replace("__", "."): value})
  finalize(config)
  return algorithm_lib.resolve(config)


def test_a_plain_method_needs_nothing_more():
  method = resolve()
  assert method.needs == frozenset()


@pytest.mark.parametrize(
  ("changes", "needed"),
  [
    ({"reward__kl_coefficient": 0.1}, "ref_logp"),
    ({"advantage__name": "remax"}, "baseline_rewards"),
    ({"advantage__name": "gae"}, "values"),
    ({"rollout__max_staleness": 1}, "sampler_logp"),
    ({"rollout__partial_tokens": 4}, "sampler_logp"),
    ({"rollout__weight_dtype": "int8"}, "sampler_logp"),
  ],
)
def test_needs_follow_from_the_config(changes, needed):
  assert needed in resolve(**changes).needs


def test_token_baselines_ask_for_the_moments():
  needs = resolve(advantage__name="optimal_token_baseline").needs
  assert needs & forward.MOMENTS


def test_off_policy_rollouts_are_weighed_last():
  plain, stale = resolve(), resolve(rollout__max_staleness=1)
  assert len(stale.build({}).transforms) == len(plain.build({}).transforms) + 1


def test_a_loss_with_weights_of_its_own_gets_no_others():
  stale = resolve(rollout__max_staleness=1, loss__name="tis")
  assert stale.tis_cap is None
  assert "sampler_logp" in stale.needs


def test_controllers_drive_arguments_of_the_loss():
  config = defaults.get_config()
  config.loss.name = "kl_cov"
  config.loss.controllers.coefficient = {
    "name": "linear",
    "start": 1.0,
    "end": 0.0,
    "updates": 10,
  }
  finalize(config)
  method = algorithm_lib.resolve(config)
  state = method.controllers.init()
  values = method.controllers.coefficients(state, jnp.int32(5))
  assert float(values["coefficient"]) == pytest.approx(0.5)


@pytest.mark.parametrize("section", ["loss", "advantage"])
def test_unknown_names_are_refused(section):
  with pytest.raises(ValueError, match="clip_covv"):
    resolve(**{f"{section}__name": "clip_covv"})


@pytest.mark.parametrize("advantage", ["grpo", "rloo", "dr_grpo"])
def test_one_response_to_a_prompt_cannot_be_compared(advantage):
  with pytest.raises(UserError, match=r"group_size is 1.*raise it to 2"):
    resolve(rollout__group_size=1, advantage__name=advantage)


@pytest.mark.parametrize("advantage", ["reinforce_plus_plus", "remax", "gae"])
def test_other_baselines_do_with_one_response(advantage):
  resolve(rollout__group_size=1, advantage__name=advantage)
