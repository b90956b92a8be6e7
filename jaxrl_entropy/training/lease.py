"""Lets one process at a time write to a folder, on any shared file system.

A lease is a file in `folder/.lease`, named by its generation: the highest one
counts. Its owner rewrites it every few seconds. Whoever finds the owner dead or
silent creates the next generation with O_EXCL, which succeeds for exactly one
of several processes; the newest file is never removed, so no generation is ever
created twice. Locks of the operating system (flock) are not used: many network
file systems do not have them.
"""

from collections.abc import Callable, Iterator
import contextlib
import dataclasses
import datetime
import json
import os
from pathlib import Path
import socket
import sys
import threading
import time
import uuid

from jaxrl_entropy import distributed
from jaxrl_entropy.errors import UserError

INTERVAL = 5.0
"""Seconds between two signs of life of an owner."""

TIMEOUT = 30.0
"""Seconds without a sign of life after which an owner is taken for dead."""

SHARED_WITHIN = 60.0
"""Seconds that a file may take to be seen by all hosts of a job."""

FOLDER = ".lease"
_POLL = 0.2


@dataclasses.dataclass(frozen=True)
class _Owner:
  """A process that holds, or held, a lease.

  Attributes:
    process: its id.
    host: the name of its machine.
    machine: identifies the boot of the machine and the namespace of `process`.
    started: when the process started, in the kernel's clock ticks.
    since: when it took the lease, local time.
    token: a name that no other owner has.
    beats: signs of life so far.
    released: whether it has given the lease back.
  """

  process: int
  host: str
  machine: str
  started: str
  since: str
  token: str
  beats: int = 0
  released: bool = False

  def __str__(self) -> str:
    return f"process {self.process} on {self.host} since {self.since}"

  def is_here(self) -> bool:
    """Whether the owner is, or was, a process that this one could see."""
    return self.machine == _machine() != ""

  def is_alive(self) -> bool:
    """Whether the owner runs; needs `is_here()`."""
    return _start_time(self.process) == self.started


@contextlib.contextmanager
def lease_for_job(folder: Path) -> Iterator[Callable[[], None]]:
  """Holds the lease of a folder for all processes of a job.

  Process 0 holds it, and the others look whether they see its file: a folder of
  the same name on a disk of their own would leave the job waiting for ever at
  its first checkpoint.

  Args:
    folder: that no other job may write to; seen by all processes.

  Yields:
    `Lease.check` at process 0, and what does nothing at the others.

  Raises:
    UserError: at all processes, if another job holds the lease, or a process
      does not see the folder that process 0 writes to.
  """
  with contextlib.ExitStack() as stack:
    lease = Lease(folder)
    distributed.on_writer(lambda: stack.enter_context(lease))
    distributed.raise_together(
      _unshared(folder, distributed.all_gather(lease.key())[0])
    )
    yield lease.check if distributed.is_writer() else lambda: None


def _unshared(folder: Path, key: tuple[str, str]) -> tuple[str, int] | None:
  """Returns why this process cannot belong to the job that leased `folder`."""
  end = time.monotonic() + SHARED_WITHIN
  while not Lease(folder).is_held_by(key):
    if time.monotonic() > end:
      return (
        f"workdir {folder} on {socket.gethostname()} is not the folder of that "
        f"name on {key[0]}: all hosts must share it (NFS, a mounted bucket)",
        2,
      )
    time.sleep(_POLL)
  return None


