"""The system prompt from Langfuse, by its HTTP API: `GET /api/public/v2/prompts/{name}?label={label}`.

Guarantees
- No turn waits for Langfuse, and none fails by it. What it said last is used until it says something else, however long
  it is away (stale while revalidate); before it has ever answered, the fallback is: the file, or the default.
- A version that cannot be used (no text, unknown variables, too long) is refused with an error line; what was used
  before stays.
- It is asked again every `LANGFUSE_REFRESH_SECONDS`, by each process, and by no turn.
"""

import asyncio
from urllib.parse import quote

import httpx2
from pydantic import BaseModel, ConfigDict, StrictStr, ValidationError
from sluiceway.process.interim_answers import bound_interim_answers
from sluiceway.process.logs import get_logger

from chat_worker.prompt.system_prompt import PromptRefused, Template, check
from chat_worker.settings import Settings

_MAX_BYTES = 1_000_000
_FIRST_SECONDS = 5.0
"""How long a start waits for the first answer; after that it comes when it comes."""


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore")

    role: str = "system"
    content: StrictStr


class _Prompt(BaseModel):
    """As Langfuse answers it: a text, or the messages of a chat, of which those of the system are taken."""

    model_config = ConfigDict(extra="ignore")

    name: StrictStr
    version: int
    prompt: StrictStr | list[_Message]

    @property
    def text(self) -> str:
        if isinstance(self.prompt, str):
            return self.prompt
        return "\n\n".join(message.content for message in self.prompt if message.role in ("system", "developer"))


class LangfusePrompt:
    """`run` beside the queues asks again and again. `fallback`: used until Langfuse has answered."""

    def __init__(self, settings: Settings, client: httpx2.AsyncClient, fallback: Template) -> None:
        self._name = settings.langfuse_prompt or ""
        self._label = settings.langfuse_label
        self._refresh_seconds = settings.langfuse_refresh_seconds
        self._url = (
            f"{(settings.langfuse_base_url or '').rstrip('/')}/api/public/v2/prompts/{quote(self._name, safe='')}"
        )
        self._client = client
        self._used = Template(fallback.text, self._name, None, "fallback")
        self._told: set[str] = set()
        self._log = get_logger()

    def template(self) -> Template:
        return self._used

    async def first(self) -> None:
        """Ask once, for a little while: most often the first turn has the right prompt then."""
        try:
            async with asyncio.timeout(_FIRST_SECONDS):
                await self.refresh()
        except TimeoutError:
            self._failed("it does not answer")

    async def run(self) -> None:
        """Ask again and again, until cancelled."""
        while True:
            await asyncio.sleep(self._refresh_seconds)
            await self.refresh()

    async def refresh(self) -> None:
        """Ask, and use what it says. Never raises an Exception of the network, or of what came over it."""
        try:
            found = await self._asked()
            template = Template(_text_of(found), found.name, str(found.version), "langfuse")
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            self._failed(type(error).__name__)
        except ValidationError:
            self._failed("what it says is no prompt")
        except PromptRefused as error:
            self._failed(str(error))
        else:
            if self._told or template.version != self._used.version:
                self._log.info("prompt_loaded", prompt=template.name, version=template.version, label=self._label)
            self._used = template
            self._told.clear()

    async def _asked(self) -> _Prompt:
        async with self._client.stream("GET", self._url, params={"label": self._label}) as response:
            if response.status_code != 200:
                raise PromptRefused(f"status {response.status_code}")
            body = bytearray()
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > _MAX_BYTES:
                    raise PromptRefused("its answer is too large")
        return _Prompt.model_validate_json(bytes(body))

    def _failed(self, reason: str) -> None:
        """Each reason is told once until it answers well: the log of a day without Langfuse is short, and what is wrong
        with a version that comes after an outage is in it."""
        if reason not in self._told:
            self._told.add(reason)
            used = {"version": self._used.version, "source": self._used.source}
            self._log.error("prompt_not_loaded", prompt=self._name, label=self._label, reason=reason, used=used)


def _text_of(found: _Prompt) -> str:
    """Raises PromptRefused."""
    text = check(found.text.strip())
    if not text:
        raise PromptRefused("it has no text of the system")
    return text


def client_of(settings: Settings) -> httpx2.AsyncClient:
    public, secret = settings.langfuse_public_key or "", settings.langfuse_secret_key.get_secret_value()
    timeout = httpx2.Timeout(settings.langfuse_timeout_seconds)
    client = httpx2.AsyncClient(auth=(public, secret), timeout=timeout)
    bound_interim_answers(client)
    return client
