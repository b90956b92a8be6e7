"""Clip-Cov and KL-Cov as verl and the paper's repository have them."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrl_entropy import losses
from jaxrl_entropy.ops.selection import quota
from jaxrl_entropy.types import TokenBatch
from tests.golden.adapters_verl import (
  PAPER,
  VERL,
  aggregate,
  chain,
  clip,
  in_micro_batches,
  paper_aggregate,
  rows,
)
from tests.golden.harness import Adapter, DiffersByDesign
from tests.golden.objectives import KEY, evaluate

Config = dict[str, Any]
Arrays = dict[str, np.ndarray]
Run = Callable[[Config, Arrays, losses.Aggregate], dict[str, Any]]


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


def draw_order(config: Config, inputs: Arrays) -> np.ndarray | None:
  """Of the candidates, where the peer's random draw was replaced."""
  if str(config.get("perm", "")).startswith("identity"):
    return np.arange(inputs["log_prob"].size)
  return inputs.get("perm")


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
  selector = losses.random_covariance(min(ratio, 1.0), *band, min_tokens=1)
  valid = jnp.sum(batch.mask, dtype=jnp.uint32)
  count = max(int(quota.floor_share(ratio, valid)), 1)
  candidates = picked_by(losses.random_covariance(1.0, *band), before, batch)
  order = draw_order(config, inputs)
  if order is not None and candidates.sum() > count:
    chosen = permuted(candidates, count, order)

    def selector(loss: Any, batch: TokenBatch, key: Any) -> Any:
      del loss, batch, key
      return losses.Selection(jnp.asarray(chosen))

  selected = picked_by(selector, before, batch)
  rule = losses.masked(losses.set_to_zero(), selector)
  weigh = "rollout_is_weights" in inputs
  loss, gradient, metrics = evaluate_rule(before, rule, weigh, by, batch)
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


def evaluate_rule(
  before: tuple[losses.LossTransform, ...],
  rule: losses.LossTransform,
  weigh: bool,
  by: losses.Aggregate,
  batch: TokenBatch,
) -> tuple[Any, Any, Any]:
  """Loss, gradient and metrics of a covariance rule after its surrogate."""
  transforms = chain(*before, rule, weigh=weigh)
  return evaluate(losses.objective(*transforms, aggregate=by), batch)


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
  rule = losses.masked(penalty, selector)
  weigh = "rollout_is_weights" in inputs
  loss, gradient, metrics = evaluate_rule(before, rule, weigh, by, batch)
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
  run: Run, by: Callable[[Config], losses.Aggregate]
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


RULES: dict[str, Run] = {"clip_cov": clip_cov_run, "kl_cov": kl_cov_run}
ADAPTERS: dict[str, Adapter] = {
  f"{source}compute_policy_loss_{name}": covariance_loss(run, by)
  for source, by in ((VERL, aggregate), (PAPER, paper_aggregate))
  for name, run in RULES.items()
}
