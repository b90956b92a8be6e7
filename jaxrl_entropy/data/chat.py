"""How a question becomes a prompt: chat template, system message, suffix."""

from collections.abc import Mapping
import dataclasses
from typing import Any

DATE = "26 Jul 2024"
"""The date that templates write as today's, so that a run has the same prompts
on another day; it is the date that Llama 3's own templates fall back to."""


@dataclasses.dataclass(frozen=True)
class PromptFormat:
  """The form of every prompt of a run.

  Attributes:
    template: "auto": the tokenizer's chat template, or plain text where it has
      none; "chat": its template, which must exist; "none": plain text.
    system: system message of problems that bring none; "": none.
    suffix: text after each question.
    date: what templates write as today's date; "": today's.
    variables: further variables of the template, such as
      {"enable_thinking": False}.
  """

  template: str = "auto"
  system: str = ""
  suffix: str = ""
  date: str = DATE
  variables: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  def messages(self, question: str, system: str | None) -> list[dict[str, str]]:
    """Returns the turns of a conversation that asks `question`.

    Args:
      question: the problem's text; `suffix` is put behind it.
      system: system message of the problem; None or "" for that of the format.

    Returns:
      Mappings of `role` and `content`, as chat templates read them.
    """
    system = system or self.system
    first = [{"role": "system", "content": system}] if system else []
    return [*first, {"role": "user", "content": question + self.suffix}]

  def text(self, question: str, system: str | None) -> str:
    """Returns the prompt as plain text: system message, question, suffix.

    Args:
      question: the problem's text; `suffix` is put behind it.
      system: system message of the problem; None or "" for that of the format.
    """
    system = system or self.system
    return (f"{system}\n\n" if system else "") + question + self.suffix

  def template_variables(self) -> dict[str, Any]:
    """Returns the variables that the chat template sees."""
    date = {"date_string": self.date} if self.date else {}
    return {**date, **self.variables}


DEFAULT = PromptFormat()
