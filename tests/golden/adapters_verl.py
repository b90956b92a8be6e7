"""verl's and the paper's repository's losses, in our terms."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_entropy import arguments, losses
from jaxrl_entropy.losses.aggregates import aggregate_by
from jaxrl_entropy.types import TokenBatch
from tests.golden.harness import Adapter, NotImplementedCase
from tests.golden.objectives import batch_from_rows, evaluate

Config = dict[str, Any]
Arrays = dict[str, np.ndarray]
Build = Callable[[Config, losses.Aggregate, bool], losses.Objective]

VERL = "verl/trainer/ppo/core_algos.py::"
PAPER = "verl/trainer/ppo/core_algos.py (PRIME-RL/Entropy-Mechanism-of-RL)::"

RATIO_METRICS = {
  "actor/pg_clipfrac": "ratio/clip_share",
  "actor/ppo_kl": "kl/old",
}


def rows(inputs: Arrays) -> TokenBatch:
  return batch_from_rows(
    inputs["log_prob"],
    inputs["old_log_prob"],
    inputs["advantages"],
    inputs["response_mask"],
    weights=inputs.get("rollout_is_weights"),
  )


def clip(config: Config) -> tuple[float, float]:
  both = config.get("clip_ratio", 0.2)
  low, high = config.get("clip_ratio_low"), config.get("clip_ratio_high")
  return both if low is None else low, both if high is None else high


def aggregate(config: Config) -> losses.Aggregate:
  """`agg_loss` with the counts of the whole batch, where they are given."""
  mode = config.get("loss_agg_mode", "token-mean")
  info = config.get("global_batch_info") or config
  shards = info.get("dp_size") or 1
  tokens, responses = (
    None if info.get(name) is None else info[name] / shards
    for name in ("batch_num_tokens", "global_batch_size")
  )
  if mode == "token-sum":
    return losses.token_mean(1.0 / shards)
  known = tokens if mode == "token-mean" else responses
  if shards > 1 and known is None:
    raise NotImplementedCase(
      "dp_size: a mean over ranks has no counterpart, as counts are global"
    )
  if mode == "token-mean":
    return losses.token_mean(tokens)
  if mode == "seq-mean-token-sum":
    return losses.seq_mean_token_sum(responses)
  if mode == "seq-mean-token-sum-norm":
    length = info.get("loss_scale_factor")
    return losses.seq_mean_token_sum_norm(responses, length)
  if mode == "seq-mean-token-mean":
    return losses.seq_mean_token_mean(responses)
  return aggregate_by(mode)


def paper_aggregate(config: Config) -> losses.Aggregate:
  """The older `agg_loss`, which counts rows without a valid token."""
  return {
    "token-mean": losses.token_mean(),
    "seq-mean-token-sum": losses.seq_mean_token_sum("all"),
    "seq-mean-token-sum-norm": losses.seq_mean_token_sum_norm(responses=1.0),
    "seq-mean-token-mean": losses.seq_mean_token_mean("all"),
  }[config["loss_agg_mode"]]


def agg_loss(by: Callable[[Config], losses.Aggregate]) -> Adapter:
  def adapter(config: Config, inputs: Arrays) -> dict[str, Any]:
    zeros = np.zeros(inputs["loss_mat"].shape, np.float32)
    batch = batch_from_rows(zeros, zeros, zeros, inputs["loss_mask"])
    reduce = by(config)
    loss, gradient = jax.value_and_grad(lambda x: reduce(x, batch).compute())(
      jnp.asarray(inputs["loss_mat"])
    )
    return {"loss": loss, "grad_loss_mat": gradient}

  return adapter


def chain(*transforms: losses.LossTransform, weigh: Any = False) -> list:
  """The transforms, and the sampler's weights where the peer is given any."""
  if not weigh:
    return list(transforms)
  level = weigh if isinstance(weigh, str) else "token"
  return [*transforms, losses.importance_weight(None, level)]


def vanilla(config: Config, by: losses.Aggregate, weigh: bool) -> Any:
  surrogate = losses.ppo_clip(*clip(config))
  bound = losses.dual_clip(config.get("clip_ratio_c", 3.0))
  return losses.objective(*chain(surrogate, bound, weigh=weigh), aggregate=by)


def gspo(config: Config, by: losses.Aggregate, weigh: bool) -> Any:
  return losses.objective(
    losses.sequence_token_ratio(),
    *chain(losses.ppo_clip(*clip(config)), weigh=weigh),
    aggregate=by,
  )


def sapo(config: Config, by: losses.Aggregate, weigh: bool) -> Any:
  surrogate = losses.soft_clip(
    config.get("tau_pos", 1.0), config.get("tau_neg", 1.05)
  )
  return losses.objective(*chain(surrogate, weigh=weigh), aggregate=by)


def geo_mean(config: Config, by: losses.Aggregate, weigh: bool) -> Any:
  del by
  level = "response" if weigh else False
  return losses.objective(
    losses.token_ratio(None),
    *chain(losses.geo_mean(*clip(config), limit=None), weigh=level),
    aggregate=losses.seq_mean_token_mean("all"),
  )


def cispo(config: Config, by: losses.Aggregate, weigh: bool) -> Any:
  surrogate = losses.clipped_likelihood(*clip(config))
  return losses.objective(*chain(surrogate, weigh=weigh), aggregate=by)


