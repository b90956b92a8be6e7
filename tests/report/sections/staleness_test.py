import json

import numpy as np
import pytest

from jaxrl_entropy.analysis import studies
from jaxrl_entropy.report.section import Absent
from jaxrl_entropy.report.sections import staleness
from tests.analysis import synthetic


def write_runs(folder, field, counts):
  """Two seeds for each count; those of later ones keep less entropy."""
  for count, floor in zip(counts, (0.3, 0.1), strict=True):
    for seed in range(2):
      run = synthetic.write_run(
        folder / f"{count},{seed}",
        seed=seed,
        floor=floor,
        steps=160 // (count + 1) + 40,
      )
      config = json.loads((run / "config.json").read_text())
      config["rollout"] = {field: count}
      (run / "config.json").write_text(json.dumps(config))
  return studies.load(folder)


@pytest.mark.parametrize(
  ("field", "counts", "title", "first"),
  [
    ("num_minibatches", (1, 8), "updates per rollout", "1 update per rollout"),
    ("max_staleness", (0, 2), "steps ahead", "0 steps ahead"),
  ],
)
def test_results_are_by_what_makes_tokens_stale(
  tmp_path, field, counts, title, first
):
  section = staleness.build(write_runs(tmp_path, field, counts))
  assert [row[:3] for row in section.table.rows] == [
    ("GRPO", count, 2) for count in counts
  ]
  assert section.table.columns[1] == title
  assert f" nats with {first} and at" in section.sentence
  assert "in accuracy" in section.sentence
  (line, _) = section.panels["entropy"].axes[0].lines
  assert np.ptp(line.get_xdata()) < 1
  (ends,) = section.panels["end"].axes[0].lines
  assert tuple(ends.get_xdata()) == counts
  assert ends.get_ydata()[0] > ends.get_ydata()[1]


def test_equal_staleness_is_no_comparison(tmp_path):
  study = studies.load(synthetic.write_study(tmp_path))
  assert isinstance(staleness.build(study), Absent)
