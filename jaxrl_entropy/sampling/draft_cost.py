"""Decides on the host when drafts pay, and counts how they do."""

from collections import Counter, defaultdict, deque
import dataclasses
import math

from jaxrl_entropy.sampling.drafts import DraftState

_ASSUMED_COST = 2.0
"""Cost of a step with drafts before one was timed."""

_TIMINGS = 8
"""Latest calls of a program, of which the fastest one counts."""

_RETRY = 64
"""Calls without drafts after which an old timing with drafts is forgotten."""


@dataclasses.dataclass
class DraftStats:
  """Counts of a sampler since it was made.

  Attributes:
    steps: forward passes of the programs that may draft.
    draft_steps: those of them that verified drafts.
    drafted: drafted tokens that were verified.
    accepted: drafted tokens that were right.
  """

  steps: int = 0
  draft_steps: int = 0
  drafted: int = 0
  accepted: int = 0

  @property
  def acceptance(self) -> float:
    """Fraction of the drafted tokens that were right; nan without drafts."""
    return self.accepted / self.drafted if self.drafted else math.nan

  def __sub__(self, earlier: "DraftStats") -> "DraftStats":
    """Returns the counts since `earlier`."""
    return DraftStats(
      *(a - b for a, b in zip(_counts(self), _counts(earlier), strict=True))
    )

  def metrics(self) -> dict[str, float]:
    """Returns `sampler/draft_share` and, with drafts, their acceptance."""
    metrics = {}
    if self.steps:
      metrics["sampler/draft_share"] = self.draft_steps / self.steps
    if self.drafted:
      metrics["sampler/draft_acceptance"] = self.acceptance
    return metrics


def _counts(stats: DraftStats) -> tuple[int, ...]:
  return dataclasses.astuple(stats)


def _recent() -> deque[float]:
  return deque(maxlen=_TIMINGS)


class DraftCost:
  """Measures how much longer a step with drafts takes than one without.

  The ratio is the break-even point: a step with drafts pays where it yields
  more than this many times the tokens. It differs between models, machines and
  batch sizes, so it is measured while sampling, for each batch bucket.
  """

  def __init__(self, known: float | None = None) -> None:
    """Starts without measurements.

    Args:
      known: the ratio, if it is not to be measured.
    """
    self._known = known
    self._plain: defaultdict[int, deque[float]] = defaultdict(_recent)
    self._draft: defaultdict[int, deque[float]] = defaultdict(_recent)
    self._idle: Counter[int] = Counter()

  def ratio(self, bucket: int) -> float:
    """Returns the cost of a step with drafts, in steps without.

    Args:
      bucket: rows of the program, per shard.
    """
    plain, draft = self._plain[bucket], self._draft[bucket]
    if self._known is not None:
      return self._known
    if not plain:
      return math.inf  # Time some steps without drafts first.
    return max(min(draft) / min(plain), 1.0) if draft else _ASSUMED_COST

  def record(
    self, bucket: int, seconds: float, steps: int, draft_steps: int
  ) -> None:
    """Adds the time of one call.

    Args:
      bucket: rows of the program.
      seconds: time of the call.
      steps: forward passes, those with drafts included.
      draft_steps: forward passes with drafts.
    """
    plain_steps = steps - draft_steps
    plain, draft = self._plain[bucket], self._draft[bucket]
    if plain_steps and not draft_steps:
      plain.append(seconds / steps)
      self._idle[bucket] += 1
      if draft and self._idle[bucket] % _RETRY == 0:
        draft.popleft()
    elif draft_steps > plain_steps and plain:
      draft.append((seconds - plain_steps * min(plain)) / draft_steps)
      self._idle[bucket] = 0


@dataclasses.dataclass
class Drafting:
  """Measured cost and acceptance of a sampler's drafts.

  Attributes:
    cost: duration of steps with drafts.
    stats: counts.
  """

  cost: DraftCost
  stats: DraftStats = dataclasses.field(default_factory=DraftStats)

  def record(
    self, bucket: int, state: DraftState, seconds: float | None
  ) -> None:
    """Adds the outcome of one call of a program.

    Args:
      bucket: rows of the program.
      state: NumPy, after the call.
      seconds: time of the call; None if it is not that of the program alone.
    """
    # The loop runs equally often on every shard.
    steps, draft_steps = int(state.steps[0]), int(state.draft_steps[0])
    self.stats.steps += steps
    self.stats.draft_steps += draft_steps
    self.stats.drafted += int(state.drafted.sum())
    self.stats.accepted += int(state.accepted.sum())
    if seconds is not None:
      self.cost.record(bucket, seconds, steps, draft_steps)
