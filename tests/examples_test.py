"""The notebooks run from top to bottom, in a folder of their own."""

import json
import os
from pathlib import Path
import subprocess
import sys

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
TRAINS = {"quickstart.ipynb", "own_loss.ipynb"}


def cells(notebook):
  return json.loads(notebook.read_text())["cells"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_are_committed_without_outputs(notebook):
  for cell in cells(notebook):
    assert not cell.get("outputs")
    assert cell.get("execution_count") is None


@pytest.mark.parametrize(
  "notebook",
  [
    pytest.param(
      path,
      id=path.name,
      marks=[pytest.mark.slow] if path.name in TRAINS else [],
    )
    for path in NOTEBOOKS
  ],
)
def test_notebooks_run(notebook, tmp_path):
  code = "\n\n".join(
    "".join(cell["source"])
    for cell in cells(notebook)
    if cell["cell_type"] == "code"
  )
  done = subprocess.run(
    (sys.executable, "-c", code),
    cwd=tmp_path,
    env=os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"},
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr[-3000:]
