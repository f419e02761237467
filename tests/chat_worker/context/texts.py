"""Texts of many kinds, for measuring how well tokens are estimated: prose of fifteen languages, code, noise."""

import json
from pathlib import Path

TEXTS: dict[str, str] = json.loads(Path(__file__).with_name("texts.json").read_text("utf-8"))
