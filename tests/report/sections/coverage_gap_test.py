import numpy as np

from jaxrl_entropy.analysis import studies
from jaxrl_entropy.report import answers
from jaxrl_entropy.report.section import Absent
from jaxrl_entropy.report.sections import coverage_gap
from tests.analysis import synthetic


def write(folder, loss, seed, last, bonus=0.0):
  """A run that is `bonus` above the curve pass@64 = 1 - accuracy^2."""
  run = synthetic.write_run(folder / f"{loss}{seed}", loss, seed=seed)
  records = synthetic.read(run)
  noise = np.random.default_rng([seed, len(loss)]).normal() / 500
  for record in records:
    if "eval/held_out/accuracy" in record:
      accuracy = 0.3 + (last - 0.3) * record["step"] / records[-1]["step"]
      record["eval/held_out/accuracy"] = accuracy
      record["eval/held_out/pass@64"] = 1 - accuracy**2 + bonus + noise
  synthetic.rewrite(run, records)


def test_a_slower_method_has_no_more_coverage_at_equal_accuracy(tmp_path):
  for seed in range(4):
    write(tmp_path, "grpo", seed, 0.7)
    write(tmp_path, "kl_cov", seed, 0.5)
    write(tmp_path, "clip_cov", seed, 0.5, bonus=0.05)
  section = coverage_gap.build(studies.load(tmp_path))
  assert "with more pass@64: Clip-Cov (0.0" in section.sentence
  assert "with less: none. Not separable: 1; " in section.sentence
  assert list(section.panels) == ["frontier"]
  assert [row[:2] for row in section.table.rows] == [
    ("Clip-Cov", 4),
    ("KL-Cov", 4),
  ]


def test_a_few_samples_do_not_measure_coverage(tmp_path):
  study = studies.load(synthetic.write_study(tmp_path))
  assert isinstance(coverage_gap.build(study), Absent)


def test_the_answer_counts_gaps_over_studies(tmp_path):
  for seed in range(4):
    write(tmp_path / "a", "grpo", seed, 0.7)
    write(tmp_path / "a", "clip_cov", seed, 0.5, bonus=0.05)
  found = {
    each.question: each.answer
    for each in answers.answers(studies.load_parts(tmp_path))
  }["Do they keep more coverage at equal accuracy?"]
  assert "1 variant of Clip-Cov and KL-Cov differ by +0.0" in found
  assert "1 are above and 0 below." in found
