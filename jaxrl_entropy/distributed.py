"""The processes of one job: how they join, and how they exchange host data.

With one process nothing is sent. Every collective function must be called by
all processes at the same point.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
import functools
import os
import pickle
import signal
import threading
from types import FrameType
from typing import Any, TypeVar

import jax
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P, Sharding
import numpy as np

from jaxrl_entropy.errors import PREEMPTED, PreemptedError, UserError

Item = TypeVar("Item")
Answer = TypeVar("Answer")

COORDINATOR = "JAX_COORDINATOR_ADDRESS"
PROCESSES = "JAX_NUM_PROCESSES"
PROCESS = "JAX_PROCESS_ID"
TPU_POD = "JAXRL_TPU_POD"

HEARTBEAT_TIMEOUT = 30
"""Seconds without a sign of life of a process after which JAX ends the others.

Collectives of a TPU or a GPU would wait for it for ever.
"""


def start() -> None:
  """Connects this process to the others of its job; does nothing if alone.

  The environment decides:

  * `JAX_COORDINATOR_ADDRESS` (host:port), `JAX_NUM_PROCESSES` and
    `JAX_PROCESS_ID`, all three;
  * SLURM, inside a step (`srun`) of several tasks;
  * TPU hosts: `TPU_WORKER_HOSTNAMES` names several, or there are several
    slices by `MEGASCALE_NUM_SLICES` (GKE sets both), or `JAXRL_TPU_POD` is set
    (launch/tpu_pod.sh sets it).

  It must run before anything asks JAX for its devices.

  Raises:
    UserError: if the explicit variables are incomplete or not numbers, or the
      other processes cannot be reached.
  """
  settings = _settings(os.environ)
  if settings is not None:
    before = signal.getsignal(signal.SIGTERM)
    try:
      jax.distributed.initialize(
        **settings, heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT
      )
    except RuntimeError as error:
      raise UserError(
        f"this process could not join its job ({error}): look at the logs of "
        "the other processes, and run the same command again",
        status=PREEMPTED,
      ) from error
    # JAX now takes note of a SIGTERM and goes on. Until training listens for
    # it there is nothing to save, and it should end the process.
    signal.signal(signal.SIGTERM, before)


def _settings(environment: Mapping[str, str]) -> dict | None:
  """Arguments of jax.distributed.initialize; None for a process alone."""
  if COORDINATOR in environment:
    return _explicit(environment)
  tasks = int(environment.get("SLURM_STEP_NUM_TASKS", 1))
  hosts = environment.get("TPU_WORKER_HOSTNAMES", "").count(",") + 1
  slices = int(environment.get("MEGASCALE_NUM_SLICES", 1))
  together = max(tasks, hosts, slices) > 1 or TPU_POD in environment
  return {} if together else None


def _explicit(environment: Mapping[str, str]) -> dict:
  try:
    return {
      "coordinator_address": environment[COORDINATOR],
      "num_processes": int(environment[PROCESSES]),
      "process_id": int(environment[PROCESS]),
    }
  except (KeyError, ValueError) as error:
    raise UserError(
      f"{COORDINATOR} is set, so {PROCESSES} and {PROCESS} must be numbers "
      f"({error}); set them, or unset {COORDINATOR} to run one process"
    ) from None


def is_writer() -> bool:
  """Whether this is the one process that writes metrics and messages."""
  return jax.process_index() == 0


def say(message: str) -> None:
  """Prints a line, on the first process only."""
  if is_writer():
    print(message, flush=True)


def host_slice(total: int) -> slice:
  """Returns this process's slice of `total` items, in process order.

  Args:
    total: items of all processes, such as the prompts of a step.

  Raises:
    UserError: if they do not divide evenly.
  """
  processes = jax.process_count()
  if total % processes:
    raise UserError(
      f"rollout.prompts_per_step is {total}, which is no multiple of the "
      f"{processes} processes: make it one"
    )
  size = total // processes
  first = jax.process_index() * size
  return slice(first, first + size)


def all_gather(item: Item) -> list[Item]:
  """Returns every process's `item`, in the order of the processes.

  It travels over the devices of the ambient mesh (`jax.set_mesh`): threads with
  disjoint meshes do not meet.

  Args:
    item: anything that can be pickled; the processes' items may differ in size.
  """
  if jax.process_count() == 1:
    return [item]
  data = np.frombuffer(pickle.dumps(item), np.uint8)
  sizes = _gather(np.int32(data.size))
  padded = np.zeros(int(sizes.max()), np.uint8)
  padded[: data.size] = data
  everyone = _gather(padded)
  # Written by this same program a moment ago, so unpickling it is safe.
  return [
    pickle.loads(pickled[:size].tobytes())
    for pickled, size in zip(everyone, sizes, strict=True)
  ]


def max_over_processes(value: int) -> int:
  """Returns the largest value of any process."""
  if jax.process_count() == 1:
    return value
  return int(_gather(np.int32(value)).max())


def _gather(x: np.ndarray | np.generic) -> np.ndarray:
  """Returns every process's `x`, of one shape and dtype, [processes, ...]."""
  mesh = _one_device_each()
  own = mesh.devices.flat[jax.process_index()]
  shards = jax.make_array_from_single_device_arrays(
    (mesh.size, *x.shape),
    NamedSharding(mesh, P("process")),
    [jax.device_put(np.asarray(x)[None], own)],
  )
  with jax.set_mesh(mesh):
    return np.asarray(_replicate(mesh)(shards))


