import json

from jaxrl_entropy.analysis import studies
from jaxrl_entropy.report.section import Absent
from jaxrl_entropy.report.sections import alarm_list
from tests.analysis import synthetic


def test_an_alarm_is_listed_once_with_its_steps(tmp_path):
  run = synthetic.write_run(tmp_path / "grpo")
  lines = [
    {"step": s, "alarm": "truncation", "message": "40% cut", "setting": "x"}
    for s in (3, 9)
  ]
  (run / "alarms.jsonl").write_text("\n".join(map(json.dumps, lines)))
  section = alarm_list.build(studies.load(tmp_path))
  assert section.table.rows == [("grpo", "3 to 9", 2, "40% cut", "x")]


def test_absent_without_alarms(tmp_path):
  synthetic.write_run(tmp_path / "grpo")
  absent = alarm_list.build(studies.load(tmp_path))
  assert isinstance(absent, Absent)
  assert "training raised none" in absent.reason
