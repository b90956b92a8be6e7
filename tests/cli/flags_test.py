import pytest

from jaxrl_entropy.cli import flags
from jaxrl_entropy.errors import UserError


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
