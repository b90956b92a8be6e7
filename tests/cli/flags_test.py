import pytest

from jaxrl_entropy import config as config_lib
from jaxrl_entropy.cli import flags
from jaxrl_entropy.errors import UserError
from tests.training.runs import CONFIG


@pytest.fixture
def run(tmp_path):
  """Returns a folder with the config of a run, and nothing else."""
  config = config_lib.load(f"{CONFIG}:grpo", [("model.preset", "tiny")])
  config_lib.save(config, tmp_path / "run")
  return str(tmp_path / "run")


def _read_config(argv, overrides=()):
  command = flags.parser("evaluate", "", "")
  flags.add_policy_flags(command)
  return flags.read_config(command.parse_args(argv), overrides)


@pytest.mark.parametrize(
  ("argv", "overrides"),
  [
    (["--config.steps=4"], [("steps", "4")]),
    (["--config.steps", "4"], [("steps", "4")]),
    (
      ["--config.a.b=x=y", "--config=f", "--config.c=1"],
      [("a.b", "x=y"), ("c", "1")],
    ),
    ([], []),
  ],
)
def test_overrides_are_read_beside_the_flags(argv, overrides):
  command = flags.parser("train", "", "")
  flags.add_config_flag(command)
  args, found = flags.parse_with_overrides(command, ["--config=f", *argv])
  assert args.config == "f"
  assert found == overrides


@pytest.mark.parametrize(
  ("flag", "message"),
  [("--stesp=1", "unknown flag --stesp"), ("--config.x", "needs a value")],
)
def test_bad_flags_are_named(flag, message):
  command = flags.parser("train", "", "")
  flags.add_config_flag(command)
  with pytest.raises(UserError, match=message):
    flags.parse_with_overrides(command, ["--config=f", flag])


def test_a_run_alone_has_its_own_config(run):
  config = _read_config([f"--workdir={run}"], [("eval.top_p", "0.5")])
  assert config.task.name == "tests.training.tiny_config:Coin"
  assert config.eval.top_p == 0.5


def test_a_config_takes_the_model_of_a_run(run):
  file = "configs/evaluation.py:gsm8k"
  config = _read_config([f"--config={file}", f"--workdir={run}"])
  assert config.model.preset == "tiny"
  assert config.task.args.verifier == "math_equal"


@pytest.mark.parametrize(
  ("argv", "message"),
  [
    ([], "give --workdir or --config"),
    (["--config=configs/quickstart.py", "--best"], "give --workdir"),
  ],
)
def test_flags_that_name_no_policy_are_refused(argv, message):
  with pytest.raises(UserError, match=message):
    _read_config(argv)
