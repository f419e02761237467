"""What a person's event stream tells."""

from typing import Annotated, Literal

from pydantic import Field, RootModel
from sluiceway.wire.person_event import PersonEvent

from gateway.api.models.wire import Wire


class Ready(Wire):
    """The first event of each connection. `resumed`: what follows goes on behind the cursor that was sent. False: from
    here on everything is told, and what was before has to be read from the list of sessions, after this."""

    type: Literal["ready"] = "ready"
    resumed: bool


class PersonStreamEvent(RootModel[Annotated[Ready | PersonEvent, Field(discriminator="type")]]):
    """One event, by its `type`. Kinds that a client does not know it leaves out: there will be more."""
