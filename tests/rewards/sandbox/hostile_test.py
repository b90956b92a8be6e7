"""Hostile model outputs: each earns its true reward, and leaves nothing.

`tests/fixtures/hostile.txt` holds the programs; the answers are below. Each
runs at every sandbox level that this machine offers.
"""

import ctypes
import os
from pathlib import Path
import tempfile
import time

import pytest

from jaxrl_entropy.data.task import Problem
from jaxrl_entropy.rewards.pool import RewardPool
from jaxrl_entropy.rewards.sandbox import confine, launch, seccomp

PROGRAMS = Path(__file__).parents[2] / "fixtures" / "hostile.txt"
OUTSIDE = ("/usr/hostile-was-here", "/var/tmp/hostile-was-here", "/usr/gone")
TESTS = {
  "print": {"stdin": "4\n", "stdout": "5\n"},
  "call": {"call": "add", "args": [4], "expected": 5},
  "check": {
    "name": "add",
    "check": "def check(add):\n  assert add(4) == 5\n  assert add(0) == 1\n",
  },
}
# Without a file system of its own, a program may write until its time is up.
NOT_AT_RLIMITS = {"fill the disk", "one huge file"}
SECONDS = 2.0
GRACE = 30.0  # to start and to end, on a busy machine

_DEEP = 400
ANSWERS = [
  ("7", r"\boxed{7}", 1),
  ("7", r"\boxed{8} no, \boxed{7}", 1),
  ("7", r"\boxed{7} no, \boxed{8}", 0),
  ("7", r"\boxed{7", 0),
  ("7", r"\boxed{8} and \boxed{7", 0),
  ("7", r"\boxed{\boxed{7}}", 1),
  ("7", r"\boxed{\boxed{8}7", 0),
  ("7", r"\boxed{8 \boxed{7}}", 0),
  ("7", r"\boxed{\boxed{7}\boxed{8}}", 0),
  ("7", r"\boxed{7}}}}", 1),
  ("7", r"\boxed{}", 0),
  ("7", r"\boxed", 0),
  ("7", r"boxed{7}", 0),
  ("7", "7", 0),
  ("7", "", 0),
  ("7", "\\boxed{" * 150_000, 0),
  ("7", "\\boxed{" * 150_000 + "7" + "}" * 150_000, 0),
  ("7", "{" * 1_000_000, 0),
  ("7", "x" * 1_000_000 + r"\boxed{7}", 1),
  ("7", r"\boxed{" + "9" * 1_000_000 + "}", 0),
  ("7", r"\boxed{" + "0" * 1_000_000 + "7}", 0),
  ("7", r"\boxed{" + "(" * 900 + "7" + ")" * 900 + "}", 0),
  ("7", r"\boxed{" + "-" * 1900 + "7}", 0),
  ("7", r"\boxed{7 \times 10^{999999999999}}", 0),
  ("7", r"\boxed{10^{10^{10^{10}}}}", 0),
  ("7", r"\boxed{7\u0000}", 0),
  ("7", "\\boxed{7\x00}", 0),
  ("7", "\\boxed{7\u200b}", 1),
  ("7", "\\boxed{\u202e7}", 0),
  ("7", "\\boxed{\uff17}", 1),
  ("7", "\\boxed{7\ud800}", 0),
  ("7", "\\boxed{7}\x1b[2J\x07", 1),
  ("7", "\\boxed{8}\n{\"reward\": 1.0}\n[1.0, null]", 0),
  ("7", r"\boxed{__import__('os').system('touch /tmp/pwned') or 7}", 0),
  ("7", r"\boxed{exec('raise SystemExit(0)')}", 0),
  ("7", r"\boxed{\input{/etc/passwd}}", 0),
  ("7", r"\boxed{\def\x{\x}\x}", 0),
  ("\\sqrt{12}", r"\boxed{2\sqrt{3}}", 1),
  ("\\sqrt{12}", r"\boxed{10^{10^{10^{10}}}\sqrt{3}}", 0),
  ("\\sqrt{12}", r"\boxed{(10^{9})!\sqrt{3}}", 0),
  ("\\sqrt{12}", r"\boxed{2^{2^{2^{2^{2^{2^{2}}}}}}\sqrt{3}}", 0),
  ("\\sqrt{12}", r"\boxed{\sqrt{" * 20 + "3" + "}}" * 20, 0),
  ("\\sqrt{12}", r"\boxed{" + "\\sqrt{" * _DEEP + "3" + "}" * _DEEP + "}", 0),
  ("\\sqrt{12}", r"\boxed{" + "\\frac{1}{" * 190 + "x" + "}" * 190 + "}", 0),
  ("\\sqrt{12}", r"\boxed{(a+b+c+d+e+f+g+h)^{1000}}", 0),
  ("(a+b)^{200}", r"\boxed{(a+b+c+d+f+g+h)^{200}}", 0),
  ("x^{999}-1", r"\boxed{(x-1)(x^{998}+1)}", 0),
  ("x+1", r"\boxed{\sqrt{x+1}^{" + "9" * 1500 + "}}", 0),
  ("x+1", r"\boxed{\frac{x+1}{0}}", 0),
  ("x+1", r"\boxed{x+1}", 1),
  ("7", r"\boxed{7}" * 50_000, 1),
  ("7", r"\boxed{7}" + r"\boxed{" * 100_000, 1),
  ("7", "\\boxed{7\n\n}", 1),
  ("7", r"\boxed{" + " " * 1_000_000 + "7}", 1),
  ("7", r"\boxed{" + "{" * 900 + "7" + "}" * 900 + "}", 0),
  ("7", r"\boxed{" + "+" * 1900 + "7}", 0),
  ("7", "\\boxed{7" + "\u0301" * 1000 + "}", 0),
  ("7", "\\boxed{\x1b[31m7}", 0),
  ("7", r"\boxed{\immediate\write18{rm -rf /}7}", 0),
  ("7", r"\boxed{eval('7')}", 0),
  ("7", r"\boxed{7" + "e7" * 900 + "}", 0),
  ("7", r"\boxed{1.5e" + "9" * 1900 + "}", 0),
  ("7", r"\boxed{1.0e99999}", 0),
  ("7", r"\boxed{7;import os}", 0),
  ("7", r"\boxed{7 \text{" + " cm" * 500 + "}}", 0),
  ("7", r"\boxed{\{" + r"\{" * 300 + "7" + r"\}" * 300 + r"\}}", 0),
  ("1, 2", r"\boxed{" + ",".join("1" * 900) + "}", 0),
  ("\\pi", r"\boxed{3." + "1" * 1900 + "}", 0),
  ("\\sqrt{12}", r"\boxed{\sum_{n=1}^{10^{9}} n\sqrt{3}}", 0),
  ("\\sqrt{12}", r"\boxed{\int_0^1 x^{x^{x^{x}}} dx}", 0),
  ("\\sqrt{12}", r"\boxed{\binom{10^{9}}{10^{8}}\sqrt{3}}", 0),
  ("\\sqrt{12}", r"\boxed{\prod_{n=1}^{10^{9}} n}", 0),
  ("\\sqrt{12}", r"\boxed{\sqrt[10^{9}]{3}}", 0),
  ("\\sqrt{12}", r"\boxed{e^{e^{e^{e^{e^{9}}}}}}", 0),
  ("\\sqrt{12}", r"\boxed{\sin(10^{10^{10}})}", 0),
  ("\\sqrt{12}", r"\boxed{" + "\\ln(" * 50 + "3" + ")" * 50 + "}", 0),
  ("\\sqrt{12}", r"\boxed{((((3!)!)!)!)!}", 0),
  ("\\sqrt{12}", r"\boxed{0.5^{10^{12}}\sqrt{3}}", 0),
  ("\\sqrt{12}", r"\boxed{\begin{pmatrix}" + "9&" * 900 + r"\end{pmatrix}}", 0),
  ("\\sqrt{12}", r"\boxed{(1+\sqrt{3})^{999999}+1}", 0),
  ("\\sqrt{12}", r"\boxed{(\sqrt{2}+\sqrt{3}+\sqrt{5}+\sqrt{7})^8+1}", 0),
  ("x^2", r"\boxed{((x+1)^{8})^{8}+1}", 0),
  ("x^2", r"\boxed{((((x+1)^{8}+1)^{8}+1)^8+1)^8+1}", 0),
  ("x^2", r"\boxed{x^{" + "9" * 1000 + "}+x}", 0),
  ("x^2", r"\boxed{((((x^{9})^{9})^{9})^{9})^{9}}", 0),
  ("x^2", r"\boxed{" + "x^{" * 60 + "2" + "}" * 60 + "}", 0),
  ("x^2", r"\boxed{" + "+".join(f"x^{{{n}}}" for n in range(33)) + "}", 0),
  ("x^2", r"\boxed{" + "(x+1)" * 35 + "}", 0),
  ("x^2", r"\boxed{" + r"\frac{x}{" * 40 + "x" + "}" * 40 + "}", 0),
  ("x^2", r"\boxed{|" + "-x|" * 60 + "}", 0),
  ("\\sin x", r"\boxed{" + "\\sin(" * 60 + "x" + ")" * 60 + "}", 0),
  ("(a+b)^2", r"\boxed{(a+b)^{2^{2^{2^{2^{2}}}}}}", 0),
]  # fmt: skip


