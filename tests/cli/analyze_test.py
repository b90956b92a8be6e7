from jaxrl_entropy.cli import analyze
from tests.analysis import synthetic


def test_the_page_is_named_and_notes_are_printed(tmp_path, capsys):
  run = synthetic.write_run(tmp_path / "grpo", steps=30)
  with (run / "metrics.jsonl").open("a") as file:
    file.write('{"step": 3}\n')
  assert analyze.main([f"--workdir={tmp_path}"]) == 0
  out, err = capsys.readouterr()
  assert out == f"report: {tmp_path / 'report' / 'report.html'}\n"
  assert "note: grpo: metrics.jsonl: 1 step(s) occur more than once" in err
