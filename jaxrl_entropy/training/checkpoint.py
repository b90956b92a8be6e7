"""Checkpoints of a run: device state and host position, saved together."""

from collections.abc import Callable, Iterable, Iterator, Mapping
import contextlib
import json
import logging
import os
from pathlib import Path
import re
import shutil
import textwrap
from typing import Any, NamedTuple, TypeVar
import warnings

import jax
import numpy as np
import orbax.checkpoint as ocp

from jaxrl_entropy import distributed
from jaxrl_entropy.errors import UserError, write_failed
from jaxrl_entropy.training.state import TEACHER, TrainState
from jaxrl_entropy.types import Params

Restored = TypeVar("Restored")
_SCORE = "score"
# How the storage libraries put it in the text of a ValueError.
_OS_ERROR = re.compile(r"os_error_code='(\d+)'")


class Found(NamedTuple):
  """A checkpoint as it was read.

  Attributes:
    step: steps that were done.
    state: the state after them.
    host: the host's position.
    carried: uint8 [n], bytes that the host carried into the next step.
  """

  step: int
  state: TrainState
  host: dict[str, Any]
  carried: np.ndarray


class Checkpoints:
  """The checkpoints of one run folder; saving is asynchronous.

  A checkpoint named `step` holds the state after `step` steps, its parameters
  as an item of their own, a JSON mapping of the host's position (data position,
  offset of the metrics file), and bytes that the host carries from step to
  step. It may be restored onto another mesh. All of it is stored as arrays,
  which have checksums.
  """

  def __init__(
    self, folder: Path, keep: int, *, exclusive: bool = False
  ) -> None:
    """Opens `folder`, made if it is missing; the last `keep` are kept.

    `exclusive`: nobody else saves there, so that what a killed process left
    unfinished is removed.
    """
    self._store = _Store(
      folder, max_to_keep=keep, cleanup_tmp_directories=exclusive
    )

  def save(
    self,
    step: int,
    state: TrainState,
    host: Mapping[str, Any],
    carried: np.ndarray,
  ) -> None:
    """Starts saving; returns once `state` may be donated again.

    Args:
      step: steps that are done, and the checkpoint's name.
      state: the state after them.
      host: the host's position, of JSON types.
      carried: uint8 [n], bytes that the host carries into the next step.

    Raises:
      UserError: if this one or the one before could not be written.
    """
    position = np.frombuffer(json.dumps(dict(host)).encode(), np.uint8)
    self._store.save(
      step,
      params=ocp.args.StandardSave(state.params),
      state=ocp.args.StandardSave(_rest(state)),
      host=ocp.args.StandardSave({"position": position, "carried": carried}),
    )

  def restore(self, like: TrainState) -> "Found | None":
    """Restores the newest checkpoint that can be read.

    The state has the shapes, types and layout of `like`, and its teacher. A
    checkpoint that is corrupt or cut short is passed over with a warning, and
    deleted: its step will be saved again.

    Args:
      like: a state, or shapes with shardings in place of its arrays.

    Returns:
      None where there is no checkpoint at all.

    Raises:
      UserError: if there are checkpoints and none of them can be read.
    """

    def read(step: int) -> Found:
      items = self._store.load(
        step,
        params=ocp.args.StandardRestore(_abstract(like.params)),
        state=ocp.args.StandardRestore(_abstract(_rest(like))),
        host=ocp.args.StandardRestore(),
      )
      rest = items["state"]
      state = rest.replace(
        params=items["params"], roles=like.roles | rest.roles
      )
      host = jax.tree.map(np.asarray, items["host"])
      position = json.loads(host["position"].tobytes())
      return Found(step, state, position, host["carried"])

    restored, damaged = self._store.first(self._store.newest(), read)
    for step in damaged:
      self._store.delete(step)
    return restored

  def close(self) -> None:
    """Waits for saves under way.

    Raises:
      UserError: if they could not be written.
    """
    self._store.close()


def _rest(state: TrainState) -> TrainState:
  """Returns what is saved of a state beside the parameters of its policy."""
  roles = {k: v for k, v in state.roles.items() if k != TEACHER}
  return state.replace(params={}, roles=roles)


