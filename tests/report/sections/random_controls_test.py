from jaxrl_entropy.analysis import studies
from jaxrl_entropy.report.section import Absent
from jaxrl_entropy.report.sections import random_controls
from tests.analysis import synthetic


def write(folder, name, loss, floor, settings=None):
  for seed in range(4):
    run = folder / f"{name}{seed}"
    synthetic.write_run(run, loss, seed=seed, floor=floor, settings=settings)


def test_controls_are_compared_with_the_rule_they_replace(tmp_path):
  write(tmp_path, "grpo", "grpo", 0.08)
  write(tmp_path, "clip", "clip_cov", 0.2)
  for pool, floor in (("all", 0.2), ("rewarded", 0.1)):
    write(tmp_path, pool, "clip_random", floor, {"among": pool})
  section = random_controls.build(studies.load(tmp_path))
  labels = [row[0] for row in section.table.rows]
  assert labels == ["Clip-Cov", "Random tokens all", "Random tokens rewarded"]
  assert "Random tokens rewarded in entropy (-0.1" in section.sentence
  assert "Random tokens all in entropy" not in section.sentence
  assert "entropy" in section.panels


def test_without_controls_there_is_no_section(tmp_path):
  study = studies.load(synthetic.write_study(tmp_path))
  assert isinstance(random_controls.build(study), Absent)
