import json
import os
import sqlite3
import struct
import subprocess
import sys

import pytest

from jaxrl_entropy.errors import UserError
from jaxrl_entropy.training import writers
from jaxrl_entropy.training.writers.base import RunInfo

CONFIG = {"name": "grpo", "optimizer": {"learning_rate": 0.1}, "t": [1, 2]}


def run_info(folder, first_step=0):
  return RunInfo("grpo", folder, CONFIG, first_step)


@pytest.mark.parametrize(
  ("names", "message"),
  [
    (("tensorbord",), "did you mean 'tensorboard'"),
    (("tensorboard", "tensorboard"), "'tensorboard' twice"),
  ],
)
def test_wrong_names_are_refused(names, message):
  with pytest.raises(UserError, match=message):
    writers.check(names)


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
  monkeypatch.setattr(writers.importlib.util, "find_spec", lambda _: None)
  with pytest.raises(UserError) as error:
    writers.check(("wandb",))
  assert str(error.value) == (
    "config.log.writers has 'wandb', which needs wandb: pip install "
    "'jaxrl_entropy[wandb]', or remove it from the tuple"
  )


def test_a_writer_that_cannot_be_opened_is_one_line(tmp_path, monkeypatch):
  pytest.importorskip("wandb", reason="the extra wandb is not installed")
  monkeypatch.setenv("WANDB_MODE", "sideways")
  with pytest.raises(UserError, match="writers: wandb could not be opened"):
    writers.make(("wandb",), run_info(tmp_path))


def test_a_run_has_one_identity_of_its_own(tmp_path):
  folders = [tmp_path / name for name in "ab"]
  for folder in folders:
    folder.mkdir()
  first, second = (run_info(folder).identity() for folder in folders)
  assert first != second
  assert run_info(folders[0], first_step=3).identity() == first


def events(folder):
  """What a TensorBoard file holds, without its checksums."""
  from tensorboardX.proto import event_pb2

  (path,) = folder.iterdir()
  data, found = path.read_bytes(), []
  while data:
    (size,) = struct.unpack("<Q", data[:8])
    found.append(event_pb2.Event.FromString(data[12 : 12 + size]))
    data = data[16 + size :]
  return found


def test_tensorboard_gets_the_scalars_at_once(tmp_path):
  (board,) = writers.make(("tensorboard",), run_info(tmp_path, first_step=3))
  board.write({"step": 3, "time": 1.0, "loss": 0.5, "tokens": 7})
  _, start, scalars = events(tmp_path / "tensorboard")
  assert start.step == 3
  assert start.session_log.status == start.session_log.START
  assert scalars.step == 3
  values = {v.tag: v.simple_value for v in scalars.summary.value}
  assert values == {"loss": 0.5, "tokens": 7.0}
  board.close()


# Writes a run of three steps, which a second process takes up at its third.
WRITE = """
import json, pathlib, sys
from jaxrl_entropy.training import writers
name, folder, first, config = sys.argv[1:]
config, first = json.loads(config), int(first)
run = writers.RunInfo("grpo", pathlib.Path(folder), config, first)
(writer,) = writers.make((name,), run)
for step in range(first, first + 3):
  writer.write({"step": step, "time": 1.0, "loss": step / 2, "pass@4": 1.0})
writer.close()
"""


def write(name, folder, **environment):
  for first in (0, 2):
    subprocess.run(
      (
        sys.executable,
        "-c",
        WRITE,
        name,
        folder,
        str(first),
        json.dumps(CONFIG),
      ),
      env=os.environ | environment,
      check=True,
      capture_output=True,
    )


def wandb_records(path):
  """The records of a .wandb file, a log in the format of LevelDB."""
  from wandb.proto import wandb_internal_pb2

  data, at, parts = path.read_bytes(), 7, b""
  while at + 7 <= len(data):
    if 32768 - at % 32768 < 7:  # the rest of a block
      at += 32768 - at % 32768
      continue
    size, kind = struct.unpack("<HB", data[at + 4 : at + 7])
    parts += data[at + 7 : at + 7 + size]
    at += 7 + size
    if kind in (1, 4):  # whole, or the last part
      yield wandb_internal_pb2.Record.FromString(parts)
      parts = b""


def test_wandb_continues_one_run_offline(tmp_path):
  """Against the library itself, by what it left on disk."""
  pytest.importorskip("wandb", reason="the extra wandb is not installed")
  write("wandb", str(tmp_path), WANDB_MODE="offline")
  files = sorted(tmp_path.glob("wandb/offline-run-*/*.wandb"))
  assert [f.stem for f in files] == [f"run-{run_info(tmp_path).identity()}"] * 2
  records = [record for file in files for record in wandb_records(file)]
  settings = {
    item.key: json.loads(item.value_json)
    for record in records
    for item in record.run.config.update
  }
  assert settings["optimizer"] == {"learning_rate": 0.1}
  history = [
    {item.nested_key[0]: item.value_json for item in record.history.item}
    for record in records
    if record.HasField("history")
  ]
  assert [(float(h["step"]), float(h["loss"])) for h in history] == [
    (s, s / 2) for s in (0, 1, 2, 2, 3, 4)
  ]


def test_mlflow_continues_one_run(tmp_path):
  """Against the library itself, and the database that it fills."""
  pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
  (tmp_path / "run").mkdir()
  address = f"sqlite:///{tmp_path}/mlflow.db"
  write(
    *("mlflow", str(tmp_path / "run")),
    MLFLOW_TRACKING_URI=address,
    MLFLOW_DISABLE_TELEMETRY="true",
  )
  database = sqlite3.connect(tmp_path / "mlflow.db")
  ((run, name),) = database.execute("select run_uuid, name from runs")
  assert name == "grpo"
  assert dict(database.execute("select key, value from params")) == {
    "name": "grpo",
    "optimizer.learning_rate": "0.1",
    "t": "[1, 2]",
  }
  rows = database.execute(
    "select run_uuid, step, key, value from metrics "
    "order by step, timestamp, key"
  )
  assert list(rows) == [
    (run, s, key, value)
    for s in (0, 1, 2, 2, 3, 4)
    for key, value in (("loss", s / 2), ("pass_4", 1.0))
  ]


def test_trackio_continues_one_run(tmp_path):
  """Against the library itself, and the database that it fills."""
  pytest.importorskip("trackio", reason="the extra trackio is not installed")
  (tmp_path / "run").mkdir()
  write("trackio", str(tmp_path / "run"), TRACKIO_DIR=str(tmp_path / "base"))
  database = sqlite3.connect(tmp_path / "base" / "jaxrl_entropy.db")
  rows = database.execute(
    "select run_name, step, metrics from metrics order by step, id"
  ).fetchall()
  name = f"grpo-{run_info(tmp_path / 'run').identity()}"
  assert {row[0] for row in rows} == {name}
  assert [(step, json.loads(m)["loss"]) for _, step, m in rows] == [
    (s, s / 2) for s in (0, 1, 2, 2, 3, 4)
  ]
