"""What a person sees of many processes at once, in whatever is between him and them."""

import pytest
from sluiceway_local.display import Display

WARNING = "08:09:03 warning: authentication_is_off detail='Whoever reaches this is one and the same person.' host=here"


def _shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    display = Display()
    display.expect(["gateway", "completion-consumer"])
    display.line("gateway", WARNING)
    display.line("gateway", "short")
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("columns", [80, 100])
def test_a_long_line_continues_beside_its_name_at_a_terminal(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = [line.replace("\x1b[2m", "").replace("\x1b[0m", "") for line in _shown(capsys)]
    assert all(len(line) <= columns and line.startswith("gateway             │ ") for line in lines)
    assert len(lines) > 2
    assert " ".join(line.partition(" │ ")[2].strip() for line in lines) == f"{WARNING} short"


def test_in_a_pipe_a_line_is_a_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    assert _shown(capsys) == [f"gateway             │ {text}" for text in (WARNING, "short")]
