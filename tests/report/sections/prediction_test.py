import math

from jaxrl_entropy.analysis import studies
from jaxrl_entropy.report.sections import prediction
from tests.analysis import synthetic


def test_early_points_predict_the_late_ones_of_every_seed(tmp_path):
  for seed in range(2):
    synthetic.write_run(tmp_path / f"grpo{seed}", seed=seed)
  section = prediction.build(studies.load(tmp_path))
  assert list(section.panels) == ["early", "error"]
  rows = section.table.rows
  assert [row[:2] for row in rows if row[1] == "36%"] == [
    ("seed 0", "36%"),
    ("seed 1", "36%"),
  ]
  points = [row[2] for row in rows if row[0] == "seed 0"]
  assert points == sorted(set(points))
  assert all(row[5] < 0.02 and not math.isnan(row[6]) for row in rows)
