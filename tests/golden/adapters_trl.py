"""TRL's GRPO losses, in our terms."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_entropy import losses
from jaxrl_entropy.ops import masked
from jaxrl_entropy.types import TokenBatch
from tests.golden.harness import Adapter, NotImplementedCase
from tests.golden.objectives import KEY, batch_from_rows, evaluate

Config = dict[str, Any]
Arrays = dict[str, np.ndarray]

BY_ITEMS = ("cispo", "dapo", "vespo")  # divided by num_items_in_batch
CLIPPED = ("grpo", "bnpo", "dr_grpo", "dapo", "luspo")


def batch_of(inputs: Arrays) -> TokenBatch:
  logp = inputs["per_token_logps"]
  advantages = inputs["advantages"]
  if advantages.ndim == 1:
    advantages = advantages[:, None]
  return batch_from_rows(
    logp,
    inputs.get("old_per_token_logps", logp),
    advantages,
    inputs["completion_mask"],
    weights=inputs.get("importance_sampling_ratio"),
    ref_logp=inputs.get("ref_per_token_logps"),
    entropy=inputs.get("entropies"),
  )


def steps(config: Config) -> int:
  """Micro-batches of an update, by whose number some losses are divided."""
  if config.get("mode") == "eval":
    return 1
  return config.get("gradient_accumulation_steps", 1)


def ratio(config: Config) -> losses.LossTransform:
  level = config.get("importance_sampling_level", "token")
  return {
    "token": losses.token_ratio(None),
    "sequence": losses.sequence_ratio(None),
    "sequence_token": losses.sequence_token_ratio(None),
  }[level]


def surrogate(config: Config, weigh: bool) -> losses.LossTransform:
  low = config.get("epsilon", 0.2)
  high = config.get("epsilon_high", low)
  kind = config["loss_type"]
  if kind == "cispo":
    return losses.clipped_likelihood(None, high - 1.0)
  if kind == "sapo":
    return losses.soft_clip(
      config.get("sapo_temperature_pos", 1.0),
      config.get("sapo_temperature_neg", 1.05),
    )
  if kind == "vespo":
    pairs = [
      (config.get(f"vespo_k_{s}", k), config.get(f"vespo_lambda_{s}", rate))
      for s, k, rate in (("pos", 2.0, 3.0), ("neg", 3.0, 2.0))
    ]
    return losses.response_likelihood(*pairs, sampler=weigh)
  return losses.ppo_clip(low, high, config.get("delta"))


def transforms(config: Config, weigh: bool) -> list[losses.LossTransform]:
  """The surrogate, then masks, weights and penalties in TRL's order."""
  parts = [ratio(config), surrogate(config, weigh)]
  threshold = config.get("off_policy_mask_threshold")
  if threshold is not None:
    drifted = losses.drifted_responses(threshold)
    parts.append(losses.masked(losses.set_to_zero(), drifted, "drifted"))
  quantile = config.get("top_entropy_quantile", 1.0)
  if quantile < 1.0:
    low = losses.complement(losses.top_entropy(quantile))
    parts.append(losses.masked(losses.set_to_zero(), low, "low_entropy"))
  if weigh and config["loss_type"] != "vespo":
    parts.append(losses.importance_weight(None))
  if config.get("beta"):
    corrected = config.get("use_bias_correction_kl", False)
    parts.append(
      losses.add_reference_kl(
        config["beta"], "k3_unclamped", weighted=corrected
      )
    )
  return parts


def aggregate(config: Config, batch: TokenBatch) -> losses.Aggregate:
  """Every row counts, empty ones too."""
  kind, parts = config["loss_type"], steps(config)
  rows = batch.num_responses * parts
  if kind in BY_ITEMS:
    return losses.token_mean(float(max(config["num_items_in_batch"], 1)))
  if kind == "bnpo":
    return losses.token_mean(max(float(batch.mask.sum()), 1.0) * parts)
  if kind == "dr_grpo":
    length = config.get("max_completion_length", 32)
    return losses.seq_mean_token_sum_norm(rows, length)
  if kind == "luspo":
    return losses.seq_mean_token_sum(rows)
  return losses.seq_mean_token_mean(rows)


