"""The documentation of objectives is complete, and its code runs."""

import ast
from pathlib import Path
import re
import sys
import types

import jax
import pytest

from jaxrl_entropy import advantages, objectives
from jaxrl_entropy.config import defaults, recipes
from jaxrl_entropy.rewards import settings
from jaxrl_entropy.training import algorithm, controls, filters

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.S | re.M)


def rows_of(heading):
  """The rows of the tables under a heading of docs/objectives.md."""
  text = (DOCS / "objectives.md").read_text()
  section = re.split(r"^#+ ", text, flags=re.M)
  body = next(part for part in section if part.startswith(heading + "\n"))
  lines = [line for line in body.splitlines() if line.startswith("| `")]
  return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def names(cell):
  return re.findall(r"`(\w+)`", cell)


@pytest.fixture
def my_lab(monkeypatch):
  """The page's code as the module that the page calls it."""
  module = types.ModuleType("my_lab")
  monkeypatch.setitem(sys.modules, "my_lab", module)
  for block in BLOCK.findall((DOCS / "extending.md").read_text()):
    # With the strict promotion rules of the tests relaxed: a user's are.
    with jax.numpy_dtype_promotion("standard"):
      exec(block, module.__dict__)
  return module


def test_the_code_of_the_page_runs_and_resolves(my_lab):
  resolved = algorithm.resolve(my_lab.config)
  assert set(resolved.controllers.controls) == {"power"}
  accept = filters.resolve(my_lab.config.rollout.accept.name)
  assert accept(my_lab.jnp.array([0.1, -0.9]), 0.0, 0.0).tolist() == [0, 1]
  assert my_lab.brevity(None, "one two", **brevity_args(my_lab)) == 0.96


def brevity_args(my_lab):
  """The arguments that the page's config gives to its reward."""
  reward = my_lab.config.reward.to_dict()
  with settings.make_pool(reward):
    return reward["functions"]["brevity"]["args"]


def test_a_transform_takes_ten_lines():
  block = BLOCK.search((DOCS / "extending.md").read_text()).group(1)
  assert len(block.strip().splitlines()) <= 12  # two of them imports


@pytest.mark.parametrize(
  ("heading", "known"),
  [
    ("Advantages", advantages.ESTIMATORS),
    ("What is learned from", filters.FILTERS),
    ("Coefficients that change", controls.CONTROLS),
  ],
)
def test_every_name_is_in_its_table(heading, known):
  listed = [name for row in rows_of(heading) for name in names(row[0])]
  assert sorted(listed) == sorted(known)


def methods():
  """Name, settings and test of each row of "Methods of the field"."""
  text = (DOCS / "objectives.md").read_text()
  body = text.split("## Methods of the field\n")[1].split("Where they depart")[
    0
  ]
  rows = [line.split("|")[1:-1] for line in body.splitlines() if "|" in line]
  return [
    (row[0].strip(), re.findall(r"`(.*?)`", row[3]), row[5].strip(" `"))
    for row in rows[2:]
  ]


def configured(settings):
  """The default configuration with these lines of the table."""
  config = defaults.get_config()
  for line in settings:
    if line.startswith("loss.controllers."):
      argument, value = line.removeprefix("loss.controllers.").split(" = ")
      config.loss.controllers[argument] = eval(value)
    else:
      exec(f"config.{line}", {"config": config})
  recipes.resolve(config)
  return config


def test_every_objective_is_in_a_table():
  general = {name for row in rows_of("Losses") for name in names(row[0])}
  special = {configured(lines).loss.name for _, lines, _ in methods()}
  assert general | special == set(objectives.OBJECTIVES)


@pytest.mark.parametrize(
  ("settings", "test"),
  [pytest.param(lines, test, id=name) for name, lines, test in methods()],
)
def test_a_method_s_settings_resolve_and_its_test_exists(settings, test):
  algorithm.resolve(configured(settings))
  assert (DOCS.parent / test).is_file()


def other_works():
  """State and explanation of each row of the table of other works."""
  text = (DOCS / "objectives.md").read_text()
  body = text.split("The other works that cite")[1].split("\n## ")[0]
  rows = [line.split("|")[1:-1] for line in body.splitlines() if "|" in line]
  return {row[0].strip(): (row[2].strip(), row[3].strip()) for row in rows[2:]}


def test_every_other_work_has_a_state_with_a_test_or_a_reason():
  for work, (state, why) in other_works().items():
    named = re.findall(r"`((?:tests|configs)/[\w/]+\.py)`", why)
    assert all((DOCS.parent / file).is_file() for file in named), work
    folder = {"works": "tests", "expressible": "configs"}.get(state)
    if folder:
      assert any(file.startswith(folder) for file in named), work
    else:
      assert state in ("not published well enough", "out of scope"), work
      assert why, work


def test_no_method_is_a_special_case_of_the_trainer():
  """No name of one is an identifier there, or a string that is compared."""
  names = recipes.RECIPES.keys() | objectives.OBJECTIVES.keys()
  folder = DOCS.parent / "jaxrl_entropy" / "training"
  for file in folder.rglob("*.py"):
    for node in ast.walk(ast.parse(file.read_text())):
      found = {getattr(node, field, None) for field in ("id", "attr", "name")}
      if isinstance(node, ast.Constant):
        found = {node.value}
      assert not found & names, (file, node.lineno)


def test_the_trainer_does_not_speak_of_methods():
  """Those with a name of their own; others are words of English."""
  cells = [name for name, _, _ in methods()] + ["Clip-Cov, KL-Cov, GRPO, ReMax"]
  names = re.findall(
    r"\b(?:\w*[A-Z]{2}|[A-Z]\w*[A-Z-])[\w-]*", ", ".join(cells)
  )
  named = re.compile(rf"\b(?:{'|'.join(names)}|PRIME|GAE)\b")
  assert {"STEER", "MCPO", "EntroPIC", "KL-Cov", "Mixed-CUTS"} <= {*names}
  folder = DOCS.parent / "jaxrl_entropy" / "training"
  for file in folder.rglob("*.py"):
    assert not named.search(file.read_text()), file


@pytest.mark.parametrize("section", ["loss", "advantage"])
def test_every_config_line_resolves(section):
  heading = {"loss": "Losses", "advantage": "Advantages"}[section]
  for row in rows_of(heading):
    for name in names(row[0]):
      config = defaults.get_config()
      config[section].name = name
      line = row[-1].strip("`").removeprefix("config.")
      exec(f"config.{line}", {"config": config})
      recipes.resolve(config)
      algorithm.resolve(config)
