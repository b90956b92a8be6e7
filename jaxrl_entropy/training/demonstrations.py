"""Mini-batches of responses to imitate, as rows on the mesh."""

from collections.abc import Iterator, Sequence
import math

from ml_collections import ConfigDict
import numpy as np

from jaxrl_entropy.data import task as task_lib
from jaxrl_entropy.data.packing import first_fit
from jaxrl_entropy.data.stream import PromptStream
from jaxrl_entropy.data.task import Demonstration, Task
from jaxrl_entropy.data.tasks.traces import Traces
from jaxrl_entropy.data.traces import RESPONSE
from jaxrl_entropy.errors import UserError
from jaxrl_entropy.training import (
  build,
  packed_batch,
  policy as policy_lib,
)
from jaxrl_entropy.training.packed_batch import Rows
from jaxrl_entropy.training.policy import Policy

Tokens = tuple[np.ndarray, np.ndarray]
"""Ids of a prompt, and of the response with the token that ends it."""

_ANY_LENGTH = 1 << 31


def make(config: ConfigDict, policy: Policy) -> "Fresh | Imitated":
  """Returns the mini-batches of `config.sft`.

  They come from `sft.task`, or from the run's own task where that has no name.

  Args:
    config: of the run.
    policy: gives the tokenizer and the mesh.

  Raises:
    UserError: the number of steps or of epochs does not fit the task.
  """
  source = config.sft.task if config.sft.task.name else config.task
  task = task_lib.resolve(source.name, source.args)
  if isinstance(task, Traces):
    return Imitated(config, policy, task)
  if not config.sft.steps:
    raise UserError(
      "sft.epochs counts passes over traces, and the task draws its "
      "demonstrations anew: set sft.steps, or sft.task.name=traces"
    )
  return Fresh(config, policy, task)


class Fresh:
  """Demonstrations that a task draws anew for each step.

  Attributes:
    steps: mini-batches of the whole stage.
    left_out: always 0, as longer demonstrations are an error.
    about: what is imitated, in words.
  """

  left_out = 0

  def __init__(self, config: ConfigDict, policy: Policy, task: Task) -> None:
    self._config, self._policy, self._task = config, policy, task
    self.steps: int = config.sft.steps
    self.about = "new demonstrations at each step"

  def train(self, step: int) -> Rows:
    """Returns the mini-batch of a step: a function of seed and step alone.

    Raises:
      UserError: a response is longer than `rollout.max_response_length`.
    """
    config, policy = self._config, self._policy
    rng = np.random.default_rng([config.seed, step])
    pairs = self._task.demonstrations(
      rng, config.sft.batch_size, config.sft.wrong_share
    )
    longest = config.rollout.max_response_length
    limit = config.rollout.max_prompt_length
    encoded = []
    for problem, response in pairs:
      prompt, ids = encode((problem, response), policy)
      if len(prompt) > limit:
        raise UserError(
          f"the prompt of problem {problem.id} has {len(prompt)} tokens and "
          f"rollout.max_prompt_length is {limit}: raise it"
        )
      if len(ids) > longest:
        raise UserError(
          f"the demonstration for problem {problem.id} has {len(ids)} tokens "
          f"and rollout.max_response_length is {longest}: raise it"
        )
      encoded.append((prompt, ids))
    return rows_of(encoded, config, policy, pack=False)

  def held_out(self) -> Iterator[Rows]:
    """Yields nothing: the test split has no demonstrations."""
    yield from ()


