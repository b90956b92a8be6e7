"""Models and data sets of the Hugging Face hub, by name and revision.

A name is `ORGANIZATION/NAME`, with `@REVISION` to pin a branch, tag or commit.
Files are kept in the hub's own cache (`HF_HOME`); with `HF_HUB_OFFLINE=1`
nothing is fetched. `HF_ENDPOINT` names another server of the same interface.
"""

from collections.abc import Sequence
import fnmatch
from pathlib import Path
import re
from typing import Any

from jaxrl_entropy.errors import UserError

_NAME = re.compile(r"[\w][\w.-]*/[\w][\w.-]*(@[\w./-]+)?")
MODEL_FILES = (
  *("*.json", "*.safetensors", "*.txt", "*.jinja", "tokenizer.model"),
)
"""Files that are fetched of a model; other formats of its weights are not."""


def is_name(text: str) -> bool:
  """Whether `text` can be a name on the hub, and names no local path."""
  return bool(_NAME.fullmatch(text)) and not Path(text).exists()


def fetch_model(name: str, setting: str) -> Path:
  """Returns the local folder of a model, fetching what is missing.

  Args:
    name: `ORGANIZATION/NAME[@REVISION]`.
    setting: the field that named it, for messages.

  Raises:
    UserError: it cannot be had; the message says why and what to do.
  """
  return _fetch(name, "model", setting, MODEL_FILES)


def fetch_data(name: str, pattern: str, setting: str) -> list[Path]:
  """Returns the files of a data set that match a pattern, fetching them.

  Args:
    name: `ORGANIZATION/NAME[@REVISION]`.
    pattern: of file names inside of it, such as `main/train-*.parquet`.
    setting: the field that named it, for messages.

  Raises:
    UserError: it cannot be had, or no file matches.
  """
  folder = _fetch(name, "dataset", setting, [pattern])
  files = (path for path in folder.rglob("*") if path.is_file())
  matches = sorted(
    path
    for path in files
    if fnmatch.fnmatch(str(path.relative_to(folder)), pattern)
  )
  if not matches:
    raise UserError(f"{setting}: no file of {name} matches {pattern!r}")
  return matches


def push(folder: Path, name: str) -> str:
  """Uploads a folder as a model; returns its address.

  Args:
    folder: a model in Hugging Face layout; all of its files are uploaded.
    name: `ORGANIZATION/NAME[@REVISION]`; the repository is made if there is
      none.

  Returns:
    URL of the commit.

  Raises:
    UserError: the hub refuses it, or cannot be reached.
  """
  from huggingface_hub import HfApi

  name, revision = _split(name)
  api = HfApi()
  try:
    api.create_repo(name, exist_ok=True)
    done = api.upload_folder(
      repo_id=name, folder_path=str(folder), revision=revision
    )
  except Exception as error:
    raise UserError(
      _reason(f"--to=hub --target={name}", name, error)
    ) from error
  return str(done.commit_url)


def _fetch(name: str, kind: str, setting: str, patterns: Sequence[str]) -> Path:
  from huggingface_hub import snapshot_download

  repo, revision = _split(name)
  try:
    folder = snapshot_download(
      repo,
      repo_type=kind,
      revision=revision,
      allow_patterns=list(patterns),
    )
  # Its errors share no base class beyond Exception.
  except Exception as error:
    where = f"{setting} is {name!r}, no path here and on the hub"
    raise UserError(_reason(where, repo, error)) from error
  return Path(folder)


def _split(name: str) -> tuple[str, str | None]:
  repo, _, revision = name.partition("@")
  return repo, revision or None


def _reason(where: str, repo: str, error: Any) -> str:
  """Says in one line why a repository could not be had, and what to do."""
  kind = type(error).__name__
  remedies = {
    "RepositoryNotFoundError": "there is no such repository, or it is private; "
    "check the name, or log in (hf auth login)",
    "GatedRepoError": f"access to {repo} has to be granted; accept its terms "
    "on its page, then log in (hf auth login)",
    "RevisionNotFoundError": "there is no such revision",
    "HFValidationError": "that is no valid name",
    "OfflineModeIsEnabled": "HF_HUB_OFFLINE is set and the cache does not hold "
    "it: fetch it once without, or give a folder",
    "LocalEntryNotFoundError": "the hub cannot be reached and the cache does "
    "not hold it: check the network, or give a folder",
  }
  if kind in remedies:
    return f"{where}: {remedies[kind]}"
  return f"{where}: the hub cannot be reached ({kind}): {error}".splitlines()[0]
