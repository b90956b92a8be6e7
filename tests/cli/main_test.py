import importlib.metadata
import signal
import subprocess
import sys
import time
import types
import warnings

import pytest

from jaxrl_entropy.cli import main
from jaxrl_entropy.errors import PREEMPTED, UserError
from tests.training import runs


def _install(monkeypatch, main):
  """Makes `main` the command `train`."""
  module = types.ModuleType("jaxrl_entropy.cli.train")
  module.main = main
  monkeypatch.setitem(sys.modules, "jaxrl_entropy.cli.train", module)


def _raise(error):
  def main(argv):
    raise error

  return main


_ALL_HELP = """
import contextlib, sys
from jaxrl_entropy.cli.main import COMMANDS, main
main(["--help"])
for command in COMMANDS:
  with contextlib.suppress(SystemExit):
    main([command, "--help"])
  for package in ("jax", "transformers", "matplotlib"):
    assert package not in sys.modules, f"{command} --help loads {package}"
"""


def test_help_of_every_command_loads_no_heavy_package():
  done = subprocess.run(
    (sys.executable, "-c", _ALL_HELP), capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  assert done.stderr == ""
  assert all(f"  {name} " in done.stdout for name in main.COMMANDS)


@pytest.mark.parametrize("command", main.COMMANDS)
def test_every_command_has_help_with_examples(command, capsys):
  with pytest.raises(SystemExit) as exit_:
    main.main([command, "--help"])
  assert exit_.value.code == 0
  text = capsys.readouterr().out
  assert "examples:" in text
  assert f"jaxrl-entropy {command}" in text.split("examples:")[1]


def test_unknown_command_names_the_nearest(capsys):
  assert main.main(["trian"]) == 2
  assert capsys.readouterr().err == (
    "jaxrl-entropy trian: error: there is no command 'trian'; did you mean "
    "'train'?\n"
  )


def test_no_command_prints_the_usage(capsys):
  assert main.main([]) == 2
  assert "usage:" in capsys.readouterr().out


def test_user_error_is_one_line_with_its_status(monkeypatch, capsys):
  _install(monkeypatch, _raise(UserError("no; do that", status=7)))
  assert main.main(["train"]) == 7
  assert capsys.readouterr().err == "jaxrl-entropy train: error: no; do that\n"


def test_a_warning_is_one_line(monkeypatch):
  shown = []

  def warn(argv):
    warning = UserWarning("3 rows are left out:\nrow 7")
    shown.append(warnings.formatwarning(warning, UserWarning, "files.py", 9))
    return 0

  _install(monkeypatch, warn)
  before = warnings.formatwarning
  assert main.main(["train"]) == 0
  assert shown == ["jaxrl-entropy train: warning: 3 rows are left out: row 7\n"]
  assert warnings.formatwarning is before


def test_value_error_of_a_lower_layer_is_one_line(monkeypatch, capsys):
  _install(monkeypatch, _raise(ValueError("bad size\nand details")))
  assert main.main(["train"]) == 2
  assert capsys.readouterr().err == (
    "jaxrl-entropy train: error: bad size; and details (traceback: --debug)\n"
  )


def test_a_run_that_diverged_is_one_line(monkeypatch, capsys):
  _install(monkeypatch, _raise(FloatingPointError("step 3: not finite")))
  assert main.main(["train"]) == 2
  assert "error: step 3: not finite" in capsys.readouterr().err


def test_debug_raises_and_is_no_flag_of_the_command(monkeypatch):
  seen = []
  _install(monkeypatch, lambda argv: seen.extend(argv) or 0)
  assert main.main(["train", "--debug", "--x"]) == 0
  assert seen == ["--x"]
  _install(monkeypatch, _raise(UserError("no")))
  with pytest.raises(UserError):
    main.main(["train", "--debug"])


def test_a_fault_of_ours_is_not_hidden(monkeypatch):
  _install(monkeypatch, _raise(TypeError("a bug")))
  with pytest.raises(TypeError):
    main.main(["train"])


@pytest.mark.parametrize("seconds", [0.3, 1.0, 2.0, 3.0])
def test_ctrl_c_in_the_first_seconds_ends_a_run(tmp_path, seconds):
  process = runs.start(tmp_path / "run", (("steps", "100000"),))
  time.sleep(seconds)
  process.send_signal(signal.SIGINT)
  _, errors = process.communicate(timeout=60)
  # It ends at once, or saves first if it trains already.
  assert process.returncode in (-signal.SIGINT, PREEMPTED), errors
  assert "ignored" not in errors


def test_only_what_trains_leaves_signals_to_the_system(monkeypatch):
  seen = []
  _install(monkeypatch, lambda _: seen.append(signal.getsignal(signal.SIGINT)))
  before = signal.getsignal(signal.SIGINT)
  main.main(["train"])
  assert signal.getsignal(signal.SIGINT) is before
  assert seen == [signal.SIG_DFL]


def test_cache_directory_of_the_user_wins(monkeypatch):
  _install(monkeypatch, lambda argv: 0)
  monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "mine")
  main.main(["train"])
  assert main.os.environ["JAX_COMPILATION_CACHE_DIR"] == "mine"


def test_module_and_console_script_are_the_same():
  done = subprocess.run(
    (sys.executable, "-m", "jaxrl_entropy", "nothing"), capture_output=True
  )
  assert done.returncode == 2
  assert importlib.metadata.entry_points(
    group="console_scripts", name="jaxrl-entropy"
  )


def test_a_reader_that_leaves_is_no_error():
  code = (
    "import sys; from jaxrl_entropy.cli import main; from "
    "jaxrl_entropy.cli import doctor; "
    "doctor.main = lambda argv: [print('x' * 99) for _ in range(9999)]; "
    "sys.exit(main.main(['doctor']))"
  )
  with subprocess.Popen(
    (sys.executable, "-c", code),
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
  ) as process:
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
  assert process.returncode == 128 + signal.SIGPIPE
