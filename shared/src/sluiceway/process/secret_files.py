"""Secrets out of files: `NAME_FILE` names the file that has the value of the setting NAME, as orchestrators mount it.

For the settings that have secrets in them (see `secrecy`). What the environment says itself wins. A line break at the
file's end is no part of the value. A file that cannot be read fails the start, by the variable's name.
"""

import os
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from sluiceway.process.secrecy import secret_names

_SUFFIX = "_FILE"


class SecretFileUnreadable(ValueError):
    """Says which variable names it, and not what is in it."""


class SecretFiles(PydanticBaseSettingsSource):
    """A source of pydantic's settings."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return _read(f"{field_name.upper()}{_SUFFIX}"), field_name, self.field_is_complex(field)

    def __call__(self) -> dict[str, Any]:
        secret = secret_names(self.settings_cls)
        found: dict[str, Any] = {}
        for name, field in self.settings_cls.model_fields.items():
            if name.upper() in secret:
                value, key, is_complex = self.get_field_value(field, name)
                if value is not None:
                    found[key] = self.prepare_field_value(name, field, value, is_complex)
        return found


def _read(variable: str) -> str | None:
    path = os.environ.get(variable)
    if not path:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError):
        raise SecretFileUnreadable(f"{variable} names a file that cannot be read as text") from None
