import json

import pytest

from jaxrl_entropy.cli import samples
from jaxrl_entropy.errors import UserError
from tests.analysis import synthetic


@pytest.fixture
def run(tmp_path):
  rows = [
    synthetic.SAMPLE,
    synthetic.SAMPLE | {"step": 40, "prompt": "\x1b[31m"},
  ]
  (tmp_path / "samples.jsonl").write_text("\n".join(map(json.dumps, rows)))
  return tmp_path


def test_a_file_or_pipe_gets_plain_text_of_the_last_step(run, capsys):
  assert samples.main([f"--workdir={run}"]) == 0
  out = capsys.readouterr().out
  assert "step 40, problem 17: correct, reward 1.000" in out
  assert "> 6 + 6 = <12>" in out
  assert "step 20" not in out
  assert "\x1b" not in out


@pytest.mark.parametrize("by", ["entropy", "covariance", "top entropy"])
def test_a_terminal_gets_colors(run, capsys, monkeypatch, by):
  monkeypatch.setattr("sys.stdout.isatty", lambda: True)
  monkeypatch.delenv("NO_COLOR", raising=False)
  samples.main([f"--workdir={run}", "--step=20", f"--by={by}"])
  out = capsys.readouterr().out
  assert "\x1b[30;48;5;" in out
  # Text of the model cannot send control characters of its own.
  assert "\x1b[31m" not in out


def test_no_color_is_respected(run, capsys, monkeypatch):
  monkeypatch.setattr("sys.stdout.isatty", lambda: True)
  monkeypatch.setenv("NO_COLOR", "1")
  samples.main([f"--workdir={run}"])
  assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(
  ("flag", "match"),
  [
    ("--step=3", "steps with samples: 20, 40"),
    ("--by=entropi", "did you mean 'entropy'"),
  ],
)
def test_mistakes_name_the_fix(run, flag, match):
  with pytest.raises(UserError, match=match):
    samples.main([f"--workdir={run}", flag])


def test_a_run_without_samples_is_told_the_setting(tmp_path):
  with pytest.raises(UserError, match="samples_every above 0"):
    samples.main([f"--workdir={tmp_path}"])
