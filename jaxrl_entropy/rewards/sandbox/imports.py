"""Finds what sandboxed code may import besides the standard library.

Each import is a folder to import from, and the file or folder in it that may be
read.
"""

from collections.abc import Iterable, Iterator
from importlib.machinery import ModuleSpec, all_suffixes
import importlib.util
from pathlib import Path
import sysconfig

from jaxrl_entropy.errors import UserError
from jaxrl_entropy.rewards.sandbox.launch import Import, SandboxError

_PACKAGE = __name__.partition(".")[0]


def of_verifier(path: str, folders: Iterable[str] = ()) -> list[Import]:
  """Returns the imports of a verifier of the user's own.

  They are the installed packages, the Python files and packages beside the
  verifier's own module or package, and all that lies in the listed folders.

  Args:
    path: import path of the verifier, `package.module:function`.
    folders: further folders to read and to import from.

  Raises:
    UserError: there is no such module or folder.
  """
  top = path.partition(":")[0].partition(".")[0]
  spec = importlib.util.find_spec(top)
  if spec is None:
    raise SandboxError(f"verifier {path!r}: there is no module {top!r}")
  installed = list(_installed())
  own = [] if top == _PACKAGE else list(_neighborhood(_places(spec)))
  new = [i for i in own if (i[0], i[0]) not in installed]
  return [*new, *of_folders(folders), *installed]


def of_folders(names: Iterable[str]) -> list[Import]:
  """Returns the imports of all that lies in folders.

  Raises:
    UserError: one of them is not there.
  """
  folders = []
  for name in names:
    if not Path(name).is_dir():
      raise UserError(f"reward.folders has {name!r}, which is no folder")
    folders.append(str(Path(name).absolute()))
  return [(folder, folder) for folder in folders]


def of_packages(names: Iterable[str]) -> list[Import]:
  """Returns the imports of installed packages or modules, by their names.

  Args:
    names: as programs import them, such as "numpy".

  Raises:
    UserError: one of them is not installed.
  """
  imports = []
  for name in names:
    spec = importlib.util.find_spec(name)
    if spec is None:
      raise UserError(
        f"reward.packages has {name!r}, which is not installed here"
      )
    for place in _places(spec):
      # Wheels keep the shared libraries of a package beside it.
      places = place, place.with_name(f"{name}.libs")
      imports += [(str(place.parent), str(p)) for p in places if p.exists()]
  return imports


def _places(spec: ModuleSpec) -> list[Path]:
  """The file of a module, or the folders of a package."""
  if spec.submodule_search_locations is not None:
    return [Path(folder) for folder in spec.submodule_search_locations]
  return [Path(spec.origin)] if spec.origin and spec.has_location else []


def _neighborhood(places: Iterable[Path]) -> Iterator[Import]:
  """Modules or packages, and those beside them."""
  suffixes = tuple(all_suffixes())
  for place in places:
    yield str(place.parent), str(place)
    for entry in sorted(place.parent.iterdir()):
      if entry.name.endswith(suffixes) or (entry / "__init__.py").exists():
        yield str(place.parent), str(entry)


def _installed() -> Iterator[Import]:
  paths = sysconfig.get_paths()
  for folder in dict.fromkeys((paths["purelib"], paths["platlib"])):
    yield folder, folder