class Imitated:
  """Traces in epochs, packed; those longer than a row are left out.

  Attributes:
    steps: mini-batches of the whole stage.
    left_out: traces so far that did not fit.
    about: what is imitated, in words.
  """

  def __init__(self, config: ConfigDict, policy: Policy, task: Traces) -> None:
    self._config, self._policy, self._task = config, policy, task
    size = task.size("train")
    if not size:
      raise UserError("sft: there are no traces to train on")
    passes = math.ceil(config.sft.epochs * size / config.sft.batch_size)
    self.steps: int = config.sft.steps or passes
    self.about = (
      f"{size} traces, with {task.size('test')} held out for the loss"
    )
    self.left_out = 0
    self._stream = PromptStream(task, config.seed)

  def train(self, step: int) -> Rows:
    """Returns the mini-batch of a step: a function of seed and step alone.

    Raises:
      UserError: none of its traces fits a row.
    """
    size = self._config.sft.batch_size
    self._stream.restore({"next": step * size})
    problems = self._stream.take(size)
    return self._rows([(p, p.extra[RESPONSE]) for p in problems])

  def held_out(self) -> Iterator[Rows]:
    """Yields the mini-batches of the first `eval.problems` test traces."""
    count = min(self._task.size("test"), self._config.eval.problems)
    for start in range(0, count, self._config.sft.batch_size):
      indices = range(start, min(start + self._config.sft.batch_size, count))
      yield self._rows([self._task.demonstration("test", i) for i in indices])

  def _rows(self, pairs: Sequence[Demonstration]) -> Rows:
    encoded = [encode(pair, self._policy) for pair in pairs]
    longest = row_length(self._config)
    fitting = [pair for pair in encoded if sum(map(len, pair)) <= longest]
    self.left_out += len(encoded) - len(fitting)
    if not fitting:
      raise UserError(
        f"none of {len(encoded)} traces has at most {longest} tokens: raise "
        "sft.max_length"
      )
    return rows_of(fitting, self._config, self._policy, pack=True)


def row_length(config: ConfigDict) -> int:
  """Returns the tokens of a row: of the longest question and response."""
  return config.sft.max_length or policy_lib.row_length(config)


def encode(pair: Demonstration, policy: Policy) -> Tokens:
  """Returns the ids of a rendered prompt, and of the response and its end.

  Args:
    pair: a problem and its response, text.
    policy: gives the tokenizer.

  Returns:
    Two int32 arrays; no length is too long.
  """
  problem, response = pair
  tokenizer = policy.tokenizer
  prompt = build.encode_prompt(problem, tokenizer, _ANY_LENGTH)
  ids = [*tokenizer.encode(response), tokenizer.eos_id]
  return np.array(prompt, np.int32), np.array(ids, np.int32)


def row_capacity(config: ConfigDict, policy: Policy) -> int:
  """Returns the rows of a mini-batch, padding rows included.

  Args:
    config: of the run; `sft.batch_size` and `sft.micro_batches` are used.
    policy: gives the mesh, whose shards of rows are equal.
  """
  micro = config.sft.micro_batches
  return packed_batch.row_capacity(config.sft.batch_size, micro, policy.mesh)


def rows_of(
  encoded: Sequence[Tokens], config: ConfigDict, policy: Policy, pack: bool
) -> Rows:
  """Returns a mini-batch on the mesh; the loss is on response tokens alone.

  The shape is that of one sequence in each row. With `pack`, rows hold several,
  and the micro-batches that this leaves empty are skipped.

  Args:
    encoded: sequences as `encode` returns them, of at most `row_length` tokens.
    config: of the run; its `sft` section sets the sizes.
    policy: gives the mesh.
    pack: whether sequences share rows.
  """
  prompts, responses = zip(*encoded, strict=True)
  micro, length = config.sft.micro_batches, row_length(config)
  if pack:
    sizes = [sum(map(len, pair)) for pair in encoded]
    placement: packed_batch.Placement = first_fit(sizes, length)
  else:
    placement = packed_batch.one_per_row(len(encoded))
  rows = packed_batch.fill_rows(
    prompts,
    responses,
    placement,
    rows=row_capacity(config, policy),
    length=length,
  )
  ones = np.ones(rows.mask.shape, np.float32)
  rows = rows.replace(signals={"advantages": ones, "old_logp": 0 * ones})
  return packed_batch.put(rows, micro, policy.mesh)
