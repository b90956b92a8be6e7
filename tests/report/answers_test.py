"""Answers over several studies, from runs with known truths."""

import pytest

from jaxrl_entropy.analysis import studies
from jaxrl_entropy.report import answers, overview, writer
from tests.analysis import synthetic


@pytest.fixture
def parts(tmp_path):
  """One study over three seeds, one with a copy of its first runs."""
  for seed in range(3):
    for loss, floor, bonus in (
      ("grpo", 0.08, 0.0),
      ("clip_cov", 0.2, 0.3),
      ("kl_cov", 0.2, 0.0),
    ):
      folders = ["a"] + ["b"] * (seed == 0)
      for folder in folders:
        synthetic.write_run(
          tmp_path / folder / f"{loss}{seed}",
          loss,
          seed=seed,
          floor=floor,
          bonus=bonus,
        )
  return studies.load_parts(tmp_path)


def answer(parts, start):
  (found,) = (
    each.answer
    for each in answers.answers(parts)
    if each.question.startswith(start)
  )
  return found


def test_a_copy_of_a_run_counts_once(parts):
  found = [(study.name, label) for study, label, _ in studies.distinct(parts)]
  assert found == [("a", "GRPO"), ("a", "Clip-Cov"), ("a", "KL-Cov")]
  assert "In 1 setting of plain GRPO" in answer(parts, "Does R = ")


def test_who_ends_higher_is_said_with_its_interval(parts):
  found = answer(parts, "Do they end higher")
  assert found.startswith("Yes. Of 6 comparisons over seeds")
  assert (
    "3 are above GRPO with an interval that excludes 0, and 3 are below; "
    "after Holm's correction for their number, 3 and 3." in found
  )
  assert "Above after it: Clip-Cov of a in accuracy (0.2" in found


def test_what_was_not_found_is_said_with_what_was_tried(tmp_path):
  for seed in range(2):
    synthetic.write_run(tmp_path / "s" / f"g{seed}", seed=seed)
    synthetic.write_run(
      tmp_path / "s" / f"k{seed}", "kl_cov", seed=seed, floor=0.3
    )
  found = answer(studies.load_parts(tmp_path), "Do they end higher")
  assert found.startswith("Not found. Of 3 comparisons")
  assert "Studies: s." in found


def test_the_law_under_intervention_counts_what_leaves_it(parts):
  found = answer(parts, "Does the law hold when")
  assert "Over seeds, 1 of 2 are separable from it. 1 of 2 end above" in found


def test_entropy_kept_is_a_ratio_to_the_baselines(parts):
  found = answer(parts, "Do Clip-Cov and KL-Cov keep")
  assert found.startswith(
    "2 of 2 variants ended with more entropy than GRPO: from 2.4"
  )


def test_a_question_without_data_has_no_answer(parts):
  asked = [each.question for each in answers.answers(parts)]
  assert not any(question.startswith("Do clip-higher") for question in asked)
  assert answers.answers([]) == []


def test_the_overview_has_only_what_has_an_interval(parts, tmp_path):
  ends = next(s for s in overview.sections(parts) if s.name == "ends")
  assert [row[2] for row in ends.table.rows] == [3] * 6
  page, summary, *_ = writer.write_report(tmp_path, plot_files=[])
  assert "<dt>Do they end higher than GRPO?</dt><dd>Yes. Of" in page.read_text()
  assert "Do they end higher" in summary.read_text()
