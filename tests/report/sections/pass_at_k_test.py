import pytest

from jaxrl_entropy.analysis import studies
from jaxrl_entropy.report.section import Absent
from jaxrl_entropy.report.sections import pass_at_k
from tests.analysis import synthetic

PASS = "eval/held_out/pass@"


def write(folder, first, last, **settings):
  """A run whose pass@1, pass@4 and pass@64 go from `first` to `last`."""
  run = synthetic.write_run(folder, **settings)
  records = synthetic.read(run)
  evaluated = [r for r in records if "eval/held_out/accuracy" in r]
  for record, (one, four, many) in (
    *((record, first) for record in evaluated[:-1]),
    (evaluated[-1], last),
  ):
    record["eval/held_out/accuracy"] = one
    record |= {f"{PASS}1": one, f"{PASS}4": four, f"{PASS}64": many}
  synthetic.rewrite(run, records)


@pytest.fixture
def study(tmp_path):
  start = (0.3, 0.6, 0.9)
  for seed in range(2):
    end = (0.5 + seed / 10, 0.6, 0.7)
    write(tmp_path / f"grpo{seed}", start, end, seed=seed)
  write(tmp_path / "kl_cov", start, (0.4, 0.7, 0.95), loss="kl_cov")
  return studies.load(tmp_path)


def test_means_over_seeds_are_drawn_beside_the_start(study):
  section = pass_at_k.build(study)
  before, grpo, kl_cov = section.panels["curve"].axes[0].lines
  for line in (before, grpo, kl_cov):
    assert list(line.get_xdata()) == [1, 4, 64]
  assert list(before.get_ydata()) == pytest.approx([0.3, 0.6, 0.9])
  assert list(grpo.get_ydata()) == pytest.approx([0.55, 0.6, 0.7])
  assert list(kl_cov.get_ydata()) == pytest.approx([0.4, 0.7, 0.95])
  assert [row[:2] for row in section.table.rows] == [
    ("before RL", 2),
    ("GRPO", 2),
    ("KL-Cov", 1),
  ]


def test_only_who_gave_up_problems_is_said_to_have(study):
  sentence = pass_at_k.build(study).sentence
  assert "0.300 of the held-out problems, and at least one of 64" in sentence
  assert "0.550 and 0.700 with GRPO and 0.400 and 0.950 with KL-Cov" in sentence
  assert "GRPO gained with one sample and lost with 64" in sentence


def test_runs_of_fewer_samples_leave_the_tries_that_all_have(study, tmp_path):
  run = synthetic.write_run(tmp_path / "clip_cov", loss="clip_cov")
  records = [
    {key: v for key, v in record.items() if key != f"{PASS}64"}
    for record in synthetic.read(run)
  ]
  synthetic.rewrite(run, records)
  section = pass_at_k.build(studies.load(tmp_path))
  assert section.table.columns[-2:] == ("pass@1", "pass@4")
  assert {len(row) for row in section.table.rows} == {4}


def test_a_study_without_pass_at_k_has_no_section(tmp_path):
  run = synthetic.write_run(tmp_path / "run")
  records = [
    {key: value for key, value in record.items() if PASS not in key}
    for record in synthetic.read(run)
  ]
  synthetic.rewrite(run, records)
  assert isinstance(pass_at_k.build(studies.load(tmp_path)), Absent)
