"""Groups that are sampled ahead of the updates: which begin, which are used."""

from collections.abc import Iterator, Sequence
import dataclasses

import jax
from ml_collections import ConfigDict

from jaxrl_entropy.sampling.request import Completion, Request
from jaxrl_entropy.sampling.stream import Event
from jaxrl_entropy.training.rollout import PartialGroup, Rollout, mixed_groups


@dataclasses.dataclass(frozen=True)
class Quota:
  """How far one process samples ahead.

  Attributes:
    groups: that a step learns from, this process's share.
    limit: groups begun for a step, at most.
    mixed: whether a step learns from groups of right and wrong answers only.
    max_staleness: steps between the weights of a token and its use, at most.
    partial_tokens: a group with a longer unfinished response does not hold its
      step; it is used once complete, at any age. 0: steps wait for all.
    steps: of the run.
  """

  groups: int
  limit: int
  mixed: bool
  max_staleness: int
  partial_tokens: int
  steps: int


def make_quota(config: ConfigDict) -> Quota:
  """Returns this process's quota of a config."""
  rollout, processes = config.rollout, jax.process_count()
  prompts = rollout.prompts_per_step // processes
  mixed = rollout.group_filter == "mixed"
  return Quota(
    groups=-(-rollout.train_groups // processes) if mixed else prompts,
    limit=prompts * rollout.max_generation_rounds,
    mixed=mixed,
    max_staleness=rollout.max_staleness,
    partial_tokens=rollout.partial_tokens,
    steps=config.steps,
  )


@dataclasses.dataclass(eq=False)
class Entry:
  """A group that no step has used yet.

  Attributes:
    group: its problem, seed, and what it began with.
    answers: its requests as the stream numbers them, first that of its
      responses, and what they were answered with; None while in progress.
    lengths: tokens of each unfinished response.
    rollout: its verified responses.
    useful: whether a step may learn from it.
  """

  group: PartialGroup
  answers: dict[int, tuple[Completion, ...] | None] = dataclasses.field(
    default_factory=dict
  )
  lengths: dict[tuple[int, int], int] = dataclasses.field(default_factory=dict)
  rollout: Rollout | None = None
  useful: bool = True

  @property
  def begun(self) -> bool:
    """Whether the sampler has it."""
    return bool(self.answers)

  @property
  def complete(self) -> bool:
    """Whether all of its requests are answered."""
    return self.begun and None not in self.answers.values()

  def begin(self, index: int, request: Request) -> None:
    """Takes note that a request of the group is under way.

    Args:
      index: number that the stream gave the request.
      request: the request; unfinished responses that it goes on with count with
        the tokens they have.
    """
    self.answers[index] = None
    for sample, partial in enumerate(request.partial):
      if partial.finish != "stop":
        self.lengths[index, sample] = len(partial.tokens)

  def note(self, event: Event) -> None:
    """Takes note of new tokens."""
    response = event.request, event.sample
    if event.completion is None:
      length = self.lengths.get(response, 0) + len(event.tokens)
      self.lengths[response] = length
    else:
      self.lengths.pop(response, None)
    if event.group is not None:
      self.answers[event.request] = event.group


class Backlog:
  """The unused groups, in the order in which they were begun.

  Steps use groups in that order, so a bound on the groups that are begun ahead
  bounds their age (Fu et al. 2025, AReaL, arXiv 2505.24298, eq. 3). A group
  with an over-long response gives up its place; once complete it comes last.

  Attributes:
    taken: steps that have their groups; the next one is of this number.
  """

  def __init__(self, quota: Quota, taken: int = 0) -> None:
    self._quota, self.taken = quota, taken
    self._entries: list[Entry] = []
    self._overlong: list[Entry] = []

  def __iter__(self) -> Iterator[Entry]:
    return iter([*self._overlong, *self._entries])

  def __len__(self) -> int:
    return len(self._entries) + len(self._overlong)

  def add(self, group: PartialGroup) -> Entry:
    """Appends a group that is yet to begin."""
    self._entries.append(Entry(group))
    return self._entries[-1]

  def has_room(self, version: int) -> bool:
    """Whether another group may begin with the weights before step `version`.

    Of the steps that could use it, the last is `max_staleness` later.

    Args:
      version: number of the step whose updates follow the newest weights.
    """
    quota = self._quota
    steps = quota.max_staleness + 1 + version - self.taken
    steps = min(steps, quota.steps - self.taken)
    begun = [entry for entry in self._entries if entry.begun]
    useful = sum(entry.useful for entry in begun)
    return useful < steps * quota.groups and len(begun) < steps * quota.limit

  def note(self, entry: Entry, event: Event) -> None:
    """Takes note of new tokens of a group.

    Args:
      entry: the group, one of the backlog's.
      event: what the stream yielded for one of its responses.
    """
    entry.note(event)
    longest = max(entry.lengths.values(), default=0)
    if 0 < self._quota.partial_tokens <= longest and entry in self._entries:
      self._entries.remove(entry)
      self._overlong.append(entry)

  def verified(self, entry: Entry, rollout: Rollout) -> None:
    """Takes note of the verdicts on a group.

    Args:
      entry: the group, complete.
      rollout: its responses with their rewards and verdicts.
    """
    if entry in self._overlong:
      self._overlong.remove(entry)
      self._entries.append(entry)
    entry.rollout = rollout
    entry.useful = not self._quota.mixed or bool(len(mixed_groups(rollout)))

  def choose(self) -> list[Entry] | None:
    """Returns the groups of the next step; None while it has to wait."""
    quota, chosen, useful = self._quota, list[Entry](), 0
    for entry in self._entries:
      if entry.rollout is None:
        return None
      chosen.append(entry)
      useful += entry.useful
      if useful == quota.groups:
        return chosen
    # So many without enough useful ones: the step makes do with these.
    return chosen if len(chosen) >= quota.limit else None

  def remove(self, chosen: Sequence[Entry]) -> None:
    """Gives groups to the next step."""
    self._entries = [e for e in self._entries if e not in chosen]
    self.taken += 1

  def verifying(self) -> bool:
    """Whether a group is complete and only its verdicts are missing."""
    return any(e.complete and e.rollout is None for e in self)
