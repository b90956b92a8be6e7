"""Entry point inside the sandbox: gives up rights, then runs a module.

`python confine.py FD` reads a request (marshal) from the file FD, restricts the
process to the files that the request lists, and calls `main(request)` of the
module that it names. That module calls `confine` once it needs no more rights.
This file is run for every program of a model and imports little: imports are
half of the time of a run (`json`, `typing` and `base64` would double it).
"""

import ctypes
import importlib
import marshal
import os
import resource
import sys

_LANDLOCK_CREATE_RULESET = 444
_LANDLOCK_ADD_RULE = 445
_LANDLOCK_RESTRICT_SELF = 446
_LANDLOCK_RULESET_VERSION = 1
_LANDLOCK_RULE_PATH = 1
_READ = 0b1100  # read file, read directory
_LIST = 0b1000
_WRITE = 0b10  # write file
_FILE_ONLY = 0b110
# All rights of each version of Landlock: later ones add refer, truncate, ioctl.
_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1}
_NEWEST = (1 << 16) - 1
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2

_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
  """struct sock_fprog."""

  _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


class _PathRule(ctypes.Structure):
  """struct landlock_path_beneath_attr."""

  _pack_ = 1
  _fields_ = (("rights", ctypes.c_uint64), ("directory", ctypes.c_int32))


def landlock_version() -> int:
  """Returns the version of the kernel's Landlock; 0 where it has none."""
  version = _libc.syscall(
    _LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_RULESET_VERSION
  )
  return max(0, version)


def restrict_files(
  readable: list[str], listable: list[str], writable: str
) -> None:
  """Shuts off all files but these paths and what lies beneath, for good.

  Args:
    readable: files and folders that may be read.
    listable: folders whose contents may be listed.
    writable: the working folder.
  """
  version = landlock_version()
  handled = ctypes.c_uint64(
    _RIGHTS[min(version, 3)] if version < 5 else _NEWEST
  )
  ruleset = _check(
    _libc.syscall(
      _LANDLOCK_CREATE_RULESET, ctypes.byref(handled), ctypes.c_size_t(8), 0
    )
  )
  for path in filter(os.path.exists, readable):
    _allow(ruleset, path, _READ)
  for path in filter(os.path.isdir, listable):
    _allow(ruleset, path, _LIST)
  for path in filter(os.path.exists, _DEVICES):
    _allow(ruleset, path, _READ | _WRITE)
  _allow(ruleset, writable, _RIGHTS[1])
  _no_new_privileges()
  _check(_libc.syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0))
  os.close(ruleset)


def private_folder(size: int) -> None:
  """Mounts an empty file system of `size` bytes over the working folder."""
  folder = os.getcwd().encode()
  options = f"size={size},mode=700".encode()
  _check(_libc.mount(b"tmpfs", folder, b"tmpfs", 0, options))
  os.chdir(folder)


def limit_resources(cpu: int, memory: int, file_size: int) -> None:
  """Sets hard limits on this process; no core is dumped, 64 files may be open.

  Args:
    cpu: seconds of CPU time.
    memory: bytes of address space.
    file_size: largest size of a file that is written, bytes.
  """
  for kind, value in (
    (resource.RLIMIT_CPU, cpu),
    (resource.RLIMIT_AS, memory),
    (resource.RLIMIT_FSIZE, file_size),
    (resource.RLIMIT_NOFILE, 64),
    (resource.RLIMIT_CORE, 0),
  ):
    resource.setrlimit(kind, (value, value))


def deny_calls(code: bytes) -> None:
  """Loads a seccomp program, given as BPF instructions.

  Args:
    code: BPF instructions of 8 bytes each.
  """
  _no_new_privileges()
  filters = _Program(len(code) // 8, code)
  _check(
    _libc.prctl(
      _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(filters), 0, 0
    )
  )


def _allow(ruleset: int, path: str, rights: int) -> None:
  if not os.path.isdir(path):
    rights &= _FILE_ONLY
  directory = os.open(path, os.O_PATH | os.O_CLOEXEC)
  rule = _PathRule(rights, directory)
  _check(
    _libc.syscall(
      _LANDLOCK_ADD_RULE,
      ruleset,
      _LANDLOCK_RULE_PATH,
      ctypes.byref(rule),
      0,
    )
  )
  os.close(directory)


def _no_new_privileges() -> None:
  _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def _check(result: int) -> int:
  if result < 0:
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
  return result


def confine(request: dict) -> None:
  """Lowers limits and denies system calls as the request says, for good.

  Args:
    request: `limits` holds the arguments of `limit_resources`; `seccomp` is a
      program for `deny_calls`, or empty.
  """
  limit_resources(**request["limits"])
  if request["seccomp"]:
    deny_calls(request["seccomp"])


def main() -> None:
  """Takes the request of file argv[1], gives up rights and serves it."""
  with open(int(sys.argv[1]), "r+b") as file:
    request = marshal.load(file)
    file.truncate(0)  # tells the parent that the sandbox has started
  sys.path[:0] = request["path"]
  module = importlib.import_module(request["module"])
  if request["private_folder"]:
    private_folder(request["private_folder"])
  if request["landlock"]:
    restrict_files(request["readable"], request["listable"], os.getcwd())
  module.main(request)


if __name__ == "__main__":
  main()