def programs():
  """(name, kind of test, true reward, code) of each program."""
  sections = PROGRAMS.read_text(encoding="utf-8").split("=== ")[1:]
  for section in sections:
    title, _, code = section.partition("\n")
    name, kind, reward = (part.strip() for part in title.split("|"))
    yield name, kind, float(reward), code


def hostile_programs(level):
  for name, kind, reward, code in programs():
    if level != "rlimits" or name not in NOT_AT_RLIMITS:
      problem = Problem(name, "", "", "code", "code", tests=(TESTS[kind],))
      yield problem, f"```python\n{code}```", reward


def hostile_answers(level):
  del level
  for gold, response, reward in ANSWERS:
    yield Problem(response[:60], "", gold, "math", "math"), response, reward


@pytest.fixture
def traces(tmp_path, monkeypatch):
  """Makes this process adopt orphans, and gives temporary files a folder."""
  monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
  prctl = ctypes.CDLL(None).prctl
  prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
  yield tmp_path
  prctl(36, 0, 0, 0, 0)


def living_children():
  """Processes that this one started, or whose parents died."""
  pid = os.getpid()
  tasks = Path(f"/proc/{pid}/task").glob("*/children")
  found = {child for task in tasks for child in task.read_text().split()}
  return {child for child in found if state(child) not in "ZX"}


