"""What the person at the terminal sees: a progress line while things come up, then prefixed lines, a colour a process.

Without a terminal (or with NO_COLOR) the same lines come plain. A reader that goes away (`make run | head`) does not
end the stack.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

COLOURS = ("cyan", "green", "magenta", "blue", "yellow", "bright_cyan", "bright_green", "bright_magenta", "bright_blue")
LEAST_ROOM = 40
_BAR = " │ "


class _Terminal(Console):
    def on_broken_pipe(self) -> None:
        """Rich would end the process."""
        self.quiet = True


class Display:
    def __init__(self) -> None:
        self._console = _Terminal(highlight=False, soft_wrap=True)
        self._colours = cycle(COLOURS)
        self._colour_of: dict[str, str] = {}
        self._width = 0
        self._progress: Progress | None = None
        self._waiting_for: list[str] = []

    def expect(self, names: list[str]) -> None:
        """All processes that will come up; the prefix is as wide as the longest name."""
        self._colour_of = {name: next(self._colours) for name in names}
        self._width = max(map(len, names))
        self._waiting_for = list(names)

    @contextmanager
    def coming_up(self) -> Iterator[None]:
        """The progress line, on a terminal; it is gone afterwards."""
        columns = (
            SpinnerColumn(),
            BarColumn(20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
        )
        with Progress(
            *columns, console=self._console, transient=True, disable=not self._console.is_terminal
        ) as progress:
            progress.add_task(self._still_missing(), total=len(self._waiting_for))
            self._progress = progress
            try:
                yield
            finally:
                self._progress = None

    def ready(self, name: str, seconds: float) -> None:
        self.note(name, f"ready after {seconds:.1f} s")
        if name in self._waiting_for:
            self._waiting_for.remove(name)
            if self._progress is not None:
                self._progress.update(self._progress.task_ids[0], advance=1, description=self._still_missing())

    def line(self, name: str, text: str) -> None:
        """A line that the process wrote, with its own colours, if it has any."""
        self._tell(name, Text.from_ansi(text))

    def note(self, name: str, text: str, *, alarming: bool = False) -> None:
        """What the supervisor has to say of a process."""
        self._tell(name, Text(text, style="bold red" if alarming else "dim"))

    def say(self, text: str, style: str = "bold") -> None:
        """What concerns the whole."""
        self._print(Text(text, style=style))

    def _tell(self, name: str, text: Text) -> None:
        """On a terminal what has no room in its line goes on below itself, and not below the names."""
        room = self._console.width - self._width - len(_BAR)
        narrow = self._console.is_terminal and room >= LEAST_ROOM
        for line in text.wrap(self._console, room) if narrow else [text]:
            self._print(self._prefix(name).append_text(line))

    def _prefix(self, name: str) -> Text:
        return Text(f"{name:<{self._width}}{_BAR}", style=self._colour_of.get(name, ""), end="").append(
            "", style="default"
        )

    def _still_missing(self) -> str:
        return f"starting {', '.join(self._waiting_for)}" if self._waiting_for else "ready"

    def _print(self, text: Text) -> None:
        self._console.print(text)
