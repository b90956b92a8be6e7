"""Peer functions of PRIME's recipe, in our terms."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_entropy import advantages
from jaxrl_entropy.advantages import implicit_reward
from tests.golden.harness import Adapter, NotImplementedCase

Config = dict[str, Any]
Arrays = dict[str, np.ndarray]

CORE = "recipe/prime/prime_core_algos.py::"
MODEL = "recipe/prime/prime_dp_rm.py::DataParallelPRIMERewardModel."


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
  result = advantages.resolve("prime", args)(values)
  return {"advantages": result.advantages, "returns": result.returns}


def prime_rewards(config: Config, inputs: Arrays) -> dict[str, Any]:
  if config.get("prime_granularity", "token") != "token":
    raise NotImplementedCase("rewards of whole responses: the outcome's place")
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
    "token_level_score_normed": (
      implicit_reward.normalize(rewards)
      if config.get("prime_norm", "batch_norm") == "batch_norm"
      else rewards
    ),
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
    rival = implicit_reward.rival_score(accuracy, others, others_accuracy)
    each = implicit_reward.pairwise(score, accuracy, rival)
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


ADAPTERS: dict[str, Adapter] = {
  CORE + "compute_rloo_advantage_return": prime_advantages,
  CORE + "compute_ce_dpo_loss_rm": prime_cross_entropy,
  CORE + "compute_detach_dpo_loss_rm": prime_pairwise,
  CORE + "compute_dpo_accuracy": prime_accuracy,
  MODEL + "_forward_micro_batch + prime_norm": prime_rewards,
}
