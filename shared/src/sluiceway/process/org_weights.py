"""How many turns an organisation has at the chat queue, where another has one.

Not guaranteed: that all processes have the same ones at once. Who queues and who reads both keep to what they were
told, and lose nothing over it; `service/agreement.py` says where they differ.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

MOST_WEIGHT = 100
# Of organisations: all of them are sent with each read of the queue.
_MOST_NAMED = 200
_OTHERS = "*"


@dataclass(frozen=True, slots=True)
class OrgWeights:
    """`named`: by organisation, as it stands in its people's names (`ids.org_of`)."""

    others: int = 1
    named: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> "OrgWeights":
        """Of `acme=3, globex=2, *=1`: names as tokens have them, "," and "=" percent-encoded. Raises ValueError."""
        named: dict[str, int] = {}
        for part in filter(None, map(str.strip, text.split(","))):
            name, _, weight = (word.strip() for word in part.rpartition("="))
            if not name:
                raise ValueError("must be ORG=WEIGHT, …; all others: *=WEIGHT")
            if not weight.isdecimal() or not weight.isascii() or not 1 <= int(weight) <= MOST_WEIGHT:
                raise ValueError(f"a weight must be a whole number from 1 to {MOST_WEIGHT}")
            org = name if name == _OTHERS else quote(unquote(name), safe="")
            if org in named:
                raise ValueError("names an organisation twice")
            named[org] = int(weight)
        if len(named) > _MOST_NAMED:
            raise ValueError(f"must name at most {_MOST_NAMED} organisations")
        return cls(named.pop(_OTHERS, 1), named)

    def of(self, org: str) -> int:
        return self.named.get(org, self.others)

    @property
    def arguments(self) -> list[str | int]:
        """As `queue/advance.lua` takes them."""
        return [self.others, *(word for named in self.named.items() for word in named)]

    def __str__(self) -> str:
        """The same text for the same weights; "" for those that are not set."""
        said = {org: weight for org, weight in sorted(self.named.items()) if weight != self.others}
        if self.others != 1:
            said[_OTHERS] = self.others
        return ",".join(f"{org}={weight}" for org, weight in said.items())


EQUAL = OrgWeights()