class BestPolicies:
  """The parameters of the policies that did best, by one metric.

  A policy is saved when it is evaluated, whether or not a checkpoint of the
  run is due then.
  """

  def __init__(self, folder: Path, keep: int, metric: str) -> None:
    """Opens `folder`, made if it is missing; nobody else saves there.

    Args:
      folder: of its own.
      keep: how many; with 0 nothing is saved, or made.
      metric: of a step's record; more is better.
    """
    self._metric, self._keep = metric, keep
    self._scores: dict[int, float] = {}
    self._store: _Store | None = None
    if keep:
      _drop_damaged(folder)
      self._store = _Store(
        folder,
        max_to_keep=keep,
        best_fn=lambda scores: scores[_SCORE],
        cleanup_tmp_directories=True,
      )
      scores = {s: self._store.score(s) for s in self._store.newest()}
      self._scores = {s: x for s, x in scores.items() if x > -np.inf}
      for step in scores.keys() - self._scores.keys():
        self._store.delete(step)

  def offer(
    self, step: int, params: Params, record: Mapping[str, float]
  ) -> None:
    """Saves the policy of `step` if it is one of the best by its record.

    Of equals the first is kept.

    Args:
      step: of the evaluation.
      params: the policy's parameters that were evaluated.
      record: metrics of the step, those of its evaluation among them.

    Raises:
      UserError: if the record lacks the metric, or saving fails.
    """
    if self._store is None:
      return
    if self._metric not in record:
      raise UserError(
        f"checkpoint.best_by is {self._metric!r}, which no evaluation gave; "
        f"one of {', '.join(n for n in record if n.startswith('eval/'))}"
      )
    score = record[self._metric]
    best = sorted(self._scores.values(), reverse=True)[: self._keep]
    worst = best[-1] if len(best) == self._keep else -np.inf
    if step not in self._scores and score > worst:
      self._scores[step] = score
      item = ocp.args.StandardSave(params)
      self._store.save(step, {_SCORE: score}, params=item)

  def close(self) -> None:
    """Waits for pending writes and closes; see `Checkpoints.close`."""
    if self._store is not None:
      self._store.close()


def _drop_damaged(folder: Path) -> None:
  """Removes policies whose score cannot be read; Orbax would not open them."""
  if distributed.is_writer():
    for file in folder.glob("*/metrics/metrics"):
      try:
        json.loads(file.read_bytes())
      except ValueError:
        warnings.warn(
          f"{file} cannot be read: that policy is removed", stacklevel=3
        )
        shutil.rmtree(file.parents[1])
  distributed.all_gather(None)


def restore_params(folder: Path, like: Params) -> tuple[int, Params] | None:
  """Returns step and parameters of a policy; reads `folder`, never writes it.

  Of a folder of best policies the best, of other checkpoints the newest that
  can be read, in the shapes, types and layout of `like`.

  Args:
    folder: a folder of `Checkpoints` or of `BestPolicies`.
    like: arrays, or their shapes, with the shardings that are wanted.

  Returns:
    None where there is no checkpoint at all.

  Raises:
    UserError: if there are checkpoints and none of them can be read.
  """
  if not folder.is_dir():
    return None
  try:
    store = _Store(folder, read_only=True)
  except ValueError as error:
    raise UserError(
      f"{folder}: the score of a policy there cannot be read ({error}); "
      "delete that policy"
    ) from error

  def read(step: int) -> tuple[int, Params]:
    args = ocp.args.StandardRestore(_abstract(like))
    return step, store.load(step, params=args)["params"]

  ranked = sorted(store.newest(), key=store.score, reverse=True)
  restored, _ = store.first(ranked, read)
  store.close()
  return restored


