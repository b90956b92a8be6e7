from jaxrl_entropy.analysis import studies
from jaxrl_entropy.report.section import Absent
from jaxrl_entropy.report.sections import tradeoff
from tests.analysis import synthetic

AT = "eval/held_out/at_0.6/accuracy"


def test_variants_are_ranked_by_those_that_are_better_in_all(tmp_path):
  runs = {"grpo": (0.08, 0.0, 0.5), "kl_cov": (0.2, 0.1, 0.6)}
  for loss, (floor, bonus, at) in runs.items():
    synthetic.write_run(
      tmp_path / loss, loss, floor=floor, bonus=bonus, noise=0.0, extra={AT: at}
    )
  section = tradeoff.build(studies.load(tmp_path))
  assert section.table.columns == (
    *("variant", "runs", "entropy kept"),
    *("greedy", "T = 0.6", "as trained", "better in all"),
  )
  assert [row[0] for row in section.table.rows] == ["KL-Cov", "GRPO"]
  assert [row[-1] for row in section.table.rows] == [0, 1]
  assert [row[4] for row in section.table.rows] == ["0.600", "0.500"]
  assert "at every temperature than KL-Cov." in section.sentence


def test_absent_where_one_temperature_was_measured(tmp_path):
  synthetic.write_study(tmp_path)
  assert isinstance(tradeoff.build(studies.load(tmp_path)), Absent)


def test_what_differs_from_the_baseline_by_the_common_spread_is_marked(
  tmp_path,
):
  runs = {"grpo": (0.08, 0.5), "kl_cov": (0.2, 0.4), "clip_cov": (0.08, 0.5)}
  for loss, (floor, at) in runs.items():
    for seed, shift in enumerate((0.0, 0.1)):
      synthetic.write_run(
        tmp_path / f"{loss}{seed}",
        loss,
        floor=floor,
        noise=1e-3,
        seed=seed,
        extra={AT: at + shift + 1e-4 * seed * floor},
      )
  rows = tradeoff.build(studies.load(tmp_path)).table.rows
  by_label = {row[0]: row for row in rows}
  assert by_label["KL-Cov"][2].endswith(" ↑")
  assert by_label["KL-Cov"][4].endswith(" ↓")
  assert "↑" not in by_label["Clip-Cov"][2] + by_label["GRPO"][2]
