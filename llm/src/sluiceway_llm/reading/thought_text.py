"""Thoughts in a field of their own, of a server that has left the model's own marks in them: tags, or channels
(channels.py), of which often only those between two messages are left:

    We need to say hello.<|end|><|start|>assistant<|channel|>final<|message|>Hello!

Guarantees: what comes out has no marks. Any split of the text gives the same. What a channel says that is not of
thoughts is kept apart: it is the answer, or a call, only where the server tells no other.
"""

from collections.abc import Sequence

from sluiceway_llm.reading.channels import BareChannels, Channels, Heard
from sluiceway_llm.reading.think_tags import ThinkSplitter


class ThoughtText:
    """`held`: whether some of it is not told yet. `aside`: what is no thought."""

    def __init__(self) -> None:
        self._reader: ThinkSplitter | Channels | BareChannels = ThinkSplitter()
        self.aside: list[Heard] = []
        self.held = False

    @property
    def plain(self) -> bool:
        """Whether a piece without a mark would be told as it is."""
        return isinstance(self._reader, Channels) and self._reader.thinks

    def feed(self, text: str) -> str:
        self.held = True
        reader = self._reader
        told = self._thoughts(reader.feed(text))
        if isinstance(reader, ThinkSplitter):
            if reader.channels is not None:
                self._reader = reader.channels
                if isinstance(self._reader, Channels):
                    self._reader.of_thoughts(begun=False)
                told += self._thoughts([heard for _, text in reader.rest() for heard in self._reader.feed(text)])
            elif reader.done:
                self._reader = Channels()
                self._reader.of_thoughts(begun=True)
                told = self._thoughts(self._reader.feed(told))
        return told

    def rest(self) -> str:
        """What was held when the thoughts ended."""
        self.held = False
        return self._thoughts(self._reader.rest(answered=False))

    def _thoughts(self, heard: Sequence[Heard]) -> str:
        """Behind a tag, too, stand thoughts: it is their field."""
        if isinstance(self._reader, ThinkSplitter):
            return "".join(one[1] for one in heard if isinstance(one, tuple))
        self.aside += [one for one in heard if not (isinstance(one, tuple) and one[0] == "reasoning")]
        return "".join(one[1] for one in heard if isinstance(one, tuple) and one[0] == "reasoning")
