"""A row of our own making in the layout of each published data set."""

import base64
import json
import pickle
import zlib

DAPO_BEFORE = (
  "Solve the following math problem step by step. The last line of your "
  "response should be of the form Answer: $Answer (without quotes) where "
  "$Answer is the answer to the problem.\n\n"
)
DAPO_AFTER = '\n\nRemember to put your answer on its own line after "Answer:".'
GSM8K_AFTER = (
  ' Let\'s think step by step and output the final answer after "####".'
)
WORKING = "He has 6+6=<<6+6=12>>12 apples.\nThen 200 times.\n#### 1,212"


def user(text):
  return [{"role": "user", "content": text}]


def verl(prompt, truth, source="math_dapo", **rest):
  return {
    "data_source": source,
    "prompt": user(prompt) if isinstance(prompt, str) else prompt,
    "ability": "MATH",
    "reward_model": {"ground_truth": truth, "style": "rule"},
    "extra_info": {"index": "9a9b6eb4"},
    **rest,
  }


# Format -> rows with the question "What is 1+1?" (but for GSM8K's) and the
# reference that must come of them.
MATHEMATICS = {
  "dapo": [
    (verl(DAPO_BEFORE + "What is 1+1?" + DAPO_AFTER, "2"), "2"),
  ],
  "verl": [
    (verl("What is 1+1?" + GSM8K_AFTER, "2", "openai/gsm8k"), "2"),
    (verl("What is 1+1?", "\\frac{4}{2}"), "\\frac{4}{2}"),
  ],
  "slime": [({"prompt": user("What is 1+1?"), "label": "2"}, "2")],
  "gsm8k": [
    ({"question": "What is 1+1?", "answer": WORKING}, "1212"),
    ({"question": "What is 1+1?", "answer": "#### 2"}, "2"),
  ],
  "math": [
    (
      {
        "problem": "What is 1+1?",
        "level": "Level 5",
        "type": "Algebra",
        "solution": "Not \\boxed{4} but \\boxed{2}.",
      },
      "2",
    ),
    (
      {
        "problem": "What is 1+1?",
        "solution": "It is 2.",
        "answer": "2",
        "subject": "Algebra",
        "level": 2,
        "unique_id": "test/algebra/1.json",
      },
      "2",
    ),
  ],
  "deepscaler": [
    ({"problem": "What is 1+1?", "answer": "2", "solution": "Easy."}, "2")
  ],
  "skywork": [
    (verl("What is 1+1?", '["2"]', "train-math-x"), "2"),
    (verl("What is 1+1?", "[1, 2]", "train-math-x"), "[1, 2]"),
  ],
  "eurus": [(verl("What is 1+1?", "2", "numina_olympiads"), "2")],
  "orz": [
    (
      [
        {"from": "human", "value": "What is 1+1?"},
        {"from": "assistant", "ground_truth": {"value": "2"}},
      ],
      "2",
    )
  ],
  "deepmath": [
    (
      {
        "question": "What is 1+1?",
        "final_answer": "2",
        "difficulty": 4.5,
        "r1_solution_1": "...",
      },
      "2",
    )
  ],
  "olympiad_bench": [
    (
      {
        "id": 1,
        "question": "What is 1+1?",
        "solution": ["2."],
        "final_answer": ["1", "$2n-2$"],
        "subfield": "Algebra",
      },
      "1, $2n-2$",
    )
  ],
  "aime": [
    ({"ID": "2024-I-1", "Problem": "What is 1+1?", "Answer": 25}, "25"),
    ({"id": 60, "problem": "What is 1+1?", "answer": "025"}, "025"),
    ({"id": 0, "question": "What is 1+1?", "answer": 142.0}, "142.0"),
  ],
}

PAIRS = {"inputs": ["1\n", "2\n"], "outputs": ["2\n", "3\n"]}
CALLS = {"fn_name": "add", "inputs": [[1, 2]], "outputs": [3]}
PRINTED = ({"stdin": "1\n", "stdout": "2\n"}, {"stdin": "2\n", "stdout": "3\n"})
CALLED = ({"call": "add", "args": [1, 2], "expected": 3},)
STARTER = "class Solution:\n  def add(self, a: int, b: int) -> int:"
STDIN = [
  {"input": "1\n", "output": "2\n", "testtype": "stdin"},
  {"input": "2\n", "output": "3\n", "testtype": "stdin"},
]
FUNCTIONAL = [{"input": "1\n2", "output": "3", "testtype": "functional"}]


