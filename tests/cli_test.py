import importlib
import subprocess
import sys
import types

import pytest

from jaxrl_entropy import cli
from jaxrl_entropy.errors import UserError


def _install(monkeypatch, main):
  """Makes `main` the command `train`."""
  module = types.ModuleType("jaxrl_entropy.train")
  module.main = main
  monkeypatch.setitem(sys.modules, "jaxrl_entropy.train", module)


def _raise(error):
  def main(argv):
    raise error

  return main


def test_help_lists_every_command_without_loading_jax():
  code = (
    "import sys; from jaxrl_entropy.cli import main; "
    "main(['--help']); sys.exit('jax' in sys.modules)"
  )
  done = subprocess.run(
    (sys.executable, "-c", code), capture_output=True, text=True
  )
  assert done.returncode == 0
  assert all(name in done.stdout for name in cli.COMMANDS)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help_with_examples(command, capsys):
  with pytest.raises(SystemExit) as exit_:
    cli.main([command, "--help"])
  assert exit_.value.code == 0
  text = capsys.readouterr().out
  assert "examples:" in text
  assert f"jaxrl-entropy {command}" in text.split("examples:")[1]


def test_unknown_command_names_the_nearest(capsys):
  assert cli.main(["trian"]) == 2
  assert capsys.readouterr().err == (
    "jaxrl-entropy trian: error: there is no command 'trian'; did you mean "
    "'train'?\n"
  )


def test_no_command_prints_the_usage(capsys):
  assert cli.main([]) == 2
  assert "usage:" in capsys.readouterr().out


def test_user_error_is_one_line_with_its_status(monkeypatch, capsys):
  _install(monkeypatch, _raise(UserError("no; do that", status=7)))
  assert cli.main(["train"]) == 7
  assert capsys.readouterr().err == "jaxrl-entropy train: error: no; do that\n"


def test_value_error_of_a_lower_layer_is_one_line(monkeypatch, capsys):
  _install(monkeypatch, _raise(ValueError("bad size\nand details")))
  assert cli.main(["train"]) == 2
  assert capsys.readouterr().err == (
    "jaxrl-entropy train: error: bad size (traceback: --debug)\n"
  )


def test_a_run_that_diverged_is_one_line(monkeypatch, capsys):
  _install(monkeypatch, _raise(FloatingPointError("step 3: not finite")))
  assert cli.main(["train"]) == 2
  assert "error: step 3: not finite" in capsys.readouterr().err


def test_debug_raises_and_is_no_flag_of_the_command(monkeypatch):
  seen = []
  _install(monkeypatch, lambda argv: seen.extend(argv) or 0)
  assert cli.main(["train", "--debug", "--x"]) == 0
  assert seen == ["--x"]
  _install(monkeypatch, _raise(UserError("no")))
  with pytest.raises(UserError):
    cli.main(["train", "--debug"])


def test_a_fault_of_ours_is_not_hidden(monkeypatch):
  _install(monkeypatch, _raise(TypeError("a bug")))
  with pytest.raises(TypeError):
    cli.main(["train"])


def test_cache_directory_of_the_user_wins(monkeypatch):
  _install(monkeypatch, lambda argv: 0)
  monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "mine")
  cli.main(["train"])
  assert cli.os.environ["JAX_COMPILATION_CACHE_DIR"] == "mine"


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
  command = cli.parser("train", "", "")
  cli.add_config_flag(command)
  args, found = cli.parse_with_overrides(command, ["--config=f", *argv])
  assert args.config == "f"
  assert found == overrides


@pytest.mark.parametrize(
  ("flag", "message"),
  [("--stesp=1", "unknown flag --stesp"), ("--config.x", "needs a value")],
)
def test_bad_flags_are_named(flag, message):
  command = cli.parser("train", "", "")
  cli.add_config_flag(command)
  with pytest.raises(UserError, match=message):
    cli.parse_with_overrides(command, ["--config=f", flag])


def test_module_and_console_script_are_the_same():
  done = subprocess.run(
    (sys.executable, "-m", "jaxrl_entropy", "nothing"), capture_output=True
  )
  assert done.returncode == 2
  assert importlib.metadata.entry_points(
    group="console_scripts", name="jaxrl-entropy"
  )
