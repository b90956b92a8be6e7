"""Groups ahead of the updates: none is too old, none lost, none used twice."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from jaxrl_entropy.sampling.stream import Event
from jaxrl_entropy.training.backlog import Backlog, Quota
from jaxrl_entropy.training.rollout import PartialGroup

QUOTA = Quota(
  groups=3, limit=6, mixed=False, max_staleness=1, partial_tokens=0, steps=9
)
TOKENS = np.zeros(4, np.int32)


def judged(useful=True):
  """As much of a rollout as `mixed_groups` looks at."""
  answers = np.array([0.0, 1.0 if useful else 0.0])
  return SimpleNamespace(
    groups=np.zeros(2, int), components={"answer": answers}, rewards=answers
  )


def begin(backlog, number):
  entry = backlog.add(PartialGroup(None, number, ()))
  entry.begin(number, SimpleNamespace(partial=()))
  return entry


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("staleness", [0, 1, 3])
@pytest.mark.parametrize("seed", range(20))
def test_no_group_is_older_than_allowed_and_none_is_lost(
  staleness, mixed, seed
):
  """In any order in which groups end and updates are made."""
  quota = dataclasses.replace(QUOTA, max_staleness=staleness, mixed=mixed)
  backlog, version, begun, used = Backlog(quota), 0, {}, []
  for move in np.random.default_rng(seed).integers(100, size=300).tolist():
    if backlog.has_room(version):
      entry = begin(backlog, len(begun))
      begun[entry] = version
    unjudged = [entry for entry in backlog if entry.rollout is None]
    if unjudged and move % 4:
      entry = unjudged[move % len(unjudged)]
      backlog.verified(entry, judged(useful=move % 3 > 0))
    if version < backlog.taken:  # Updates are under way.
      version += move % 4 == 0
    elif (chosen := backlog.choose()) is not None:
      assert len(chosen) <= (staleness + 1) * quota.limit
      if mixed:
        assert sum(entry.useful for entry in chosen) <= quota.groups
      ages = [version - begun[entry] for entry in chosen if entry.useful]
      assert max(ages, default=0) <= staleness
      backlog.remove(chosen)
      used += chosen
  assert [*used, *backlog] == list(begun)
  assert 2 < backlog.taken <= quota.steps


def test_at_the_end_no_more_groups_begin_than_are_used():
  backlog = Backlog(dataclasses.replace(QUOTA, max_staleness=5, steps=2))
  while backlog.has_room(0):
    begin(backlog, len(backlog))
  assert len(backlog) == 2 * QUOTA.groups


@pytest.mark.parametrize("partial_tokens", [0, 3])
def test_a_long_response_holds_its_step_unless_it_may_be_partial(
  partial_tokens,
):
  backlog = Backlog(dataclasses.replace(QUOTA, partial_tokens=partial_tokens))
  first, *rest = [begin(backlog, number) for number in range(4)]
  for entry in rest:
    backlog.verified(entry, judged())
  assert backlog.choose() is None
  backlog.note(first, Event(0, 0, TOKENS))
  assert backlog.choose() == (rest if partial_tokens else None)
  backlog.note(first, Event(0, 0, TOKENS, "whole", ("whole",)))
  assert backlog.verifying()
  backlog.verified(first, judged())
  # The others are not held up by one that comes late.
  assert backlog.choose() == (rest if partial_tokens else [first, *rest[:2]])
  assert len(backlog) == 4
