import json

import numpy as np

from jaxrl_entropy.analysis import studies
from jaxrl_entropy.report.section import Absent
from jaxrl_entropy.report.sections import staleness
from tests.analysis import synthetic


def test_results_are_by_the_number_of_updates_per_rollout(tmp_path):
  for updates, floor in ((1, 0.3), (8, 0.1)):
    for seed in range(2):
      run = synthetic.write_run(
        tmp_path / f"{updates},{seed}",
        seed=seed,
        floor=floor,
        steps=160 // updates + 40,
      )
      config = json.loads((run / "config.json").read_text())
      config["rollout"] = {"num_minibatches": updates}
      (run / "config.json").write_text(json.dumps(config))
  section = staleness.build(studies.load(tmp_path))
  assert [row[:3] for row in section.table.rows] == [
    ("GRPO", 1, 2),
    ("GRPO", 8, 2),
  ]
  assert "with 1 update per rollout and at" in section.sentence
  (line, _) = section.panels["entropy"].axes[0].lines
  assert np.ptp(line.get_xdata()) < 1


def test_one_number_of_updates_is_no_comparison(tmp_path):
  study = studies.load(synthetic.write_study(tmp_path))
  assert isinstance(staleness.build(study), Absent)
