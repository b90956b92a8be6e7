"""Peer functions on advantages, KL, values and PRIME, in our terms.

An adapter takes a case's configuration and inputs (float32 arrays) and returns
what our code gives for it, under the names of the case's outputs and scalars.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_entropy import losses, types
from jaxrl_entropy.ops import advantages, implicit_reward
from jaxrl_entropy.ops.kl import kl

Config = dict[str, Any]
Arrays = dict[str, np.ndarray]
Adapter = Callable[[Config, Arrays], dict[str, Any]]

VERL = "verl/trainer/ppo/core_algos.py::"
PRIME = "recipe/prime/"


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
  components = np.stack([inputs[f"reward_{name}"] for name in names])
  inputs = inputs | {"token_level_rewards": components.T}
  return estimated(
    advantages.resolve(
      "gdpo", {"weights": config.get("gdpo_reward_weights", None)}
    ),
    rollout(inputs, components=components),
  )


def token_baseline(name: str) -> Adapter:
  def adapter(config: Config, inputs: Arrays) -> dict[str, Any]:
    weights = inputs.get("rollout_is_weights")
    args = {
      "zero_tail": config.get("handle_zero_tail", True),
      "weighted": weights is not None,
      "eps": config.get("epsilon", 1e-8),
    }
    rows = dense(
      inputs,
      old_logp=inputs["old_log_probs"],
      sum_p2=inputs["sum_pi_squared"],
      sampler_weights=weights,
    )
    return estimated(advantages.resolve(name, args), rows)

  return adapter


def trl_advantages(config: Config, inputs: Arrays) -> dict[str, Any]:
  components = inputs["rewards_per_func"].T
  weights = inputs["reward_weights"]
  rows = components.shape[1]
  scored = ~np.isnan(components).all(0)
  total = np.nansum(components * weights[:, None], axis=0)
  values = advantages.AdvantageInputs(
    rewards=np.where(scored, total, np.nan),
    mask=np.ones((rows, 1), bool),
    groups=np.arange(rows, dtype=np.int32) // config.get("num_generations", 4),
    components=components,
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
      {"weights": weights.tolist(), "over": "responses", "eps": 1e-4},
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
    return np.full(len(rewards), np.nanstd(values.components, axis=1).max())
  if config.get("scale_rewards", "group") == "batch":
    return np.full(len(rewards), np.nanstd(values.rewards))
  return np.asarray(
    advantages.group_statistics(rewards, jnp.asarray(values.groups)).std
  )


def prime_advantages(config: Config, inputs: Arrays) -> dict[str, Any]:
  mask = inputs["response_mask"]
  accuracy = inputs.get("acc", np.zeros(len(mask), np.float32))
  process = inputs.get("rm_scores")
  values = advantages.AdvantageInputs(
    rewards=accuracy,
    mask=mask.astype(bool),
    groups=np.arange(len(mask), dtype=np.int32) // config["n_samples"],
    process_rewards=process,
  )
  args = {
    "process": config.get("reward_dpo_coef", 5.0)
    if process is not None
    else 0.0,
    "outcome": config.get("reward_gt_coef", 5.0),
  }
  return estimated(advantages.resolve("prime", args), values)


def prime_rewards(config: Config, inputs: Arrays) -> dict[str, Any]:
  mask = jnp.asarray(inputs["response_mask"].astype(bool))
  q = jnp.asarray(inputs["logprob"] - inputs["ref_logprob"])
  accuracy = (
    jnp.asarray(inputs["acc"]) if config.get("prime_use_gt", False) else None
  )
  rewards = implicit_reward.implicit_rewards(
    q,
    mask,
    beta=config.get("beta", 0.05),
    lam=config.get("lambda", 0.0),
    accuracy=accuracy,
  )
  return {
    "q": jnp.where(mask, q, 0.0),
    "token_level_score": rewards,
    "token_level_score_normed": implicit_reward.normalize(rewards),
  }


def _scores(q: jax.Array, inputs: Arrays, beta: float) -> jax.Array:
  mask = jnp.asarray(inputs["response_mask"].astype(bool))
  return beta * jnp.where(mask, q, 0.0).sum(1)


def prime_cross_entropy(config: Config, inputs: Arrays) -> dict[str, Any]:
  def loss(q: jax.Array) -> jax.Array:
    score = _scores(q, inputs, config.get("beta", 0.05))
    return implicit_reward.cross_entropy(
      score, jnp.asarray(inputs["acc"])
    ).mean()

  value, gradient = jax.value_and_grad(loss)(jnp.asarray(inputs["q"]))
  return {"loss": value, "grad_q": gradient}


def prime_pairwise(config: Config, inputs: Arrays) -> dict[str, Any]:
  beta, mode = config.get("beta", 0.05), config.get("bon_mode", "none")
  accuracy = jnp.asarray(inputs["acc"])
  others = beta * jnp.asarray(inputs["Q_bc"])
  others_accuracy = jnp.asarray(inputs["acc_bc"])

  def loss(q: jax.Array) -> jax.Array:
    score = _scores(q, inputs, beta)
    each = implicit_reward.pairwise(score, accuracy, others, others_accuracy)
    if mode == "none":
      return each.mean()
    weight = (
      implicit_reward.best_of_n_weight(accuracy, others_accuracy)
      if mode == "bon_acc"
      else implicit_reward.best_of_n_weight(score, others)
    )
    return (each * jax.lax.stop_gradient(weight)).sum()

  value, gradient = jax.value_and_grad(loss)(jnp.asarray(inputs["q"]))
  return {"loss": value, "grad_q": gradient}


def prime_accuracy(config: Config, inputs: Arrays) -> dict[str, Any]:
  score = _scores(jnp.asarray(inputs["token_level_scores"]), inputs, 1.0)
  accuracy = jnp.asarray(inputs["acc"])
  groups = np.arange(len(accuracy), dtype=np.int32) // config["n_samples"]
  agree = jnp.sign(score) == jnp.sign(2 * accuracy - 1)
  return {
    "value": implicit_reward.pair_accuracy(
      score, accuracy, jnp.asarray(groups)
    ),
    "abs_value": agree.mean(),
  }


def value_loss(config: Config, inputs: Arrays) -> dict[str, Any]:
  mask = inputs["response_mask"].astype(bool)
  aggregate = {
    "token-mean": losses.token_mean,
    "seq-mean-token-mean": losses.seq_mean_token_mean,
  }[config.get("loss_agg_mode", "token-mean")]
  objective = losses.objective(
    losses.value_loss(config.get("cliprange_value", 0.5)), aggregate=aggregate()
  )
  zeros = np.zeros(mask.shape, np.float32)

  def loss(values: jax.Array) -> Any:
    batch = types.token_batch_from_rows(
      *map(jnp.asarray, (zeros, zeros, zeros, mask)),
      values=values,
      old_values=jnp.asarray(inputs["values"]),
      returns=jnp.asarray(inputs["returns"]),
    )
    return objective(batch, jax.random.key(0))

  (value, metrics), gradient = jax.value_and_grad(loss, has_aux=True)(
    jnp.asarray(inputs["vpreds"])
  )
  return {
    "loss": value,
    "vf_clipfrac": metrics["value/clip_share"].compute(),
    "grad_vpreds": gradient,
  }


def kl_penalty(config: Config, inputs: Arrays) -> dict[str, Any]:
  def total(logp: jax.Array) -> tuple[jax.Array, jax.Array]:
    values = kl(logp, jnp.asarray(inputs["ref_logprob"]), config["kl_penalty"])
    return values.sum(), values

  gradient, values = jax.grad(total, has_aux=True)(
    jnp.asarray(inputs["logprob"])
  )
  return {"kl": values, "grad_logprob": gradient}


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
  VERL + "compute_value_loss": value_loss,
  VERL + "kl_penalty": kl_penalty,
  PRIME + "prime_core_algos.py::compute_rloo_advantage_return": (
    prime_advantages
  ),
  PRIME + "prime_core_algos.py::compute_ce_dpo_loss_rm": prime_cross_entropy,
  PRIME + "prime_core_algos.py::compute_detach_dpo_loss_rm": prime_pairwise,
  PRIME + "prime_core_algos.py::compute_dpo_accuracy": prime_accuracy,
  PRIME + "prime_dp_rm.py::DataParallelPRIMERewardModel._forward_micro_batch"
  " + prime_norm": prime_rewards,
  "trl/trainer/grpo_trainer.py::GRPOTrainer._generate_and_score_completions"
  " (reward-to-advantage statements)": trl_advantages,
}
