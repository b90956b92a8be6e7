import json

import pytest

from jaxrl_entropy import config as config_lib
from jaxrl_entropy.config import defaults
from jaxrl_entropy.errors import UserError

CONFIG = """
from jaxrl_entropy.config import defaults

def get_config(arg="plain"):
  config = defaults.get_config()
  config.name = arg
  config.loss.args.update(fraction=0.5)
  return config
"""


@pytest.fixture
def path(tmp_path):
  file = tmp_path / "mine.py"
  file.write_text(CONFIG)
  return str(file)


def test_loads_with_argument_and_default(path):
  assert config_lib.load(path).name == "plain"
  assert config_lib.load(f"{path}:other").name == "other"


@pytest.mark.parametrize(
  ("field", "text", "value"),
  [
    ("steps", "40", 40),
    ("optimizer.learning_rate", "1e-4", 1e-4),
    ("optimizer.learning_rate", "1", 1.0),
    ("rollout.pack", "true", True),
    ("rollout.group_filter", "all", "all"),
    ("model.preset", "tiny", "tiny"),
    ("name", "7", "7"),
    ("model.lora_targets", "q_proj,k_proj", ("q_proj", "k_proj")),
    ("model.lora_targets", "('o_proj',)", ("o_proj",)),
    ("loss.args.fraction", "1e-3", 1e-3),
    ("loss.args.new", "(1, 2)", (1, 2)),
    ("task.args.split", "hard", "hard"),
    ("loss.controllers.new", "0.5", 0.5),
  ],
)
def test_override_takes_the_type_of_the_field(path, field, text, value):
  config = config_lib.load(path, [(field, text)])
  found = config_lib.flatten(config)[field]
  assert found == value
  assert type(found) is type(value)


@pytest.mark.parametrize(
  ("field", "text", "message"),
  [
    ("optimiser.learning_rate", "1", "did you mean 'optimizer'"),
    ("optimizer.learning_rat", "1", "did you mean 'learning_rate'"),
    ("zzzz", "1", "valid names: advantage, checkpoint"),
    ("steps", "four", r"expected int \(now 200\), got 'four'"),
    ("steps", "4.5", "expected int"),
    ("rollout.pack", "maybe", "expected bool"),
    ("optimizer.learning_rate", "fast", "expected float"),
    ("optimizer", "sgd", "is a section"),
    ("steps.more", "1", "is a value, not a section"),
  ],
)
def test_bad_override_names_field_and_fix(path, field, text, message):
  with pytest.raises(UserError, match=message) as raised:
    config_lib.load(path, [(field, text)])
  assert f"config.{field}" in str(raised.value)
  assert "\n" not in str(raised.value)


def test_unknown_field_in_a_file_is_named(tmp_path):
  file = tmp_path / "typo.py"
  file.write_text(CONFIG.replace("config.name", "config.rollout.temprature"))
  with pytest.raises(UserError, match="did you mean 'temperature'"):
    config_lib.load(str(file))


@pytest.mark.parametrize(
  ("text", "message"),
  [("x = 1", "no function get_config"), (None, "no such file")],
)
def test_not_a_config_file(tmp_path, text, message):
  file = tmp_path / "wrong.py"
  if text is not None:
    file.write_text(text)
  with pytest.raises(UserError, match=message):
    config_lib.load(str(file))


def test_argument_for_a_config_without_one(tmp_path):
  file = tmp_path / "plain.py"
  file.write_text("def get_config():\n  return None\n")
  with pytest.raises(UserError, match="takes no argument, got 'big'"):
    config_lib.load(f"{file}:big")


def test_save_records_config_versions_and_commit(tmp_path, path):
  config_lib.save(config_lib.load(path), tmp_path / "run")
  record = json.loads((tmp_path / "run" / "config.json").read_text())
  assert record["config"]["loss"]["args"] == {"fraction": 0.5}
  assert record["config"] == config_lib.read(tmp_path / "run")
  assert {"python", "jax", "optax"} <= set(record["versions"])
  assert record["commit"] == config_lib.commit()


def test_save_again_keeps_the_same_config(tmp_path, path):
  config_lib.save(config_lib.load(path), tmp_path)
  config_lib.save(config_lib.load(path), tmp_path)


def test_save_refuses_a_workdir_of_another_config(tmp_path, path):
  config_lib.save(config_lib.load(path), tmp_path)
  other = config_lib.load(path, [("optimizer.b1", "0.5")])
  with pytest.raises(UserError, match=r"optimizer.b1 is 0.9 there and 0.5 now"):
    config_lib.save(other, tmp_path)


def test_save_names_an_unwritable_workdir(tmp_path, path):
  (tmp_path / "file").write_text("")
  with pytest.raises(UserError, match="cannot be written"):
    config_lib.save(config_lib.load(path), tmp_path / "file" / "run")


def test_read_names_a_damaged_file(tmp_path):
  (tmp_path / "config.json").write_text("{")
  with pytest.raises(UserError, match="is not the config of a run"):
    config_lib.read(tmp_path)


def test_every_default_survives_json():
  config = defaults.get_config()
  assert config_lib.flatten(config_lib.to_json(config)).keys() == (
    config_lib.flatten(config).keys()
  )


def test_a_run_gives_its_config_back(path, tmp_path):
  config = config_lib.load(path, [("model.lora_targets", "k_proj,")])
  config_lib.save(config, tmp_path / "run")
  found = config_lib.of_run(tmp_path / "run", [("seed", "7")])
  assert found.seed == 7
  with found.unlocked():
    found.seed = config.seed
  assert found == config
