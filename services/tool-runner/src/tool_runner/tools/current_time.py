"""The tool `current_time`: what day and time it is, where one says."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field

from tool_runner.tool.definition import Tool, ToolContext, ToolFailed


class Place(BaseModel):
    model_config = ConfigDict(extra="forbid")

    timezone: str | None = Field(
        default=None, max_length=100, description="IANA name of a time zone such as Europe/Berlin. Default: UTC."
    )


class CurrentTime(Tool[Place]):
    """Answers {"iso", "date", "time", "weekday", "timezone", "utc_offset"}."""

    name = "current_time"
    title = "Current time"
    description = "Tells the current date, time and weekday, in UTC or in a time zone."
    Input = Place
    timeout_seconds = 10
    repeatable = True
    text_field = "timezone"

    async def run(self, arguments: Place, context: ToolContext) -> dict[str, Any]:
        return told(datetime.now(UTC), arguments.timezone or "UTC")


def told(moment: datetime, timezone: str) -> dict[str, Any]:
    """A moment as it is called there. Raises ToolFailed for a zone that does not exist."""
    try:
        local = moment.astimezone(ZoneInfo(timezone))
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a name may be a path, a directory, or no text for a file
        raise ToolFailed(
            f"There is no time zone {timezone!r}. Use an IANA name such as Europe/Berlin or America/New_York.",
            type="INVALID_ARGUMENTS",
        ) from None
    offset = local.strftime("%z")
    return {
        "iso": local.isoformat(timespec="seconds"),
        "date": local.date().isoformat(),
        "time": local.strftime("%H:%M:%S"),
        "weekday": f"{local:%A}",
        "timezone": timezone,
        "utc_offset": f"{offset[:3]}:{offset[3:5]}",
    }