def clip_metrics(
  config: Config, parts: list[losses.LossTransform], batch: TokenBatch
) -> dict[str, Any]:
  """Shares of clipped tokens in each response, and over all of them."""
  objective = losses.objective(*parts, aggregate=losses.token_mean())

  def shares(rows: TokenBatch) -> dict[str, jax.Array]:
    metrics = objective(rows, KEY)[1]
    return {
      "low": metrics["ratio/clip_low_share"].compute(),
      "high": metrics["ratio/clip_high_share"].compute(),
      "region": metrics["ratio/clip_share"].compute(),
    }

  whole = shares(batch)
  by_row = jax.vmap(lambda row: shares(jax.tree.map(lambda x: x[None], row)))(
    batch.replace(response=jnp.zeros_like(batch.response))
  )
  if config.get("importance_sampling_level") == "sequence":
    whole = {name: share.mean() for name, share in by_row.items()}
  return {
    **{f"clip_ratio/{name}_mean": whole[name] for name in whole},
    "clip_ratio/low_min": by_row["low"].min(),
    "clip_ratio/high_max": by_row["high"].max(),
  }


def with_entropy(
  config: Config, batch: TokenBatch, loss: jax.Array
) -> dict[str, Any]:
  """TRL's entropy bonus is a mean over tokens, whatever the policy's is."""
  by_items = config["loss_type"] in BY_ITEMS
  coefficient = config.get("entropy_coef", 0.0)
  bonus = losses.objective(
    losses.add_entropy(coefficient),
    aggregate=aggregate(
      config | {"loss_type": "dapo" if by_items else "bnpo"}, batch
    ),
  )
  return {
    "loss": loss + bonus(batch, KEY)[0],
    "policy_loss": loss if by_items else loss * steps(config),
    "entropy": masked.masked_mean(batch.entropy, batch.mask),
    "entropy_coef": coefficient,
  }


def weight_by_row(mean: jax.Array, batch: TokenBatch) -> jax.Array:
  """The mean over all rows; one without tokens weighs 1."""
  filled = batch.mask.any(1).mean()
  return mean * filled + (1.0 - filled)


def compute_loss(config: Config, inputs: Arrays) -> dict[str, Any]:
  level = config.get("importance_sampling_level", "token")
  tokenwise = level == "token" or config.get("beta")
  if config["loss_type"] == "luspo" and tokenwise:
    raise NotImplementedCase(
      "luspo token by token averages over padding, whose values have no say"
    )
  batch = batch_of(inputs)
  parts = transforms(config, "importance_sampling_ratio" in inputs)
  loss, gradient, metrics = evaluate(
    losses.objective(*parts, aggregate=aggregate(config, batch)), batch
  )
  results = {"loss": loss, "grad_per_token_logps": gradient}
  if batch.entropy is not None:
    results |= with_entropy(config, batch, loss)
  if "kl/reference" in metrics:
    results["kl"] = metrics["kl/reference"]
  if config["loss_type"] in (*CLIPPED, "cispo"):
    results |= clip_metrics(config, parts, batch)
    results["cispo_clip_ratio"] = results["clip_ratio/high_mean"]
  if config["loss_type"] == "vespo":
    weight = weight_by_row(metrics["ratio/weight"], batch)
    results["vespo/phi_seq_mean"] = weight
  return results


ADAPTERS: dict[str, Adapter] = {
  "trl/trainer/grpo_trainer.py::GRPOTrainer._compute_loss": compute_loss,
  "trl/experimental/gspo_token/grpo_trainer.py::GRPOTrainer._compute_loss": (
    compute_loss
  ),
}
