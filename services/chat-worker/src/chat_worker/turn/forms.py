"""What the model is told of the form that its answer is to have, and the user where it has another."""

import json

from sluiceway.operation.answer_format import AnswerFormat

from chat_worker.prompt.prompt import ModelMessages
from chat_worker.step.offer import Unfit

ANSWER_DOES_NOT_FIT = "ANSWER_DOES_NOT_FIT"
_ASKED = (
    "Your final answer must be one JSON object that fits this JSON schema, and nothing else: no words before or behind "
    "it, no code fence.\n{schema}"
)
_AGAIN = "That answer does not fit: {problem}. Answer again, with the JSON object alone."
_SHOWN_CHARS = 4000


def instruction(form: AnswerFormat | None) -> str:
    """For the system prompt: also where the server is told of the schema, as not all hold the model to it."""
    if form is None:
        return ""
    return "\n\n" + _ASKED.format(schema=json.dumps(dict(form.schema), ensure_ascii=False))


def asked_again(unfit: Unfit | None) -> ModelMessages:
    if unfit is None:
        return []
    return [
        {"role": "assistant", "content": unfit.answer[:_SHOWN_CHARS] or "(nothing)"},
        {"role": "user", "content": _AGAIN.format(problem=unfit.problem)},
    ]


def not_of_that_form(unfit: Unfit) -> tuple[str, str, str]:
    """A code, a sentence, and that without what the answer said."""
    sentence = "The model gave no answer of the form that was asked for, in two tries"
    return ANSWER_DOES_NOT_FIT, f"{sentence}: {unfit.problem}.", f"{sentence}."
