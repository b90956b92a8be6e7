"""The scheduler against a model of the content of the pages."""

from collections import deque

from hypothesis import given, settings, strategies as st
import numpy as np
import pytest

from jaxrl_entropy.sampling.logits import Draw
from jaxrl_entropy.sampling.pages import PagePool
from jaxrl_entropy.sampling.request import Request
from jaxrl_entropy.sampling.scheduler import Scheduler
from jaxrl_entropy.sampling.sequences import prefixes_of, samples_of

PAGE = 4
STEPS = 3


def make_queue(requests):
  groups = [samples_of(request, i) for i, request in enumerate(requests)]
  return deque(prefix for group in groups for prefix in prefixes_of(group))


def make_scheduler(queue, slots=3, pool=None):
  return Scheduler(
    queue,
    pool or PagePool(9),
    slots=slots,
    page_size=PAGE,
    chunk=5,
    steps=STEPS,
  )


class Memory:
  """The content of a cache: the token at each offset of each page."""

  def __init__(self, pages):
    self.cells = np.full((pages, PAGE), -1)

  def write(self, pages, start, tokens):
    for place, token in enumerate(tokens, start=start):
      assert pages[place // PAGE] != 0, "wrote to the page of padding"
      self.cells[pages[place // PAGE], place % PAGE] = token

  def read(self, pages, count):
    return [int(self.cells[pages[i // PAGE], i % PAGE]) for i in range(count)]


def token_of(sample, place):
  """A model under which every sample has its own tokens."""
  return 1000 * sample.owner + 100 * sample.index + place


def advance(scheduler, memory):
  """Does what a Batch does per call; returns the finished samples."""
  scheduler.reserve()
  chunks = scheduler.next_chunks(rows=2, fresh=9)
  assert len(chunks) <= 2
  for chunk in chunks:
    tokens = chunk.prefix.tokens[chunk.start : chunk.stop]
    memory.write(chunk.prefix.pages, chunk.start, tokens)
  for source, target in scheduler.admit():
    memory.cells[target] = memory.cells[source]
  ended = []
  for sequence in list(scheduler.running):
    sample = sequence.sample
    count = min(STEPS, sample.remaining)
    tokens = [token_of(sample, sample.length + i) for i in range(count)]
    inputs = [sequence.token, *tokens[:-1]]
    memory.write(sequence.pages, sequence.position, inputs)
    numbers = np.zeros(count, np.float32)
    sample.extend(Draw(np.array(tokens, np.int32), *[numbers] * 4), version=0)
    sequence.token, sequence.position = tokens[-1], sequence.position + count
    history = [*sample.request.prompt, *sample.tokens.tolist()]
    held = memory.read(sequence.pages, sequence.position)
    assert held == history[:-1], "a sequence does not find its own tokens"
    if not sample.remaining:
      scheduler.finish(sequence)
      ended.append(sample)
  return ended


requests_ = st.lists(
  st.builds(
    lambda length, n, tokens: Request(
      tuple(range(500, 500 + length)), n=n, max_tokens=tokens
    ),
    st.integers(1, 13),
    st.integers(1, 5),
    st.integers(1, 12),
  ),
  min_size=1,
  max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(requests_, st.integers(1, 4), st.integers(8, 20))
def test_every_sample_ends_and_finds_its_tokens(requests, slots, pages):
  queue = make_queue(requests)
  pool, memory = PagePool(pages), Memory(pages)
  scheduler = make_scheduler(queue, slots, pool)
  ended = []
  for _ in range(1000):
    if not (scheduler.running or scheduler.waiting):
      break
    ended += advance(scheduler, memory)
    assert len(scheduler.running) <= slots
  assert len(ended) == sum(request.n for request in requests)
  for sample in ended:
    limit = sample.request.max_tokens
    assert sample.tokens.tolist() == [token_of(sample, i) for i in range(limit)]
  # Every page is free again.
  assert pool.free == pages - 1


def test_a_prompt_is_stored_once_for_all_its_samples():
  request = Request(tuple(range(9)), n=3, max_tokens=2)
  scheduler = make_scheduler(make_queue([request]))
  scheduler.next_chunks(rows=2, fresh=9)
  copies = scheduler.admit()
  shared = [sequence.pages[:2] for sequence in scheduler.running]
  assert shared[0] == shared[1] == shared[2]
  assert copies == []  # the prompt fills its pages


def test_a_page_in_part_full_is_copied_but_for_the_last_sample():
  request = Request(tuple(range(7)), n=3, max_tokens=1)
  scheduler = make_scheduler(make_queue([request]))
  prefix = scheduler.next_chunks(rows=2, fresh=9)[0].prefix
  pages = list(prefix.pages)
  copies = scheduler.admit()
  assert [source for source, _ in copies] == [pages[1]] * 2
  ends = [sequence.pages[1] for sequence in scheduler.running]
  assert ends == [*(target for _, target in copies), pages[1]]


def test_the_oldest_sequence_keeps_its_pages():
  requests = [Request((1,), max_tokens=16) for _ in range(3)]
  queue = make_queue(requests)
  memory = Memory(6)
  scheduler = make_scheduler(queue, slots=3, pool=PagePool(6))
  order = []
  for _ in range(40):
    order += [sample.owner for sample in advance(scheduler, memory)]
  assert order[0] == 0
  assert sorted(order) == [0, 1, 2]


@pytest.mark.parametrize("remaining", [0, 2])
def test_partial_samples_continue_their_own_tokens(remaining):
  request = Request((1, 2), n=2, max_tokens=4 + remaining)
  samples = samples_of(request, 0)
  numbers = np.zeros(4, np.float32)
  samples[1].extend(
    Draw(np.arange(4, dtype=np.int32), *[numbers] * 4), version=0
  )
  fresh, *begun = prefixes_of(samples)
  assert fresh.tokens.tolist() == [1, 2]
  assert len(begun) == bool(remaining)
  for prefix in begun:
    assert prefix.tokens.tolist() == [1, 2, 0, 1, 2, 3]


def test_one_call_takes_all_chunks_of_prompts_that_fit():
  requests = [Request(tuple(range(n))) for n in (12, 3, 7)]
  scheduler = make_scheduler(make_queue(requests), pool=PagePool(20))
  chunks = scheduler.next_chunks(rows=5, fresh=9)
  assert [(p.start, p.stop) for p in chunks] == [
    (0, 5),
    (5, 10),
    (10, 11),
    (0, 2),
    (0, 5),
  ]
  rest = scheduler.next_chunks(rows=5, fresh=9)
  assert [(p.start, p.stop) for p in rest] == [(5, 6)]
  assert len(scheduler.admit() + list(scheduler.running)) == 3


def test_a_shard_leaves_its_neighbours_their_share_of_the_queue():
  queue = make_queue([Request((1, 2)) for _ in range(6)])
  shards = [make_scheduler(queue) for _ in range(2)]
  assert [len(shard.next_chunks(rows=8, fresh=3)) for shard in shards] == [3, 3]
