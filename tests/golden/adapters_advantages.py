"""Peer functions on advantages, in our terms."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrl_entropy import advantages
from tests.golden.harness import Adapter

Config = dict[str, Any]
Arrays = dict[str, np.ndarray]

VERL = "verl/trainer/ppo/core_algos.py::"
TRL = "trl/trainer/grpo_trainer.py::GRPOTrainer."


def rollout(inputs: Arrays, **more: Any) -> advantages.AdvantageInputs:
  """The peers' rows; the unmasked sum of a row's rewards is its outcome."""
  mask = inputs["response_mask"].astype(bool)
  index = inputs.get("index", np.arange(len(mask)))
  groups = np.unique(index, return_inverse=True)[1]
  fields = {
    "rewards": inputs["token_level_rewards"].sum(1),
    "mask": mask,
    "groups": groups.astype(np.int32),
  }
  return advantages.AdvantageInputs(**fields | more)


def dense(inputs: Arrays, **more: Any) -> advantages.AdvantageInputs:
  """The same, each reward staying at its token."""
  rewards = inputs["token_level_rewards"]
  return rollout(
    inputs,
    rewards=np.zeros(len(rewards), np.float32),
    token_rewards=rewards,
    **more,
  )


def estimated(
  estimator: advantages.Estimator, inputs: advantages.AdvantageInputs
) -> dict[str, Any]:
  result = estimator(inputs)
  return {"advantages": result.advantages, "returns": result.returns}


def scaled(name: str, argument: str, on: Any, off: Any) -> Adapter:
  """An outcome estimator with a switch for the division by the deviation."""

  def adapter(config: Config, inputs: Arrays) -> dict[str, Any]:
    scale = on if config.get("norm_adv_by_std_in_grpo", True) else off
    args = {argument: scale, "eps": config.get("epsilon", 1e-6)}
    return estimated(advantages.resolve(name, args), rollout(inputs))

  return adapter


def outcome(name: str, **args: Any) -> Adapter:
  return lambda config, inputs: estimated(
    advantages.resolve(name, args), rollout(inputs)
  )


def reinforce_plus_plus(config: Config, inputs: Arrays) -> dict[str, Any]:
  args = {"gamma": config.get("gamma", 1.0)}
  return estimated(
    advantages.resolve("reinforce_plus_plus", args), dense(inputs)
  )


def remax(config: Config, inputs: Arrays) -> dict[str, Any]:
  del config
  baseline = inputs["reward_baselines"]
  return estimated(
    advantages.resolve("remax"), dense(inputs, baseline_rewards=baseline)
  )


def gae(config: Config, inputs: Arrays) -> dict[str, Any]:
  args = {"gamma": config.get("gamma", 1.0), "lam": config.get("lam", 1.0)}
  return estimated(
    advantages.resolve("gae", args), dense(inputs, values=inputs["values"])
  )


def gdpo(config: Config, inputs: Arrays) -> dict[str, Any]:
  names = config.get("gdpo_reward_keys")
  if not names:
    return estimated(advantages.resolve("gdpo"), rollout(inputs))
  components = {name: inputs[f"reward_{name}"] for name in names}
  total = np.stack(list(components.values()), axis=1)
  given = config.get("gdpo_reward_weights") or [1.0] * len(names)
  weights = dict(zip(names, given, strict=True))
  return estimated(
    advantages.resolve("gdpo", {"weights": weights}),
    rollout(inputs | {"token_level_rewards": total}, components=components),
  )


def token_baseline(name: str) -> Adapter:
  def adapter(config: Config, inputs: Arrays) -> dict[str, Any]:
    weights = inputs.get("rollout_is_weights")
    args = {
      "zero_tail": config.get("handle_zero_tail", True),
      "weighted": weights is not None,
      "eps": config.get("epsilon", 1e-8),
    }
    old_logp = inputs["old_log_probs"]
    sampler_logp = None if weights is None else old_logp - np.log(weights)
    rows = dense(
      inputs,
      old_logp=old_logp,
      sum_p2=inputs["sum_pi_squared"],
      sampler_logp=sampler_logp,
    )
    return estimated(advantages.resolve(name, args), rows)

  return adapter


def trl_advantages(config: Config, inputs: Arrays) -> dict[str, Any]:
  table = inputs["rewards_per_func"].T
  weights = inputs["reward_weights"]
  rows = table.shape[1]
  scored = ~np.isnan(table).all(0)
  total = np.nansum(table * weights[:, None], axis=0)
  values = advantages.AdvantageInputs(
    rewards=np.where(scored, total, np.nan),
    mask=np.ones((rows, 1), bool),
    groups=np.arange(rows, dtype=np.int32) // config.get("num_generations", 4),
    components={str(i): row for i, row in enumerate(table)},
  )
  if (
    config.get("multi_objective_aggregation", "sum_then_normalize")
    == "sum_then_normalize"
  ):
    estimator = advantages.resolve(
      "grpo", {"scale": config.get("scale_rewards", "group"), "eps": 1e-4}
    )
  else:
    estimator = advantages.resolve(
      "gdpo",
      {
        "weights": {str(i): w for i, w in enumerate(weights.tolist())},
        "over": "responses",
        "eps": 1e-4,
      },
    )
  return {
    "advantages": estimator(values).advantages[:, 0],
    "is_std_zero": np.isclose(_trl_deviation(config, values), 0.0),
  }


def _trl_deviation(
  config: Config, values: advantages.AdvantageInputs
) -> np.ndarray:
  """The deviation that TRL tests for zero, one a response."""
  rewards = jnp.nan_to_num(jnp.asarray(values.rewards))
  if (
    config.get("multi_objective_aggregation", "sum_then_normalize")
    == "normalize_then_sum"
  ):
    # That of the summed z-scores: zero only if every reward is constant.
    widest = max(np.nanstd(x) for x in values.components.values())
    return np.full(len(rewards), widest)
  if config.get("scale_rewards", "group") == "batch":
    return np.full(len(rewards), np.nanstd(values.rewards))
  return np.asarray(
    advantages.group_statistics(rewards, jnp.asarray(values.groups)).std
  )


ADVANTAGES: dict[str, Adapter] = {
  "grpo_outcome": scaled("grpo", "scale", "group", "none"),
  "grpo_vectorized_outcome": scaled("grpo", "scale", "group", "none"),
  "grpo_passk_outcome": scaled("grpo_passk", "scale", True, False),
  "rloo_outcome": outcome("rloo"),
  "rloo_vectorized_outcome": outcome("rloo", single="zero"),
  "opo_outcome": outcome("opo"),
  "gpg_outcome": outcome("gpg"),
  "reinforce_plus_plus_baseline_outcome": outcome(
    "reinforce_plus_plus_baseline"
  ),
  "reinforce_plus_plus_outcome": reinforce_plus_plus,
  "remax_outcome": remax,
  "gdpo_outcome": gdpo,
  "optimal_token_baseline": token_baseline("optimal_token_baseline"),
  "multi_turn_optimal_token_baseline": token_baseline(
    "tir_optimal_token_baseline"
  ),
}

ADAPTERS: dict[str, Adapter] = {
  **{f"{VERL}compute_{name}_advantage": f for name, f in ADVANTAGES.items()},
  VERL + "compute_gae_advantage_return": gae,
  TRL + "_generate_and_score_completions (reward-to-advantage statements)": (
    trl_advantages
  ),
}
