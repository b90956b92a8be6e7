"""verl's and the paper's repository's losses, in our terms."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_entropy import losses
from jaxrl_entropy.losses.aggregation import aggregate_by
from jaxrl_entropy.ops import quota
from jaxrl_entropy.types import TokenBatch
from tests.golden.harness import Adapter, DiffersByDesign, NotImplementedCase
from tests.golden.objectives import KEY, batch_from_rows, evaluate

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
  surrogate = losses.sapo(
    config.get("tau_pos", 1.0), config.get("tau_neg", 1.05)
  )
  return losses.objective(*chain(surrogate, weigh=weigh), aggregate=by)


def geo_mean(config: Config, by: losses.Aggregate, weigh: bool) -> Any:
  del by
  level = "response" if weigh else False
  return losses.objective(
    losses.token_ratio(None),
    *chain(losses.geo_mean(*clip(config)), weigh=level),
    aggregate=losses.seq_mean_token_mean("all"),
  )


def cispo(config: Config, by: losses.Aggregate, weigh: bool) -> Any:
  surrogate = losses.cispo(*clip(config))
  return losses.objective(*chain(surrogate, weigh=weigh), aggregate=by)


def dppo(kind: str) -> Build:
  def build(config: Config, by: losses.Aggregate, weigh: bool) -> Any:
    surrogate = losses.dppo(
      kind, *clip(config), config.get("clip_ratio_c", 3.0)
    )
    return losses.objective(*chain(surrogate, weigh=weigh), aggregate=by)

  return build


def reinforce(config: Config, by: losses.Aggregate, weigh: bool) -> Any:
  del config
  return losses.objective(
    losses.token_ratio(None),
    *chain(losses.reinforce(), weigh=weigh),
    aggregate=by,
  )


def dro(config: Config, by: losses.Aggregate, weigh: bool) -> Any:
  return losses.objective(
    losses.token_ratio(None),
    *chain(losses.dro(config.get("dro_beta")), weigh=weigh),
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


class Spy:
  """A selector that keeps what the selector inside it picks."""

  def __init__(self, selector: losses.Selector):
    self._selector = selector
    self.chosen: Any = None

  def __call__(self, loss: Any, batch: Any, key: Any) -> losses.Selection:
    picked = self._selector(loss, batch, key)
    self.chosen = picked.chosen
    return picked


def picked_by(
  selector: losses.Selector,
  before: tuple[losses.LossTransform, ...],
  batch: TokenBatch,
) -> np.ndarray:
  """The tokens that `selector` picks at the end of a chain."""
  spy = Spy(selector)
  losses.objective(
    *before, losses.shadow(spy, "spy"), aggregate=losses.token_mean()
  )(batch, KEY)
  return np.asarray(spy.chosen)


def permuted(
  candidates: np.ndarray, count: int, order: np.ndarray
) -> np.ndarray:
  """The peer's draw: the first of `order` among the row-major candidates."""
  flat = np.zeros(candidates.size, bool)
  flat[np.flatnonzero(candidates)[order[:count]]] = True
  return flat.reshape(candidates.shape)


def usable(ratio: float, most: float) -> float:
  """A share of the tokens that the peer takes as well."""
  if ratio == 0 or ratio > most:
    raise DiffersByDesign("section 10.4 (4): 0 is off, and a quota is capped")
  return ratio