def _one_device_each() -> Mesh:
  """Returns one device of each process, of those in the ambient mesh."""
  ambient = jax.sharding.get_mesh()
  devices = jax.devices() if ambient.empty else ambient.devices.flat
  firsts = {device.process_index: device for device in reversed([*devices])}
  return Mesh([firsts[i] for i in range(jax.process_count())], ("process",))


@functools.cache
def _replicate(mesh: Mesh) -> Callable[[jax.Array], jax.Array]:
  return jax.jit(lambda x: x, out_shardings=NamedSharding(mesh, P()))


def on_writer(action: Callable[[], object]) -> None:
  """Runs `action` at the process that writes; its errors stop all processes.

  Args:
    action: called without arguments; what it returns is dropped.

  Raises:
    UserError: the one that `action` raised, at every process.
  """
  refused = None
  if is_writer():
    try:
      action()
    except UserError as error:
      refused = str(error), error.status
  raise_together(refused)


def raise_together(refused: tuple[str, int] | None) -> None:
  """Raises a UserError at every process if any of them has a reason.

  Args:
    refused: this process's message and exit status, None if all is well.

  Raises:
    UserError: the first process's that has one.
  """
  for reason in all_gather(refused):
    if reason is not None:
      raise UserError(*reason)


def shard_over_hosts(
  work: Callable[..., Sequence[Answer]],
) -> Callable[..., list[Answer]]:
  """Returns `work` as a function whose items are shared among the processes.

  All processes call it with the same items and get all answers, in order.

  Args:
    work: a function of a sequence that returns one answer for each item.
  """

  def together(items: Sequence[Any], *rest: Any) -> list[Answer]:
    first, count = jax.process_index(), jax.process_count()
    answers: list[Any] = [None] * len(items)
    for index, shard in enumerate(
      all_gather(list(work(items[first::count], *rest)))
    ):
      answers[index::count] = shard
    return answers

  return together


def sum_over_hosts(values: Mapping[str, float]) -> dict[str, float]:
  """Returns the sums over the processes.

  Args:
    values: numbers by name; the names are the same on every process.
  """
  hosts = all_gather(dict(values))
  return {name: sum(host[name] for host in hosts) for name in values}


def put_global(x: np.ndarray, where: Sharding) -> jax.Array:
  """Returns a global array from a host array that all processes hold.

  Args:
    x: the whole array, equal on every process.
    where: sharding of the result, over the devices of any process; each device
      is given its own slice of `x`.
  """
  return jax.make_array_from_callback(x.shape, where, lambda index: x[index])


def fetch(x: jax.Array) -> np.ndarray:
  """Returns the whole of a global array, on every process.

  Args:
    x: an array whose shards may be on other processes; then all must call.
  """
  if x.is_fully_addressable or x.is_fully_replicated:
    return np.asarray(x)
  return np.asarray(multihost_utils.process_allgather(x, tiled=True))


class Preemption:
  """A wish to stop: SIGTERM (or SIGINT) to any process, heard by all.

  A context manager; a second signal ends the process at once. Outside of it no
  signal is heard.
  """

  SIGNALS = (signal.SIGTERM, signal.SIGINT)
  POLL = 1.0
  """Seconds between two looks for a signal while `run` waits."""

  def __init__(self) -> None:
    self._asked = False
    self._before: dict[int, Any] = {}

  def __enter__(self) -> "Preemption":
    if threading.current_thread() is threading.main_thread():
      handler: Callable[[int, FrameType | None], None] = self._hear
      self._before = {s: signal.signal(s, handler) for s in self.SIGNALS}
    return self

  def __exit__(self, *exception: object) -> None:
    for number, handler in self._before.items():
      signal.signal(number, handler)

  def requested(self) -> bool:
    """Whether any process was asked to stop."""
    return bool(max_over_processes(self._asked))

  def raise_if_requested(self) -> None:
    """Ends the work of all processes together if any was asked to stop.

    Raises:
      PreemptedError: at every process.
    """
    if self.requested():
      raise PreemptedError

  def run(self, work: Callable[..., Answer], *args: Any) -> Answer:
    """Returns `work(*args)`, or leaves it behind if asked to stop.

    All processes call this together, and return or leave together.

    Args:
      work: of this process alone, without collectives; a thread does it.
      *args: what it is called with.

    Raises:
      PreemptedError: at every process.
    """
    thread = ThreadPoolExecutor(1)
    result = thread.submit(work, *args)
    thread.shutdown(wait=False)
    while max_over_processes(not result.done()):
      self.raise_if_requested()
      wait([result], timeout=self.POLL)
    return result.result()

  def _hear(self, number: int, frame: FrameType | None) -> None:
    del frame
    self._asked = True
    signal.signal(number, self._before[number])