class _Store:
  """A folder of checkpoints by step, and what goes wrong there in one line."""

  def __init__(self, folder: Path, **options: Any) -> None:
    # Orbax's threads print what it then raises.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    self._folder = folder.absolute()
    # Two folders may be saved to at a time, and processes meet by this name.
    # With a list of them they do so without a program on all devices, which
    # would come in the way of those that another thread runs.
    processes = jax.process_count()
    job = ocp.options.MultiprocessingOptions(
      barrier_sync_key_prefix=self._folder.name,
      active_processes=set(range(processes)) if processes > 1 else None,
    )
    if not options.get("read_only"):
      self._folder.mkdir(parents=True, exist_ok=True)
    self._manager = ocp.CheckpointManager(
      self._folder,
      options=ocp.CheckpointManagerOptions(
        multiprocessing_options=job, create=False, **options
      ),
    )
    # Each process reads by itself: one that meets a damaged file would leave
    # the others waiting for it.
    alone = ocp.options.MultiprocessingOptions(
      primary_host=jax.process_index(),
      active_processes={jax.process_index()},
      barrier_sync_key_prefix=f"{self._folder.name}-{jax.process_index()}",
    )
    self._reader = ocp.Checkpointer(
      ocp.CompositeCheckpointHandler(), multiprocessing_options=alone
    )

  def save(
    self,
    step: int,
    scores: Mapping[str, float] | None = None,
    **items: ocp.args.CheckpointArgs,
  ) -> None:
    with self._explained():
      self._manager.save(step, args=ocp.args.Composite(**items), metrics=scores)

  def load(self, step: int, **items: ocp.args.CheckpointArgs) -> Any:
    where = self._folder / str(step)
    return self._reader.restore(where, args=ocp.args.Composite(**items))

  def newest(self) -> list[int]:
    """Returns the steps that have a checkpoint, newest first."""
    return sorted(self._manager.all_steps(), reverse=True)

  def score(self, step: int) -> float:
    """Returns the score saved with the policy of `step`; -inf if unknown.

    It may not have been evaluated, or its file is gone.
    """
    return (self._manager.metrics(step) or {_SCORE: -np.inf})[_SCORE]

  def first(
    self, steps: Iterable[int], read: Callable[[int], Restored]
  ) -> tuple[Restored | None, list[int]]:
    """Reads the first of `steps` that all processes can read.

    Returns:
      It, or None if there are no steps; and the steps passed over.

    Raises:
      UserError: if none of the steps can be read.
    """
    reasons: dict[int, str] = {}
    for step in steps:
      restored, reason = _attempt(read, step)
      damaged = [r for r in distributed.all_gather(reason) if r is not None]
      if not damaged:
        self._warn(reasons, step)
        return restored, list(reasons)
      reasons[step] = damaged[0]
    if reasons:
      raise UserError(
        f"{self._folder}: no checkpoint there fits this config and can be read "
        f"({next(iter(reasons.values()))}); choose another --workdir"
      )
    return None, []

  def delete(self, step: int) -> None:
    self._manager.delete(step)

  def close(self) -> None:
    self._reader.close()
    with self._explained(), contextlib.closing(self._manager):
      self._manager.wait_until_finished()

  def _warn(self, reasons: Mapping[int, str], used: int) -> None:
    for step, reason in reasons.items():
      warnings.warn(
        f"{self._folder / str(step)} cannot be read ({reason}): the checkpoint "
        f"of step {used} is used instead",
        stacklevel=4,
      )

  @contextlib.contextmanager
  def _explained(self) -> Iterator[None]:
    try:
      yield
    except (OSError, ValueError) as error:
      if isinstance(error, OSError) or _OS_ERROR.search(str(error)):
        raise write_failed(self._folder, _reason(error)) from error
      # Such as a process of the job that is gone.
      raise RuntimeError(f"{self._folder}: saving failed") from error


def _attempt(
  read: Callable[[int], Restored], step: int
) -> tuple[Restored | None, str | None]:
  """Returns the result of `read`, or the reason why it failed."""
  try:
    return read(step), None
  # The storage libraries raise many types of errors for damaged files.
  except Exception as error:
    return None, _reason(error)


def _reason(error: Exception) -> str:
  """Returns an error in few words; the libraries' messages name many files."""
  if isinstance(error, OSError) and error.errno:
    return os.strerror(error.errno)
  code = _OS_ERROR.search(str(error))
  if code:
    return os.strerror(int(code[1]))
  return textwrap.shorten(str(error).strip().partition("\n")[0], 200)


def _abstract(tree: Any) -> Any:
  return jax.tree.map(ocp.utils.to_shape_dtype_struct, tree)
