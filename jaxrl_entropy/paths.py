"""Paths that users give: local ones, and copies of what object stores hold.

Runs are written to local or mounted folders only: they append to files, replace
them atomically and create them exclusively, which object stores do not offer.
Weights and data are only read, so they may be URLs.
"""

import hashlib
from pathlib import Path
import re
import shutil
import tempfile
from typing import Any

from jaxrl_entropy.errors import UserError, install_extra

CACHE = Path.home() / ".cache" / "jaxrl_entropy" / "fetched"
_URL = re.compile(r"[a-z][a-z0-9+.-]*:/")
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}


def is_url(path: str | Path) -> bool:
  """Whether `path` names something of another scheme than the file system."""
  return _URL.match(str(path)) is not None


def local_folder(path: str | Path, setting: str) -> Path:
  """Returns `path` as the local folder that it must be.

  Args:
    path: as the user gave it.
    setting: its flag, for messages.

  Raises:
    UserError: if it is empty or a URL.
  """
  if not str(path):
    raise UserError(f"{setting} is empty: give a folder")
  if is_url(path):
    raise UserError(
      f"{setting}={path} is no folder of this machine: mount the bucket "
      "(gcsfuse, mountpoint-s3; SETUP of the launchers runs it on every host) "
      "and give its folder"
    )
  return Path(path)


def fetch(path: str, setting: str) -> Path:
  """Returns a local file or folder: `path`, or a copy of what a URL names.

  A copy is kept in `CACHE` under a digest of the names, sizes and checksums of
  its objects, so that changed objects are fetched again.

  Args:
    path: a local path, or a URL of an object or of a folder of objects.
    setting: the field or flag that gave it, for messages.

  Raises:
    UserError: if the URL cannot be read, or names nothing.
  """
  if not is_url(path):
    return Path(path)
  store, inside = _open(path, setting)
  objects = _ask(path, setting, lambda: store.find(inside, detail=True))
  if not objects:
    raise UserError(f"{setting} is {path!r}, and there is no such object")
  described = [(name, _version(facts)) for name, facts in objects.items()]
  digest = hashlib.sha256(repr((path, sorted(described))).encode())
  target = CACHE / digest.hexdigest()[:16] / Path(inside).name
  if not target.exists():
    _ask(path, setting, lambda: _copy(store, inside, list(objects), target))
  return target


def expand_url(pattern: str, setting: str) -> list[str]:
  """Returns the URLs that a URL with wildcards matches, in order.

  Args:
    pattern: a URL with `*`, `?`, `[...]` or `**` in its path.
    setting: the field that gave it, for messages.

  Raises:
    UserError: if the store cannot be read.
  """
  store, inside = _open(pattern, setting)
  names = _ask(pattern, setting, lambda: store.glob(inside))
  return [store.unstrip_protocol(name) for name in sorted(names)]


def _open(url: str, setting: str) -> tuple[Any, str]:
  """The file system of a URL, and the name of its object there."""
  import fsspec

  scheme = url.partition(":")[0]
  try:
    store, inside = fsspec.core.url_to_fs(url)
  except (ImportError, ValueError) as error:
    extra = _EXTRAS.get(scheme)
    remedy = install_extra(extra) if extra else str(error)
    raise UserError(
      f"{setting} is {url!r}, and {scheme}:// cannot be read here: {remedy}"
    ) from error
  return store, inside.rstrip("/")


def _ask(url: str, setting: str, request: Any) -> Any:
  try:
    return request()
  # Each store's library raises errors of its own.
  except Exception as error:
    raise UserError(
      f"{setting} is {url!r}, which cannot be read: {error}"
    ) from error


def _version(facts: dict[str, Any]) -> tuple[str, str]:
  """Returns a value that changes when the object does."""
  keys = ("ETag", "etag", "md5Hash", "mtime", "LastModified")
  known = (str(facts[key]) for key in keys if facts.get(key))
  return str(facts.get("size")), next(known, "")


def _copy(store: Any, inside: str, names: list[str], target: Path) -> None:
  """Copies all objects to `target`, which appears when it is complete."""
  target.parent.parent.mkdir(parents=True, exist_ok=True)
  staging = Path(tempfile.mkdtemp(dir=target.parent.parent))
  try:
    for name in names:
      rest = name.removeprefix(inside).strip("/")
      file = staging / target.name / rest
      file.parent.mkdir(parents=True, exist_ok=True)
      store.get_file(name, str(file))
    # Another process may have been faster.
    if not target.parent.exists():
      staging.rename(target.parent)
  finally:
    shutil.rmtree(staging, ignore_errors=True)
