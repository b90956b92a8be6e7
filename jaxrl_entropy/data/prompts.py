"""Instructions around a question: those of a set removed, ours appended."""

from collections.abc import Sequence
import re

BOXED = (
  "Please reason step by step, and put your final answer within \\boxed{}."
)
CODE = "Write the program in one Python code block."

# DAPO-Math-17k asks for a last line `Answer: ...`, which no verifier reads.
_DAPO_BEFORE = "Solve the following math problem step by step."
_DAPO_AFTER = 'Remember to put your answer on its own line after "Answer:".'
# verl's GSM8K asks for the answer after `####`.
_GSM8K_AFTER = re.compile(
  r"\s*(?:Let's think step by step and )?"
  r"(?:output|put|give|write) (?:the|your) final answer after "
  r"[\"'`]?####[\"'`]?\.?\s*\Z",
  re.IGNORECASE,
)


def instruct(question: str, instruction: str) -> str:
  """Appends an instruction to a question, unless it asks for a box already.

  Args:
    question: the problem's text.
    instruction: appended as a paragraph of its own; "" for none.
  """
  if "\\boxed" in question or not instruction:
    return question
  return f"{question}\n\n{instruction}"


def bare_question(prompt: str) -> str:
  """Returns a prompt without the instructions of DAPO-Math-17k or GSM8K.

  Both ask for an answer in a place that is not read; other prompts are
  returned as they are.
  """
  if prompt.startswith(_DAPO_BEFORE) and _DAPO_AFTER in prompt:
    _, _, question = prompt.partition("\n\n")
    return question.rpartition(_DAPO_AFTER)[0].strip()
  return _GSM8K_AFTER.sub("", prompt)


def program(
  question: str,
  *,
  instruction: str,
  starter: str = "",
  names: Sequence[str] = (),
  assertions: Sequence[str] = (),
) -> str:
  """Returns the prompt of a programming problem.

  Args:
    question: the task in words; "" where the starter code has them.
    instruction: appended to a question that has no instruction of its own.
    starter: code that the program begins with.
    names: of the functions that tests call; told where they stand nowhere.
    assertions: tests that are shown.
  """
  paragraphs = [question] if question else []
  if assertions:
    shown = "\n".join(assertions)
    paragraphs.append(f"It should pass these tests:\n\n{_block(shown)}")
  elif starter.strip():
    words = "Start from this code:" if question else "Complete this function:"
    paragraphs.append(f"{words}\n\n{_block(starter)}")
  text = "\n\n".join(paragraphs)
  missing = [name for name in names if name not in text]
  if missing:
    text += f"\n\nThe function is called `{'`, `'.join(missing)}`."
  return instruct(text, instruction)


def _block(code: str) -> str:
  return f"```python\n{code.strip()}\n```"