def packed(tests):
  text = json.dumps(tests)
  return base64.b64encode(zlib.compress(pickle.dumps(text))).decode()


# Format -> rows of a problem with tests, and the tests that must come of them.
PROGRAMS = {
  "eurus": [
    (verl("Add one.", json.dumps(PAIRS), "taco"), PRINTED),
    (verl("Add.", json.dumps(CALLS), "taco"), CALLED),
    (verl("Add.", json.dumps(PAIRS | {"fn_name": None}), "taco"), PRINTED),
  ],
  "apps": [
    (
      {
        "problem_id": 3,
        "question": "Add one.",
        "solutions": "[]",
        "input_output": json.dumps(PAIRS),
        "difficulty": "introductory",
        "starter_code": "",
      },
      PRINTED,
    )
  ],
  "taco": [
    (
      {
        "question": "Add.",
        "input_output": json.dumps(CALLS),
        "starter_code": STARTER,
        "difficulty": "EASY",
      },
      CALLED,
    )
  ],
  "codecontests": [
    (
      {
        "name": "1_A",
        "description": "Add one.",
        "public_tests": {"input": ["1\n"], "output": ["2\n"]},
        "private_tests": {"input": [], "output": []},
        "generated_tests": {"input": ["2\n"], "output": ["3\n"]},
        "difficulty": 7,
        "source": 2,
      },
      PRINTED,
    )
  ],
  "livecodebench": [
    (
      {
        "question_title": "One",
        "question_content": "Add one.",
        "question_id": "a",
        "starter_code": "",
        "public_test_cases": json.dumps(STDIN[:1]),
        "private_test_cases": packed(STDIN[1:]),
        "metadata": "{}",
      },
      PRINTED,
    ),
    (
      {
        "question_content": "Add.",
        "starter_code": STARTER,
        "public_test_cases": json.dumps(FUNCTIONAL),
        "private_test_cases": packed([]),
        "metadata": json.dumps({"func_name": "add"}),
      },
      CALLED,
    ),
  ],
  "deepcoder": [
    ({"problem": "Add one.", "tests": json.dumps(STDIN)}, PRINTED),
    (
      {
        "problem": "Add.",
        "starter_code": STARTER,
        "tests": json.dumps(
          [FUNCTIONAL[0] | {"metadata": {"func_name": "add"}}]
        ),
      },
      CALLED,
    ),
    (
      {
        "problem": "Add.",
        "tests": json.dumps(
          [
            {
              "fn_name": "add",
              "input": [1, 2],
              "output": 3,
              "type": "function_call",
            }
          ]
        ),
      },
      CALLED,
    ),
    ({"problem": "Add one.", "tests": json.dumps(PAIRS)}, PRINTED),
  ],
}

# Format -> a row whose tests are assertions, a right program and a wrong one.
ASSERTED = {
  "mbpp": (
    {
      "task_id": 1,
      "text": "Write a function to add.",
      "code": "def add(a, b): return a + b",
      "test_list": ["assert add(1, 2) == 3", "assert abs(add(0, -1)) == 1"],
      "test_setup_code": "",
    },
    "def add(a, b): return a + b",
    "def add(a, b): return a * b",
  ),
  "humaneval": (
    {
      "task_id": "HumanEval/0",
      "prompt": 'import math\n\ndef add(a, b):\n  """Adds."""\n',
      "canonical_solution": "  return a + b\n",
      "test": "def check(candidate):\n  assert candidate(1, 2) == 3\n",
      "entry_point": "add",
    },
    "def add(a, b): return a + b",
    "def add(a, b): return a - b",
  ),
  "skywork": (
    verl(
      "Add.",
      json.dumps(
        {
          "entry_point": "Solution().add",
          "import_prefix": "from typing import *\n",
          "test_code": "def check(candidate):\n  assert candidate(1, 2) == 3\n",
        }
      ),
      "train-code-leetcode",
    ),
    "class Solution:\n  def add(self, a: int, b: int): return a + b",
    "class Solution:\n  def add(self, a: int, b: int): return a - b",
  ),
  "verl": (
    verl("Add.", json.dumps({"assert_case": ["assert add(1, 2) == 3"]})),
    "def add(a, b): return a + b",
    "def add(a, b): return 4",
  ),
}
