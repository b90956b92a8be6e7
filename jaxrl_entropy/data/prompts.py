"""What is put around a question."""

BOXED = (
  "Please reason step by step, and put your final answer within \\boxed{}."
)
CODE = "Write the program in one Python code block."

# The wrapping of DAPO-Math-17k asks for an answer line that we do not read.
_DAPO_BEFORE = "Solve the following math problem step by step."
_DAPO_AFTER = 'Remember to put your answer on its own line after "Answer:".'


def instruct(question: str, instruction: str) -> str:
  """The question with an instruction, unless it asks for a box already."""
  if "\\boxed" in question or not instruction:
    return question
  return f"{question}\n\n{instruction}"


def bare_question(prompt: str) -> str:
  """A prompt of DAPO-Math-17k without its instructions; others as they are."""
  if not prompt.startswith(_DAPO_BEFORE) or _DAPO_AFTER not in prompt:
    return prompt
  _, _, question = prompt.partition("\n\n")
  return question.rpartition(_DAPO_AFTER)[0].strip()
