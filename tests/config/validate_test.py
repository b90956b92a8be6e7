import math

import pytest

from jaxrl_entropy import config as config_lib
from jaxrl_entropy.config import defaults, validate
from jaxrl_entropy.config.fields import Field, walk
from jaxrl_entropy.errors import UserError

FIELDS = {n: f for n, f in walk(defaults.FIELDS) if isinstance(f, Field)}
NUMBERS = {
  name: field
  for name, field in FIELDS.items()
  if isinstance(field.default, int | float)
  and not isinstance(field.default, bool)
}


@pytest.fixture
def path(tmp_path):
  file = tmp_path / "mine.py"
  file.write_text("from jaxrl_entropy.config import get_config\n")
  return str(file)


def refused(path, name, text):
  with pytest.raises(UserError) as raised:
    config_lib.load(path, [(name, text)])
  message = str(raised.value)
  assert name in message
  assert "\n" not in message
  return message


def test_defaults_are_allowed():
  config = defaults.get_config()
  validate.finalize(config)


@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_has_a_range_and_refuses_what_is_beyond_it(path, name):
  field = NUMBERS[name]
  bound = field.low if field.low is not None else field.above
  if bound is not None:
    message = refused(path, name, str(type(field.default)(bound - 3)))
    assert field.allowed() in message
  if field.high is not None:
    refused(path, name, str(type(field.default)(field.high + 2)))
  if isinstance(field.default, float):
    refused(path, name, "nan")
    refused(path, name, "inf")


@pytest.mark.parametrize("name", NUMBERS)
def test_only_a_bonus_may_be_of_either_sign(name):
  field = NUMBERS[name]
  assert field.low is not None or field.above is not None or "bonus" in name


@pytest.mark.parametrize("name", [n for n, f in FIELDS.items() if f.choices])
def test_every_choice_refuses_another(path, name):
  refused(path, name, "nonsense")


@pytest.mark.parametrize("name", NUMBERS)
def test_a_word_is_no_number(path, name):
  assert "expected" in refused(path, name, "four")


def test_the_arguments_of_another_choice_take_the_place_of_the_file_s(tmp_path):
  file = tmp_path / "mine.py"
  file.write_text(
    "from jaxrl_entropy.config import defaults\n"
    "def get_config():\n"
    "  config = defaults.get_config()\n"
    "  config.task.args.path = 'a.jsonl'\n"
    "  return config\n"
  )
  other = [("task.args", "{}"), ("task.args.difficulty", "2")]
  assert dict(config_lib.load(str(file), other).task.args) == {"difficulty": 2}
  whole = [("task.args", "{'difficulty': 3}")]
  assert dict(config_lib.load(str(file), whole).task.args) == {"difficulty": 3}
  with pytest.raises(UserError, match=r"set config\.task\.args\.path"):
    config_lib.load(str(file), [("task.args", "b.jsonl")])


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_is_explained(name):
  doc = FIELDS[name].doc
  assert doc[0].isupper() or doc[0] in "'\""
  assert doc.endswith(".")


@pytest.mark.parametrize("name", validate.RENAMED)
def test_a_field_of_before_names_its_successor(path, name):
  new = validate.RENAMED[name]
  field = f"{name}.steps" if name == "pretrain" else name
  assert f"config.{new}" in refused(path, field, "1")


@pytest.mark.parametrize(
  ("overrides", "message"),
  [
    ([("mesh.data", "-1")], "only one axis can be -1"),
    ([("rollout.train_groups", "96")], "would be dropped"),
    (
      [("rollout.train_groups", "300"), ("rollout.group_filter", "mixed")],
      "at most 128",
    ),
    ([("rollout.max_generation_rounds", "2")], "never samples again"),
    ([("rollout.num_minibatches", "200")], "trains on 128 groups"),
    ([("optimizer.micro_batches", "257")], "a mini-batch has 256 responses"),
    (
      [("rollout.group_size", "1"), ("rollout.group_filter", "mixed")],
      "never both right and wrong",
    ),
    ([("rollout", "3")], r"set config\.rollout\.\w+"),
    ([("optimizer.learning_rate", "inf")], "a finite number and >= 0"),
  ],
)
def test_values_that_do_not_fit_together(path, overrides, message):
  with pytest.raises(UserError, match=message):
    config_lib.load(path, overrides)


@pytest.mark.parametrize("steps", ["3", "5,3", "1,2,3"])
def test_a_trace_needs_its_first_and_last_step(path, steps):
  with pytest.raises(UserError, match="give the first and the last step"):
    config_lib.load(path, [("log.profile_steps", steps)])
  assert config_lib.load(path, [("log.profile_steps", "3,5")])


def test_a_wrong_type_in_a_file_is_told_plainly(tmp_path):
  file = tmp_path / "mine.py"
  file.write_text(
    "from jaxrl_entropy.config import defaults\n"
    "def get_config():\n"
    "  config = defaults.get_config()\n"
    "  config.steps = 'four'\n"
    "  return config\n"
  )
  with pytest.raises(UserError) as error:
    config_lib.load(str(file))
  assert str(error.value) == (
    f"config {file}: steps expects int, and the file gives the str four"
  )


def test_values_of_a_file_are_checked_as_well(tmp_path):
  file = tmp_path / "mine.py"
  file.write_text(
    "from jaxrl_entropy.config import defaults\n"
    "def get_config():\n"
    "  config = defaults.get_config()\n"
    "  config.optimizer.learning_rate = -1e-2\n"
    "  return config\n"
  )
  with pytest.raises(UserError, match=r"rate is -0.01: it must be >= 0"):
    config_lib.load(str(file))


def test_a_range_of_all_numbers_still_asks_for_a_finite_one():
  with pytest.raises(UserError, match="finite"):
    Field(0.1, "A number.").check("x", math.inf)
