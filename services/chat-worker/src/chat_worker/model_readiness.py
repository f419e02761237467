"""Whether the model server takes requests: told only, as turns wait for it, and all workers have the same."""

from sluiceway.service.readiness import Look
from sluiceway_llm.model import Model
from sluiceway_llm.model_errors import ModelError


def answers(model: Model) -> Look:
    async def look() -> str | None:
        try:
            await model.probe()
        except ModelError as error:
            return error.user_message
        return None

    return look
