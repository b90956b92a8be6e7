"""Selection of the groups and responses of a rollout to train on."""

from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict
import numpy as np

from jaxrl_entropy import registry
from jaxrl_entropy.training.rollout import Rollout, mixed_groups

# (advantage of each response [N], entropy of the rollout in nats per token,
# share of the run that is done) -> bool [N]
Acceptance = Callable[[np.ndarray, float, float], np.ndarray]


def everything() -> Acceptance:
  """Learns from all responses."""
  return lambda advantages, entropy, done: np.ones(len(advantages), bool)


def entropy_band(
  lower: tuple[float, float] = (0.6, 0.4),
  upper: tuple[float, float] = (0.7, 0.5),
) -> Acceptance:
  """Keeps the entropy inside a band that moves over the run.

  Below the band only responses of negative advantage are learned from, which
  raises the entropy; above it only those of positive advantage. The rule and
  the bounds are those of the authors' code (Li et al. 2026, arXiv 2604.26326).
  It also takes the bare reward for the advantage outside the band; here the
  advantages stay the estimator's.

  Args:
    lower: lower edge at the start and at the end of the run, nats per token;
      linear in between.
    upper: upper edge likewise.

  Raises:
    ValueError: if the lower edge is above the upper one.
  """
  for low, high in zip(lower, upper, strict=True):
    if low > high:
      raise ValueError(f"entropy_band: lower edge {low} is above upper {high}")

  def accept(advantages: np.ndarray, entropy: float, done: float) -> np.ndarray:
    if entropy < np.interp(done, (0.0, 1.0), lower):
      return advantages < 0
    if entropy > np.interp(done, (0.0, 1.0), upper):
      return advantages > 0
    return np.ones(len(advantages), bool)

  return accept


FILTERS: dict[str, Callable[..., Acceptance]] = {
  "everything": everything,
  "entropy_band": entropy_band,
}


def resolve(name: str, args: Mapping[str, Any] | None = None) -> Acceptance:
  """Returns the filter of `config.rollout.accept`, by name or import path.

  Args:
    name: a key of `FILTERS`, or the import path of a function that makes one.
    args: keyword arguments of that function.

  Raises:
    UserError: for an unknown name, or arguments that the filter lacks.
  """
  return registry.call("rollout.accept", name, args, FILTERS)


def make_group_filter(
  settings: ConfigDict,
) -> Callable[[Rollout, float], Rollout]:
  """Returns the selection of `config.rollout`: groups, then responses.

  Args:
    settings: the `rollout` section; `group_filter` chooses the groups, of which
      the first `train_groups` stay, and `accept` their responses.

  Returns:
    A function of the rollout, with advantages, and the share of the run that is
    done.
  """
  accept = resolve(settings.accept.name, settings.accept.args)

  def select_groups(rollout: Rollout, done: float) -> Rollout:
    if settings.group_filter == "mixed":
      groups = mixed_groups(rollout)[: settings.train_groups]
    else:
      groups = np.unique(rollout.groups)
    kept = np.isin(rollout.groups, groups)
    entropy = rollout.signals["entropy"][rollout.mask].mean()
    kept &= accept(rollout.row_means("advantages"), entropy, done)
    return rollout.select(np.flatnonzero(kept))

  return select_groups
