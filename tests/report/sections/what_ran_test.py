import json

from jaxrl_entropy.analysis import studies
from jaxrl_entropy.report.sections import what_ran
from tests.analysis import synthetic


def test_common_facts_are_in_the_sentence_and_others_in_the_table(tmp_path):
  for name, steps in (("grpo", 100), ("kl_cov", 160)):
    run = synthetic.write_run(tmp_path / name, name, steps=steps)
    content = json.loads((run / "config.json").read_text())
    content["task"] = {"name": "countdown"}
    content["model"] = {"preset": "nano", "weights": "/models/SmolLM2-135M"}
    text = json.dumps({"config": content, "commit": "3b1e814b49e3"})
    (run / "config.json").write_text(text)
  section = what_ran.build(studies.load(tmp_path))
  assert section.sentence == (
    "2 runs in 2 variants; common to all: task countdown, model SmolLM2-135M, "
    "date 1970-01-01, commit 3b1e814b."
  )
  assert section.table.columns == ["variant", "runs", "steps"]
  assert section.table.rows == [
    ["GRPO", 1, 99],
    ["KL-Cov", 1, 159],
  ]