def state(pid):
  try:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
  except FileNotFoundError:
    return "X"


def test_the_corpus_is_large():
  assert len(list(programs())) + len(ANSWERS) >= 60
  assert len({name for name, *_ in programs()}) == len(list(programs()))


def test_a_folder_without_rights_is_removed():
  user = os.geteuid()
  os.seteuid(user or 65534)  # root may remove anything
  try:
    with launch._folder() as folder:
      os.makedirs(f"{folder}/shut/full")
      os.chmod(f"{folder}/shut", 0)
  finally:
    os.seteuid(user)
  assert not os.path.exists(folder)


@pytest.mark.parametrize(
  ("outputs", "workers"), [(hostile_programs, 4), (hostile_answers, 1)]
)
@pytest.mark.parametrize("level", launch.LEVELS)
def test_every_output_earns_its_true_reward(level, outputs, workers, traces):
  reason = launch.failure(level)
  if reason:
    pytest.skip(reason)
  if not (seccomp.available() and confine.landlock_version()):
    # What rlimits promise alone is too little to try this on a machine.
    pytest.skip("no seccomp or no Landlock")
  before = living_children()
  problems, responses, rewards = zip(*outputs(level), strict=True)
  with RewardPool(workers, SECONDS, level) as pool:
    verdicts = pool.score(list(zip(problems, responses, strict=True)))
  wrong = [
    (problem.id, verdict)
    for problem, verdict, reward in zip(
      problems, verdicts, rewards, strict=True
    )
    if verdict.reward != reward or verdict.seconds > SECONDS + GRACE
  ]
  assert wrong == []
  deadline = time.monotonic() + GRACE  # to die takes a moment
  while living_children() - before and time.monotonic() < deadline:
    time.sleep(0.01)
  assert living_children() <= before
  assert list(traces.iterdir()) == []
  assert not any(map(os.path.lexists, OUTSIDE))
