import json

import pytest

from jaxrl_entropy import advantages, config as config_lib, objectives
from jaxrl_entropy.config import recipes
from jaxrl_entropy.errors import UserError

CONFIG = """
from jaxrl_entropy.config import get_config
"""


@pytest.fixture
def path(tmp_path):
  file = tmp_path / "mine.py"
  file.write_text(CONFIG)
  return str(file)


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_every_recipe_builds_its_loss_and_estimator(name, path):
  config = config_lib.load(path, [("recipe", name)])
  recipe = recipes.RECIPES[name]
  assert (
    config.loss.name,
    config.advantage.name,
    config.rollout.group_filter,
  ) == (
    recipe.loss,
    recipe.advantage,
    recipe.group_filter,
  )
  driven = dict.fromkeys(config.loss.controllers, 0.0)
  objectives.resolve(config.loss.name, {**config.loss.args, **driven})
  advantages.resolve(config.advantage.name, config.advantage.args)


def test_methods_that_share_a_loss_differ_in_their_parts():
  parts = [
    (
      *(r.loss, r.advantage, r.group_filter),
      *map(str, (r.loss_args, r.advantage_args, r.controllers)),
    )
    for r in recipes.RECIPES.values()
  ]
  assert len(set(parts)) == len(parts)


@pytest.mark.parametrize(
  "name", ["rloo", "reinforce_plus_plus", "dr_grpo", "gpg"]
)
def test_the_name_of_a_method_is_no_objective(name, path):
  config = config_lib.load(path, [("loss.name", name)])
  with pytest.raises(UserError, match="loss"):
    objectives.resolve(config.loss.name, config.loss.args)


def test_a_field_replaces_a_part_and_its_arguments(path):
  config = config_lib.load(
    path,
    [("loss.name", "gspo"), ("recipe", "dr_grpo"), ("advantage.name", "rloo")],
  )
  assert config.loss.name == "gspo"
  assert dict(config.loss.args) == {}
  assert config.advantage.name == "rloo"


def test_an_argument_is_added_to_those_of_the_recipe(path):
  config = config_lib.load(
    path, [("recipe", "dr_grpo"), ("loss.args.clip_high", "0.3")]
  )
  assert dict(config.loss.args) == {
    "aggregate": "seq_mean_token_sum_norm",
    "clip_high": 0.3,
  }


def test_a_recipe_on_the_command_line_replaces_the_method_of_the_file(tmp_path):
  file = tmp_path / "mine.py"
  file.write_text(
    "from jaxrl_entropy.config import recipes\n"
    "def get_config():\n"
    "  config = recipes.get_config('grpo')\n"
    "  config.loss.name = 'clip_cov'\n"
    "  config.loss.args.update(fraction=.1)\n"
    "  return config\n"
  )
  config = config_lib.load(str(file), [("recipe", "rloo")])
  assert (config.loss.name, config.advantage.name) == ("grpo", "rloo")
  assert dict(config.loss.args) == {}


def test_the_saved_config_names_the_parts_and_resolves_to_itself(
  tmp_path, path
):
  config_lib.save(config_lib.load(path, [("recipe", "dapo")]), tmp_path)
  saved = json.loads((tmp_path / "config.json").read_text())["config"]
  assert saved["recipe"] == "dapo"
  assert saved["loss"]["name"] == "clip_higher"
  assert saved["rollout"]["group_filter"] == "mixed"
  assert config_lib.to_json(config_lib.of_run(tmp_path)) == saved


def test_an_unknown_recipe_names_the_nearest(path):
  with pytest.raises(UserError, match="did you mean 'rloo'"):
    config_lib.load(path, [("recipe", "rlo")])