def dppo(kind: str) -> Build:
  def build(config: Config, by: losses.Aggregate, weigh: bool) -> Any:
    surrogate = losses.divergence_likelihood(
      kind, *clip(config), config.get("clip_ratio_c", 3.0)
    )
    return losses.objective(*chain(surrogate, weigh=weigh), aggregate=by)

  return build


def reinforce(config: Config, by: losses.Aggregate, weigh: bool) -> Any:
  del config
  return losses.objective(
    losses.token_ratio(None),
    *chain(losses.log_likelihood(), weigh=weigh),
    aggregate=by,
  )


def dro(config: Config, by: losses.Aggregate, weigh: bool) -> Any:
  beta = config.get("dro_beta")
  arguments.above("dro", 0.0, beta=beta)
  return losses.objective(
    losses.token_ratio(None),
    losses.log_likelihood(),
    *chain(losses.add_kl(beta, "k2"), weigh=weigh),
    aggregate=by,
  )


def policy_loss(
  build: Build,
  metrics: Mapping[str, str | float] = RATIO_METRICS,
  mode: str | None = None,
) -> Adapter:
  """An adapter from an objective; metrics: the peer's name -> ours, or a 0."""

  def run(
    config: Config, inputs: Arrays, by: losses.Aggregate
  ) -> dict[str, Any]:
    objective = build(config, by, "rollout_is_weights" in inputs)
    loss, gradient, ours = evaluate(objective, rows(inputs))
    named = {
      name: ours[source] if isinstance(source, str) else source
      for name, source in metrics.items()
    }
    return {"loss": loss, "grad_log_prob": gradient, **named}

  def adapter(config: Config, inputs: Arrays) -> dict[str, Any]:
    if mode is not None:
      config = config | {"loss_agg_mode": mode}
    by = aggregate(config)
    if "micro_batch_rows" in config:
      return in_micro_batches(lambda c, i: run(c, i, by), config, inputs)
    return run(config, inputs, by)

  return adapter


def in_micro_batches(
  run: Adapter, config: Config, inputs: Arrays
) -> dict[str, Any]:
  """The whole batch, and the same objective on slices of its rows."""
  ends = np.cumsum(config["micro_batch_rows"])[:-1]
  pieces = {name: np.split(array, ends) for name, array in inputs.items()}
  parts = [
    run(config, {name: pieces[name][i] for name in pieces})
    for i in range(len(ends) + 1)
  ]
  whole = {f"full_{k}": v for k, v in run(config, inputs).items()}
  micro = {
    f"micro_{name}": np.concatenate([part[name] for part in parts])
    for name in ("grad_log_prob", "selected_mask")
    if name in parts[0]
  }
  by_part = np.stack([part["loss"] for part in parts])
  return (
    whole
    | micro
    | {
      "micro_losses": by_part,
      "micro_loss_sum": by_part.sum(),
    }
  )


def paper_vanilla(config: Config, inputs: Arrays) -> dict[str, Any]:
  if config.get("dual_clip"):
    raise NotImplementedCase("the paper's repository has no dual clip")
  objective = losses.objective(
    losses.token_ratio(None),
    losses.ppo_clip(*clip(config)),
    aggregate=paper_aggregate(config),
  )
  loss, gradient, metrics = evaluate(objective, rows(inputs))
  return {
    "loss": loss,
    "grad_log_prob": gradient,
    "pg_clipfrac": metrics["ratio/clip_share"],
    "ppo_kl": metrics["kl/old"],
  }


LOWER = "actor/pg_clipfrac_lower"
ADAPTERS: dict[str, Adapter] = {
  VERL + "agg_loss": agg_loss(aggregate),
  VERL + "compute_policy_loss_vanilla": policy_loss(
    vanilla, {**RATIO_METRICS, LOWER: "ratio/dual_clip_share"}
  ),
  VERL + "compute_policy_loss_gspo": policy_loss(
    gspo, {**RATIO_METRICS, LOWER: 0.0}, "seq-mean-token-mean"
  ),
  VERL + "compute_policy_loss_sapo": policy_loss(
    sapo, {**RATIO_METRICS, LOWER: 0.0}, "seq-mean-token-mean"
  ),
  VERL + "compute_policy_loss_geo_mean": policy_loss(
    geo_mean,
    {
      "actor/ppo_kl": "kl/old",
      "actor/pg_clipfrac": "ratio/clip_high_share",
      LOWER: "ratio/clip_low_share",
    },
  ),
  VERL + "compute_policy_loss_cispo": policy_loss(
    cispo, {**RATIO_METRICS, LOWER: 0.0}
  ),
  **{
    f"{VERL}compute_policy_loss_dppo_{kind}": policy_loss(
      dppo(kind), {**RATIO_METRICS, LOWER: "ratio/cap_share"}
    )
    for kind in ("tv", "kl")
  },
  VERL + "compute_policy_loss_gpg": policy_loss(reinforce, {}),
  VERL + "compute_policy_loss_reinforce": policy_loss(
    reinforce, {"actor/ppo_kl": "kl/old"}
  ),
  VERL + "compute_policy_loss_dro": policy_loss(
    dro, {"actor/ppo_kl": "kl/old"}
  ),
  PAPER + "compute_policy_loss": paper_vanilla,
  PAPER + "agg_loss": agg_loss(paper_aggregate),
}
