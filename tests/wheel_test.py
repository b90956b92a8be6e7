"""The wheel: what it holds, and that it runs without the repository."""

from importlib.metadata import distribution
import os
from pathlib import Path
import shutil
import site
import subprocess
import sys
import zipfile

from packaging.requirements import Requirement
import pytest

from tests.cli import mistakes

ROOT = Path(__file__).parents[1]
SOURCES = (
  *("jaxrl_entropy", "configs", "setup.py", "pyproject.toml"),
  *("MANIFEST.in", "README.md", "LICENSE"),
)


def test_the_image_pins_every_requirement():
  """Of the extras that it is made for, and of the package itself."""
  pinned = {
    line.partition("==")[0].lower().replace("_", "-")
    for line in (ROOT / "constraints.txt").read_text().splitlines()
  }
  made = distribution("jaxrl_entropy").requires or []
  extras = ("tpu", "math", "gguf", "parquet", "sandbox", "log", "gcs", "s3")
  for text in made:
    requirement = Requirement(text)
    marker = requirement.marker
    if marker is None or any(marker.evaluate({"extra": e}) for e in extras):
      assert requirement.name.lower().replace("_", "-") in pinned, text


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
  folder = tmp_path_factory.mktemp("wheel")
  for name in SOURCES:
    source = ROOT / name
    copy = shutil.copytree if source.is_dir() else shutil.copy
    copy(source, folder / name)
  subprocess.run(
    (
      *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"),
      *("--wheel-dir", folder / "dist", folder),
    ),
    check=True,
  )
  (file,) = (folder / "dist").glob("*.whl")
  return file


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
  """The programs of an environment that has the wheel, and not the checkout."""
  folder = tmp_path_factory.mktemp("environment") / "venv"
  subprocess.run((sys.executable, "-m", "venv", folder), check=True)
  subprocess.run(
    (folder / "bin" / "pip", "install", "--quiet", "--no-deps", wheel),
    check=True,
  )
  # The dependencies are those of this environment; a path file in a path file
  # is not read, so that an editable install of the checkout stays out.
  (packages,) = folder.glob("lib/python*/site-packages")
  (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()))
  return folder / "bin"


def run(installed, folder, *command):
  done = subprocess.run(
    (installed / command[0], *command[1:]),
    cwd=folder,
    env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  return done.stdout


@pytest.mark.slow  # pip fetches the build's own requirements
def test_the_wheel_has_the_package_and_the_configs_alone(wheel):
  names = set(zipfile.ZipFile(wheel).namelist())
  share = "jaxrl_entropy/share/"
  for path in (*ROOT.glob("configs/**/*.py"), *ROOT.glob("jaxrl_entropy/**/*")):
    if path.suffix == ".py":
      name = str(path.relative_to(ROOT))
      assert {name, share + name} & names, name
  tops = {name.partition("/")[0] for name in names}
  assert {top for top in tops if "dist-info" not in top} == {"jaxrl_entropy"}


@pytest.mark.slow
@pytest.mark.parametrize(
  ("config", "fields"),
  [
    (
      "configs/quickstart.py:kl_cov",
      ("steps=1", "sft.steps=2", "eval.problems=8", "probe.states=8"),
    ),
    ("mine.py", ("steps=2",)),
  ],
)
def test_an_installed_wheel_trains_without_the_checkout(
  installed, tmp_path, config, fields
):
  """With a config that it brings, and on a model and data of the user's."""
  mistakes.make_model(tmp_path / "model")
  for name in ("mine.py", "data.jsonl"):
    (tmp_path / name).write_text(mistakes.FILES[name])
  code = "import jaxrl_entropy; print(jaxrl_entropy.__path__[0])"
  place = run(installed, tmp_path, "python", "-c", code)
  assert place.startswith(str(installed.parent))
  run(
    *(installed, tmp_path, "jaxrl-entropy", "train"),
    *(f"--config={config}", "--workdir=runs/a"),
    *(f"--config.{field}" for field in fields),
  )
  run(installed, tmp_path, "jaxrl-entropy", "analyze", "--workdir=runs/a")
  assert (tmp_path / "runs" / "a" / "report" / "report.html").is_file()
