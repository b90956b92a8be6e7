"""What the doctor says of this machine, and of a poorer one."""

import pytest

from jaxrl_entropy.cli import doctor
from jaxrl_entropy.rewards.sandbox import launch


def test_every_level_is_reported(capsys):
  status = doctor.main([])
  text = capsys.readouterr().out
  assert all(level in text for level in launch.LEVELS)
  safe = [lv for lv in launch.LEVELS[:2] if launch.failure(lv) is None]
  assert status == (0 if safe else 1)
  if safe:
    assert f"run at level {safe[0]!r}" in text


@pytest.mark.parametrize("works", ["namespaces", "rlimits"])
def test_what_to_install_is_named(works, monkeypatch, capsys):
  monkeypatch.setattr(
    launch, "failure", lambda level: None if level == works else "missing"
  )
  status = doctor.main([])
  text = capsys.readouterr().out
  assert "apt-get install bubblewrap" in text
  assert status == (1 if works == "rlimits" else 0)
