import json

import numpy as np
import pytest

from jaxrl_entropy.analysis import runs, studies
from jaxrl_entropy.errors import UserError
from tests.analysis import synthetic


def write(folder, text, config=None):
  folder.mkdir(exist_ok=True)
  (folder / "metrics.jsonl").write_bytes(text)
  if config is not None:
    (folder / "config.json").write_text(json.dumps(config))
  return folder


def test_truncated_and_foreign_lines_are_left_out_and_named(tmp_path):
  text = b'{"step": 0, "x": 1}\n[1]\n\xff\xfe\n{"step": "1"}\n{"step": 2, "x'
  run = runs.load(write(tmp_path / "run", text, {}))
  assert [record["step"] for record in run.records] == [0]
  assert run.notes == (
    "metrics.jsonl: 4 unreadable line(s) left out: 2, 3, 4, 5",
  )


def test_a_step_that_stands_twice_is_reported_and_counts_once(tmp_path):
  lines = [{"step": s, "x": v} for s, v in ((0, 1), (1, 2), (2, 3), (1, 5))]
  text = "\n".join(map(json.dumps, lines)).encode()
  run = runs.load(write(tmp_path / "run", text, {}))
  series = run.series("x")
  assert (
    "1 step(s) occur more than once, first step 1 at line 4" in run.notes[0]
  )
  assert "two processes" in run.notes[0]
  np.testing.assert_array_equal(series.steps, [0, 1, 2])
  np.testing.assert_array_equal(series.values, [1, 5, 3])


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path):
  run = runs.load(write(tmp_path / "run", b'\xef\xbb\xbf{"step": 0}\r\n', {}))
  assert len(run.records) == 1
  assert run.notes == ()


def test_columns_are_records_and_broken_ones_are_noted(tmp_path):
  path = tmp_path / "run" / "metrics.json"
  path.parent.mkdir()
  path.write_text('{"step": [0, 4], "x": [null, 2.5]}')
  series = runs.load(path.parent).series("x")
  assert (list(series.steps), list(series.values)) == ([4], [2.5])
  assert studies.load_parts(tmp_path) == studies.load_parts(path.parent) == []
  path.write_text('{"step": 3}')
  assert "not a JSON object of lists" in runs.load(path.parent).notes[0]


def test_missing_null_and_infinite_values_are_no_points():
  values = (1.0, None, float("inf"), float("nan"), True, "2", 3)
  records = [{"step": i, "x": v} for i, v in enumerate(values)]
  series = runs.Run("run", {}, [*records, {"step": 9}]).series("x")
  np.testing.assert_array_equal(series.steps, [0, 6])


def test_missing_config_is_noted_and_the_name_stands_for_the_method(tmp_path):
  run = runs.load(write(tmp_path / "clip_cov", b'{"step": 0}'))
  assert run.method == "Clip-Cov"
  assert "config.json is missing" in run.notes[0]


@pytest.mark.parametrize("content", ["{", "[]", "[" * 100_000, '{"config": 3}'])
def test_broken_config_is_noted(tmp_path, content):
  folder = write(tmp_path / "run", b'{"step": 0}')
  (folder / "config.json").write_text(content)
  assert "not a JSON object" in runs.load(folder).notes[0]


def test_folder_without_metrics_is_an_error(tmp_path):
  with pytest.raises(UserError, match=r"metrics\.jsonl"):
    runs.load(tmp_path)


def test_study_leaves_out_a_warm_start(tmp_path):
  synthetic.write_study(tmp_path)
  write(tmp_path / "pretrain", b'{"step": 0, "loss": 2.0}')
  study = studies.load(tmp_path)
  assert [run.name for run in study.runs] == ["clip_cov", "grpo", "kl_cov"]


def test_seeds_are_one_variant_and_settings_tell_variants_apart(tmp_path):
  for seed in range(2):
    synthetic.write_run(tmp_path / f"grpo{seed}", seed=seed)
    for fraction in (0.01, 0.02):
      synthetic.write_run(
        tmp_path / f"clip{fraction}{seed}",
        "clip_cov",
        seed=seed,
        settings={"fraction": fraction},
      )
  synthetic.write_run(tmp_path / "rloo", advantage="rloo")
  # How often a run is measured does not set it apart.
  config = json.loads((tmp_path / "grpo1" / "config.json").read_text())
  config["eval"] = {"every": 3}
  # Nor does a field that the version of the other runs did not have.
  config["rollout"] = {"new": False}
  (tmp_path / "grpo1" / "config.json").write_text(json.dumps(config))
  study = studies.load(tmp_path)
  assert {label: len(m) for label, m in study.variants.items()} == {
    "GRPO": 2,
    "RLOO": 1,
    "Clip-Cov r=0.01": 2,
    "Clip-Cov r=0.02": 2,
  }
  assert study.baseline[0] == "GRPO"


def test_a_schedule_is_labeled_by_its_ends(tmp_path):
  anneal = {"name": "linear", "start": 1.5, "end": 0.0, "updates": 64}
  fraction = {"fraction": 0.1}
  synthetic.write_run(tmp_path / "constant", "kl_cov", settings=fraction)
  synthetic.write_run(
    tmp_path / "annealed",
    "kl_cov",
    settings=fraction,
    controllers={"coefficient": anneal},
  )
  assert set(studies.load(tmp_path).variants) == {"KL-Cov", "KL-Cov β=1.5→0"}


@pytest.mark.parametrize(
  ("recipe", "loss", "advantage", "method"),
  [
    ("dapo", "clip_higher", "grpo", "DAPO"),
    ("gpg", "reinforce", "gpg", "GPG"),
    ("ppo", "grpo", "gae", "PPO"),
    ("grpo", "grpo", "grpo", "GRPO"),
    # A part that replaces the recipe's makes another method of it.
    ("grpo", "clip_cov", "grpo", "Clip-Cov"),
    ("dapo", "kl_cov", "grpo", "KL-Cov"),
    ("", "grpo", "rloo", "RLOO"),
  ],
)
def test_the_method_is_what_ran(recipe, loss, advantage, method):
  config = {
    "recipe": recipe,
    "loss": {"name": loss},
    "advantage": {"name": advantage},
  }
  assert runs.Run("run", config, []).method == method
