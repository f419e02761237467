"""What every model of the wire is."""

from typing import Any

from pydantic import BaseModel, ConfigDict, RootModel


class Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Asked(Wire):
    """A request of a plain route."""

    model_config = ConfigDict(extra="forbid")


class AnyObject(RootModel[dict[str, Any]]):
    """A JSON object that is described elsewhere."""
