"""Whether the model server takes requests: told only, as turns wait for it, and all workers have the same."""

from sluiceway.service.readiness import Look
from sluiceway_llm.calling.model import Model
from sluiceway_llm.model_errors import ModelError


def about_model(model: Model) -> dict[str, object]:
    """For `/readyz`: which models are away, and what is left out for which, as their server refuses it."""
    told = model.told()
    return {"models": told} if told else {}


def answers(model: Model) -> Look:
    async def look() -> str | None:
        try:
            await model.probe()
        except ModelError as error:
            return f"{error.user_message} ({error.reason})" if error.reason else error.user_message
        return None

    return look
