"""Which files own verifiers and programs may read, at every sandbox level."""

import importlib.util

import pytest

from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.errors import UserError
from jaxrl_entropy.rewards.sandbox import imports, launch
from jaxrl_entropy.rewards.sandbox.workers import Worker
from jaxrl_entropy.rewards.verifiers import code

PROBLEM = Problem("1", "p", "3", "test", "code")
FILES = {
  # A package with a sibling, a data file, and a module beside the package.
  "mylab/__init__.py": "",
  "mylab/rewards.py": (
    "from pathlib import Path\nfrom mylab import words\nimport helper\n"
    "def f(problem, response, scale=1):\n"
    "  import mylab.late\n"
    "  data = float(Path(__file__).with_name('data.txt').read_text())\n"
    "  return scale * (words.N + helper.N + mylab.late.N + data)\n"
  ),
  "mylab/words.py": "N = 1",
  "mylab/late.py": "N = 4",
  "mylab/data.txt": "8",
  "helper.py": "N = 2",
  # A folder without __init__.py.
  "lab/rew.py": "from lab.sub.n import N\ndef f(problem, response): return N",
  "lab/sub/n.py": "N = 5",
  # A module that reads what is not its own.
  "single.py": (
    "import sys\nfrom helper import N\n"
    "def secret(problem, response):\n"
    "  return len(open(sys.modules['helper'].__file__[:-9] + 'secret').read())"
    "\ndef far(problem, response):\n  import far_away\n  return far_away.N"
  ),
  "secret": "do not read",
}


@pytest.fixture(params=launch.LEVELS)
def level(request):
  reason = launch.failure(request.param)
  if reason:
    pytest.skip(reason)
  return request.param


@pytest.fixture
def project(tmp_path, monkeypatch):
  """A project below the system's temporary folder."""
  for name, text in FILES.items():
    path = tmp_path / "project" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
  (tmp_path / "elsewhere").mkdir()
  (tmp_path / "elsewhere" / "far_away.py").write_text("N = 6")
  monkeypatch.syspath_prepend(tmp_path / "project")
  return tmp_path


def score(level, verifier, **options):
  worker = Worker(level, verifier, 20.0, **options)
  try:
    return worker.score(PROBLEM, "r")
  finally:
    worker.close()


def test_own_rewards_read_their_package_and_what_is_beside_it(level, project):
  assert score(level, "mylab.rewards:f") == (15.0, None)
  assert score(level, "mylab.rewards:f", args={"scale": 2}) == (30.0, None)
  assert score(level, "lab.rew:f") == (5.0, None)


def test_other_folders_must_be_listed(level, project):
  _, error = score(level, "single:secret")
  assert "Error" in error
  _, error = score(level, "single:far")
  assert "far_away" in error
  listed = [str(project / "elsewhere")]
  assert score(level, "single:far", folders=listed) == (6.0, None)


def test_failed_imports_are_one_line(level, project):
  (project / "project" / "mylab" / "words.py").write_text("import far_away")
  with pytest.raises(UserError, match=r"far_away.*reward\.folders") as error:
    score(level, "mylab.rewards:f")
  assert "\n" not in str(error.value)
  with pytest.raises(UserError, match="nothing"):
    score(level, "lab.rew:nothing")
  with pytest.raises(UserError, match="there is no module 'no_such_module'"):
    score(level, "no_such_module:f")
  with pytest.raises(UserError, match="'nowhere', which is no folder"):
    score(level, "lab.rew:f", folders=["nowhere"])


def test_built_in_verifiers_read_no_project():
  own = imports.of_verifier("jaxrl_entropy.rewards.verifiers.gym:verify")
  assert {folder for folder, _ in own} == {path for _, path in own}


@pytest.mark.skipif(
  importlib.util.find_spec("numpy") is None, reason="no numpy"
)
def test_programs_import_the_packages_that_are_listed(level):
  program = "```python\ndef f(): return np.arange(3) * 2\n```"
  test = {"call": "f", "args": [], "expected": [0, 2, 4]}
  problem = Problem("1", "p", "", "test", "code", tests=(test,))
  assert code.verify(problem, program, level, 20.0) == (0.0, None)
  packages = imports.of_packages(["numpy"])
  assert code.verify(problem, program, level, 20.0, packages) == (1.0, None)
  other = program.replace("def", "import jax\ndef")
  assert code.verify(problem, other, level, 20.0, packages) == (0.0, None)


def test_packages_must_be_installed():
  with pytest.raises(UserError, match="no_such_package"):
    imports.of_packages(["no_such_package"])