def clip_cov_run(
  config: Config, inputs: Arrays, by: losses.Aggregate
) -> dict[str, Any]:
  batch = rows(inputs)
  before = (losses.token_ratio(None), losses.ppo_clip(*clip(config)))
  band = (config.get("clip_cov_lb", 1.0), config.get("clip_cov_ub", 5.0))
  ratio = usable(config.get("clip_cov_ratio", 2e-4), np.inf)
  selector = losses.random_covariance(ratio, *band, min_tokens=1)
  valid = jnp.sum(batch.mask, dtype=jnp.uint32)
  count = max(int(quota.floor_share(ratio, valid)), 1)
  candidates = picked_by(losses.random_covariance(1.0, *band), before, batch)
  if "perm" in inputs and candidates.sum() > count:
    chosen = permuted(candidates, count, inputs["perm"])

    def selector(loss: Any, batch: TokenBatch, key: Any) -> Any:
      del loss, batch, key
      return losses.Selection(jnp.asarray(chosen))

  selected = picked_by(selector, before, batch)
  objective = losses.objective(
    *chain(
      *before,
      losses.masked(losses.set_to_zero(), selector),
      weigh="rollout_is_weights" in inputs,
    ),
    aggregate=by,
  )
  loss, gradient, metrics = evaluate(objective, batch)
  return {
    "loss": loss,
    "grad_log_prob": gradient,
    "pg_clipfrac": metrics["select/share"],
    "ppo_kl": metrics["kl/old"],
    "num_valid": valid,
    "clip_num": count,
    "num_candidates": candidates.sum(),
    "num_selected": selected.sum(),
    "candidate_mask": candidates,
    "selected_mask": selected,
  }


def refuse_ties(scores: np.ndarray, count: int) -> None:
  """The peer's order of equal scores is not defined; ours is."""
  ranked = np.sort(scores)[::-1]
  if 0 < count < len(ranked):
    gap = ranked[count - 1] - ranked[count]
    if gap <= 1e-6 * np.abs(ranked[[0, -1]]).max():
      raise DiffersByDesign("section 10.4 (5, 10): equal scores at the cut")


def kl_cov_run(
  config: Config, inputs: Arrays, by: losses.Aggregate
) -> dict[str, Any]:
  batch = rows(inputs)
  fraction = config.get("kl_cov_ratio", 2e-4)
  if "k_percent" in config:
    fraction = config["k_percent"] / 100
  selector = losses.top_covariance(usable(fraction, 1.0), min_tokens=1)
  before = (losses.token_ratio(None), losses.policy_gradient())
  selected = picked_by(selector, before, batch)
  covariance = np.asarray(losses.covariance_score()(batch))
  valid = np.asarray(batch.mask)
  refuse_ties(covariance[valid], max(int(fraction * valid.sum()), 1))
  penalty = losses.add_kl(config.get("ppo_kl_coef", 0.1))
  objective = losses.objective(
    *chain(
      *before,
      losses.masked(penalty, selector),
      weigh="rollout_is_weights" in inputs,
    ),
    aggregate=by,
  )
  loss, gradient, metrics = evaluate(objective, batch)
  return {
    "loss": loss,
    "grad_log_prob": gradient,
    "ppo_kl": metrics["kl/old_abs"],
    "num_valid": batch.mask.sum(),
    "k": selected.sum(),
    "num_selected": selected.sum(),
    "selected_mask": selected,
    "cov": covariance,
  }


def covariance_loss(
  run: Callable[[Config, Arrays, losses.Aggregate], dict[str, Any]],
  by: Callable[[Config], losses.Aggregate],
) -> Adapter:
  def adapter(config: Config, inputs: Arrays) -> dict[str, Any]:
    def one(config: Config, inputs: Arrays) -> dict[str, Any]:
      results = run(config, inputs, by(config))
      return results | {
        f"actor/{name}": results[name]
        for name in ("pg_clipfrac", "ppo_kl")
        if name in results
      }

    if "micro_batch_rows" in config:
      return in_micro_batches(one, config, inputs)
    return one(config, inputs)

  return adapter


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


def paper_covariance(
  run: Callable[[Config, Arrays, losses.Aggregate], dict[str, Any]],
) -> Adapter:
  return covariance_loss(run, paper_aggregate)


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
  VERL + "compute_policy_loss_clip_cov": covariance_loss(
    clip_cov_run, aggregate
  ),
  VERL + "compute_policy_loss_kl_cov": covariance_loss(kl_cov_run, aggregate),
  PAPER + "compute_policy_loss": paper_vanilla,
  PAPER + "compute_policy_loss_clip_cov": paper_covariance(clip_cov_run),
  PAPER + "compute_policy_loss_kl_cov": paper_covariance(kl_cov_run),
  PAPER + "agg_loss": agg_loss(paper_aggregate),
}