class Lease:
  """The right to write to a folder, as a context manager.

  A thread gives signs of life while the lease is held.
  """

  def __init__(
    self, folder: Path, interval: float = INTERVAL, timeout: float = TIMEOUT
  ) -> None:
    """Stores the folder; entering the lease creates its files.

    Args:
      folder: what is leased; made if it is missing.
      interval: seconds between two signs of life.
      timeout: seconds of silence after which another process may take over; it
        must be several times the `interval` of the other processes.
    """
    self._leased, self._folder = folder, folder / FOLDER
    self._interval, self._timeout = interval, timeout
    self._generation = 0
    self._made = [
      path for path in (folder, *folder.parents) if not path.exists()
    ]
    self._owner = _Owner(
      os.getpid(),
      socket.gethostname(),
      _machine(),
      _start_time(os.getpid()),
      datetime.datetime.now().isoformat(" ", "seconds"),
      uuid.uuid4().hex,
    )
    self._lock, self._ended = threading.Lock(), threading.Event()
    self._thread = threading.Thread(target=self._keep, daemon=True)

  def __enter__(self) -> "Lease":
    """Takes the lease.

    Raises:
      UserError: if another process holds it, or the folder cannot be written.
    """
    try:
      taken = False
      while not taken:
        self._folder.mkdir(parents=True, exist_ok=True)
        taken = self._take(self._free_generation())
    except OSError as error:
      raise UserError(
        f"workdir {self._leased} cannot be written ({error.strerror}): choose "
        "another --workdir"
      ) from error
    self._thread.start()
    return self

  def __exit__(self, *exception: object) -> None:
    self._ended.set()
    self._thread.join()
    if self._newest()[0] != self._generation:
      return
    # Later generations stay, for an owner of before may yet wake up.
    alone = list(self._leased.iterdir()) == [self._folder]
    if alone and self._generation == 1:
      self._take_away()
    else:
      self._owner = dataclasses.replace(self._owner, released=True)
      self._try_to_write()

  def _take_away(self) -> None:
    """Removes the lease and the empty folders that were made for it."""
    with contextlib.suppress(OSError):
      self._path(self._generation).unlink()
      self._folder.rmdir()
      for folder in self._made:
        folder.rmdir()

  def check(self) -> None:
    """Gives a sign of life; must precede every write to the folder.

    Raises:
      UserError: if another process has taken the lease over.
    """
    self._beat()
    generation, owner = self._newest()
    if generation != self._generation:
      raise UserError(
        f"{self._leased} was taken over by {owner or 'another process'}, which "
        f"had heard nothing of this one for {self._timeout:.0f} s: this run "
        "stops, and the other one goes on"
      )

  def key(self) -> tuple[str, str]:
    """Returns the host and the number that identify this lease."""
    return self._owner.host, self._owner.token

  def is_held_by(self, key: tuple[str, str]) -> bool:
    """Whether the newest lease of the folder is the one of that key."""
    owner = self._newest()[1]
    return owner is not None and (owner.host, owner.token) == key

  def _free_generation(self) -> int:
    """Returns the newest generation once its owner is known to be gone.

    Silence is measured by this process's own clock: those of two machines, or
    of a file server, need not agree.
    """
    generation, owner = self._newest()
    start, told = time.monotonic(), False
    while generation and not (owner and owner.released):
      if owner and owner.is_here():
        if owner.is_alive():
          raise self._in_use(owner)
        break
      if time.monotonic() - start > self._timeout:
        break
      if owner and not told:
        told = True
        print(
          f"{self._leased}: waiting up to {self._timeout:.0f} s for a sign of "
          f"life of {owner}",
          file=sys.stderr,
          flush=True,
        )
      time.sleep(_POLL)
      before, (generation, owner) = (generation, owner), self._newest()
      if (generation, owner) == before or owner is None:
        continue
      if not owner.released:
        raise self._in_use(owner)
    return generation

  def _in_use(self, owner: _Owner) -> UserError:
    return UserError(
      f"workdir {self._leased} is in use by {owner}: stop that process, or "
      "choose another --workdir"
    )

  def _take(self, free: int) -> bool:
    """Tries to create the generation after `free`."""
    mine = self._path(free + 1)
    try:
      with mine.open("x") as file:
        file.write(json.dumps(dataclasses.asdict(self._owner)))
    # Another process has it, or has just taken its empty folder away.
    except (FileExistsError, FileNotFoundError):
      return False
    # Its owner may have removed that file as an old one, a moment ago.
    if self._newest()[0] != free + 1:
      mine.unlink(missing_ok=True)
      return False
    self._generation = free + 1
    for old in self._folder.iterdir():
      if int(old.stem) < self._generation:
        old.unlink(missing_ok=True)
    return True

  def _newest(self) -> tuple[int, _Owner | None]:
    """Returns the highest generation, 0 if there is none, and its owner.

    The owner is None for a file that is just being written.
    """
    generation = max(
      (int(file.stem) for file in self._folder.glob("*.json")), default=0
    )
    try:
      return generation, _Owner(
        **json.loads(self._path(generation).read_text())
      )
    except (OSError, ValueError, TypeError):
      return generation, None

  def _path(self, generation: int) -> Path:
    return self._folder / f"{generation:06}.json"

  def _keep(self) -> None:
    while not self._ended.wait(self._interval):
      self._beat()

  def _beat(self) -> None:
    with self._lock:
      self._owner = dataclasses.replace(
        self._owner, beats=self._owner.beats + 1
      )
      self._try_to_write()

  def _try_to_write(self) -> None:
    """Replaces this lease's file by one of the present owner.

    A full disk is reported by the writes that the lease protects; a missing
    file means that the lease is lost, which `check` finds.
    """
    new = self._folder / f"{self._generation}.new"
    try:
      new.write_text(json.dumps(dataclasses.asdict(self._owner)))
      new.replace(self._path(self._generation))
    except OSError:
      pass


def _machine() -> str:
  """Identifies this boot of this machine and the namespace of process ids.

  It is "" where there is no /proc, so that silence alone decides. Two
  containers may share a host's name, and their processes not see each other.
  """
  try:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {os.readlink('/proc/self/ns/pid')}"
  except OSError:
    return ""


def _start_time(process: int) -> str:
  """Returns the kernel's start time of a process, "" if there is none.

  It tells a process from a later one of the same id.
  """
  try:
    stat = Path(f"/proc/{process}/stat").read_text()
  except OSError:
    return ""
  # The name before the last parenthesis may hold anything; a zombie is dead.
  fields = stat.rpartition(")")[2].split()
  return "" if fields[0] == "Z" else fields[19]
