"""Whether the model server takes requests: told only, as turns wait for it, and all workers have the same."""

from urllib.parse import urlsplit

from sluiceway.service.readiness import Look
from sluiceway_llm.calling.model import Model
from sluiceway_llm.model_errors import ModelError


def about_model(model: Model) -> dict[str, object]:
    """For `/readyz`: which models are away, and what is left out for which, as their server refuses it."""
    told = model.told()
    return {"models": told} if told else {}


def answers(model: Model, address: str) -> Look:
    """`address`: of its server, of which the name and the port are told."""
    server = urlsplit(address).netloc.rpartition("@")[2]

    async def look() -> str | None:
        try:
            await model.probe()
        except ModelError as error:
            reason = f" {error.reason}." if error.reason else ""
            return f"{error.fault}{reason} It is {server} (OPENAI_BASE_URL), see docs/runbook/model-away.md"
        return None

    return look
