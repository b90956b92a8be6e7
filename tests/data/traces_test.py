"""Rows of traces, and the task made of them."""

import json

import numpy as np
import pytest

from jaxrl_entropy.data import task as task_lib, traces
from jaxrl_entropy.data.answers import RowError
from jaxrl_entropy.data.tasks.traces import first_of_each

USER = {"role": "user", "content": "What is 1+1?"}
ASSISTANT = {"role": "assistant", "content": "<think>Easy.</think> \\boxed{2}"}
SYSTEM = {"role": "system", "content": "Be brief."}


def read(row, **settings):
  defaults = {"instruction": "", "verifier": "math", "only_correct": True}
  settings = defaults | settings
  return traces.to_trace(row, source="mine", place="f:1", **settings)


@pytest.mark.parametrize(
  ("row", "system", "answer"),
  [
    ({"messages": [USER, ASSISTANT], "answer": "2"}, "", "2"),
    ({"messages": [SYSTEM, USER, ASSISTANT]}, "Be brief.", ""),
    (
      {
        "conversations": [
          {"from": "human", "value": USER["content"]},
          {"from": "gpt", "value": ASSISTANT["content"]},
        ],
        "system": "Be brief.",
      },
      "Be brief.",
      "",
    ),
    (
      {
        "prompt": [USER],
        "completion": ASSISTANT["content"],
        "reward_model": {"ground_truth": "2"},
      },
      "",
      "2",
    ),
    ({"query": USER["content"], "response": ASSISTANT["content"]}, "", ""),
    (
      {
        "instruction": "What is",
        "input": "1+1?",
        "output": ASSISTANT["content"],
      },
      "",
      "",
    ),
    (
      {
        "prompt": USER["content"],
        "response": ASSISTANT["content"],
        "correct": True,
        "answer": "2",
      },
      "",
      "2",
    ),
    (
      {"question": USER["content"], "answer": "1 + 1 = 2\n#### 2"},
      "",
      "",
    ),
    (
      {
        "problem": USER["content"],
        "solution": ASSISTANT["content"],
        "answer": "proof",
      },
      "",
      "",
    ),
  ],
)
def test_a_trace_of_every_layout(row, system, answer):
  problem = read(row)
  assert problem.prompt.split() == USER["content"].split()
  worked_out = {ASSISTANT["content"], "1 + 1 = 2\n#### 2"}
  assert problem.extra[traces.RESPONSE] in worked_out
  assert (problem.system, problem.answer) == (system, answer)


@pytest.mark.parametrize(
  ("row", "reason"),
  [
    ("text", "not an object"),
    ({"prompt": "Q"}, "nor a question and a response"),
    ({"response": "R"}, "nor a question and a response"),
    ({"problem": "1+1?", "answer": "2"}, "a bare answer and no response"),
    ({"problem": "1+1?", "answer": 2}, "a bare answer and no response"),
    ({"prompt": "Q", "response": " "}, "a turn is empty"),
    ({"prompt": 5, "response": "R"}, "user turn is int"),
    ({"prompt": "Q", "response": ["R"]}, "assistant turn is list"),
    ({"messages": "[]"}, "conversation is str"),
    ({"messages": [USER]}, "turns of user, system"),
    ({"messages": [USER, ASSISTANT, USER]}, "several turns of user"),
    ({"messages": [USER, 5]}, "not an object"),
    ({"messages": [USER, ASSISTANT, {"role": "tool"}]}, "tool"),
  ],
)
def test_bad_traces_say_why(row, reason):
  with pytest.raises(RowError, match=reason):
    read(row)


@pytest.fixture
def path(tmp_path):
  """Samples of an evaluation: three of each of ten questions."""
  path = tmp_path / "samples.jsonl"
  rows = [
    {
      "prompt": f"Q{question}",
      "response": f"sample {sample}",
      "answer": "5",
      "correct": sample != 1,
    }
    for sample in range(3)
    for question in range(10)
  ]
  path.write_text("".join(json.dumps(row) + "\n" for row in rows))
  return str(path)


def responses(task, split):
  pairs = [task.demonstration(split, i) for i in range(task.size(split))]
  return sorted((problem.prompt, response) for problem, response in pairs)


def test_right_samples_become_traces(path):
  args = {"path": path, "test_size": 2}
  task = task_lib.resolve("traces", args)
  with pytest.warns(UserWarning, match="10 of 30 rows are left out on purpose"):
    train, test = responses(task, "train"), responses(task, "test")
  assert len(train) == 16
  assert len({prompt for prompt, _ in test}) == 2
  assert {response for _, response in train} == {"sample 0", "sample 2"}
  assert not {prompt for prompt, _ in train} & {prompt for prompt, _ in test}


def test_traces_of_a_question_may_be_limited(path):
  args = {"path": path, "test_size": 0, "per_question": 1}
  task = task_lib.resolve("traces", args | {"only_correct": False})
  assert responses(task, "train") == [(f"Q{i}", "sample 0") for i in range(10)]


def test_the_first_of_equal_keys_are_kept():
  keys = np.array([5, 3, 5, 5, 3, 9])
  assert first_of_each(keys, 1).tolist() == [0, 1, 5]
  assert first_of_each(keys, 2).tolist() == [0, 1, 2, 4, 5]
  assert first_of_each(keys, 9).tolist() == list(range(6))
