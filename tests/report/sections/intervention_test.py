import json

from jaxrl_entropy.analysis import studies
from jaxrl_entropy.report.section import Absent
from jaxrl_entropy.report.sections import differences, intervention
from tests.analysis import synthetic


def test_the_sentence_says_what_the_seeds_establish(tmp_path):
  for seed in range(3):
    synthetic.write_run(tmp_path / f"grpo{seed}", seed=seed)
    synthetic.write_run(
      tmp_path / f"kl{seed}", "kl_cov", seed=seed, floor=0.2, bonus=0.3
    )
  section = intervention.build(studies.load(tmp_path))
  assert "KL-Cov is above GRPO's law" in section.sentence
  assert "above the ceiling of that law" in section.sentence


def test_other_models_of_the_baseline_are_no_intervention(tmp_path):
  for index, preset in enumerate(("nano", "tiny")):
    run = synthetic.write_run(tmp_path / preset, seed=0, floor=0.1 + index / 10)
    config = json.loads((run / "config.json").read_text())
    config["model"] = {"preset": preset}
    (run / "config.json").write_text(json.dumps(config))
  study = studies.load(tmp_path)
  assert list(study.variants) == ["GRPO nano", "GRPO tiny"]
  assert isinstance(intervention.build(study), Absent)
  assert isinstance(differences.build(study), Absent)
