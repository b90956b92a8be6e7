"""A run that is refused before its first record leaves its folder as it was."""

import pytest

from jaxrl_entropy import run_files
from jaxrl_entropy.errors import WRITE_FAILED, UserError
from jaxrl_entropy.training import lease, start


def run(workdir, record=None, status=2, rival=""):
  """Starts a run that writes its config, then `record`, then is refused."""
  with (
    lease.Lease(workdir) as held,
    start.nothing_left(workdir, held.check),
  ):
    (workdir / run_files.CONFIG).write_text("{}")
    (workdir / run_files.METRICS).touch()
    if record:
      (workdir / record).parent.mkdir(exist_ok=True)
      (workdir / record).write_text("{}\n")
    if rival:
      (workdir / lease.FOLDER / rival).touch()
    raise UserError("no", status)


def refuse(workdir, match="no", **how):
  with pytest.raises(UserError, match=match):
    run(workdir, **how)


def test_a_new_folder_goes_and_an_empty_one_stays_empty(tmp_path):
  refuse(tmp_path / "runs" / "new")
  assert list(tmp_path.iterdir()) == []
  refuse(tmp_path)
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
  "record",
  [
    run_files.METRICS,
    f"sft/{run_files.SFT_METRICS}",
    f"sft/{run_files.SFT_SAMPLES}",
  ],
)
def test_results_are_kept(tmp_path, record):
  refuse(tmp_path, record=record)
  assert (tmp_path / run_files.CONFIG).exists()
  assert (tmp_path / record).read_text() == "{}\n"


def test_the_folder_of_another_process_is_left_alone(tmp_path):
  refuse(tmp_path, "taken over", rival="000002.json")
  assert (tmp_path / run_files.CONFIG).exists()


def test_other_files_and_a_full_disk_change_nothing(tmp_path):
  (tmp_path / "notes.txt").touch()
  refuse(tmp_path)
  refuse(tmp_path / "run", status=WRITE_FAILED)
  assert (tmp_path / "notes.txt").exists()
  assert (tmp_path / "run" / run_files.CONFIG).exists()
