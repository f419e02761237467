"""What is known about a person, and what was erased of one."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, RootModel
from sluiceway.store.people.people import ErasureReceipt
from sluiceway.store.people.understandings import MAX_BYTES, MAX_FACTS, MAX_INSTRUCTIONS_CHARS, Understanding

from gateway.api.models.texts import PageText
from gateway.api.models.wire import Asked, Wire


class ErasureReceiptView(Wire):
    """What was erased. `person`: the SHA-256 of his name. `erased_by`: `self`, or the name of an operator's key."""

    id: str
    person: str
    erased_by: str
    counts: dict[str, int]
    erased_at: datetime

    @classmethod
    def of(cls, receipt: ErasureReceipt) -> "ErasureReceiptView":
        return cls.model_validate(receipt, from_attributes=True)


class NewUnderstanding(RootModel[Annotated[dict[str, Any], Field(max_length=MAX_FACTS)]]):
    """What is known about the caller: facts by their names."""


class UnderstandingView(Wire):
    """`facts` by their names; those of the tool `remember` are texts. `updated_at` is null where there never was one.
    There is room for `max_facts`, and for `max_bytes` of JSON."""

    facts: dict[str, Any]
    updated_at: datetime | None
    max_facts: int = MAX_FACTS
    max_bytes: int = MAX_BYTES

    @classmethod
    def of(cls, understanding: Understanding) -> "UnderstandingView":
        return cls(facts=dict(understanding.facts), updated_at=understanding.updated_at)


class Instructions(Asked):
    """What the caller wants every answer to heed; empty: nothing."""

    text: PageText = Field(max_length=MAX_INSTRUCTIONS_CHARS)


class InstructionsView(Wire):
    """There is room for `max_chars`."""

    text: str
    max_chars: int = MAX_INSTRUCTIONS_CHARS


class SignedIn(Wire):
    """`expires_at`: until then the cookie is good."""

    user_id: str
    expires_at: datetime | None
