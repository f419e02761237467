"""On a cluster whatever is touched together is in one slot."""

import re
from importlib import resources

import pytest
from sluiceway import keys
from sluiceway.redis.cluster import key_of
from sluiceway.redis.slots import slot_of

pytestmark = pytest.mark.requirement("OP-8")
USER, MODEL = "somebody {else}", "0f0f"
# By what stands before the name of a key in the head of a script.
TOGETHER = {
    "a task": [keys.task_meta("t"), keys.task_events("t")],
    "a task's agent stream": [
        keys.agent_stream("t"),
        keys.agent_published("t"),
        keys.agent_events("t", 0),
        keys.agent_events("t", 1),
    ],
    "a model": [keys.model_budget(MODEL), keys.model_line(MODEL), keys.model_tickets(MODEL)],
    **{
        f"the queue {kind}, partition {partition}": [
            keys.work_queue(kind, partition),
            keys.lane_entries(kind, partition),
            keys.lane_heads(kind, partition),
            keys.lane(kind, USER, partition),
            keys.lane(kind, "", partition),
            keys.lane_orgs(kind, partition),
            keys.lane_seats(kind, USER, partition),
            keys.lane_people(kind, USER, partition),
        ]
        for kind in (keys.CHAT, keys.COMPLETIONS, keys.tool_queue("default"))
        for partition in (0, 3, 15)
    },
}


@pytest.mark.parametrize("what", TOGETHER)
def test_keys_that_are_touched_together_share_a_slot(what: str) -> None:
    assert len({slot_of(key) for key in TOGETHER[what]}) == 1


def test_every_script_of_several_keys_is_of_a_group_that_shares_a_slot() -> None:
    groups = {
        "queue": "queue",
        "stream": "meta, events",
        "model": "budget, line",
        "feeds": "meta, published, events of slot 0, events of slot 1",
    }
    for room in (resources.files("sluiceway") / "lua").iterdir():
        for file in room.iterdir():
            text = re.sub(r" \([^)]*\)", "", file.read_text())
            named = re.search(r"KEYS: ([^.]*)\.", text)
            if named and "," in named[1]:
                assert named[1].startswith(groups[room.name]), f"{room.name}/{file.name}: {named[1]}"


@pytest.mark.parametrize(
    ("command", "key"),
    [
        (("GET", "k"), "k"),
        (("EVALSHA", "0" * 40, 2, "k", "l", "argument"), "k"),
        (("EVAL", "return 1", 0), None),
        (("XREADGROUP", "GROUP", "g", "c", "COUNT", 1, "BLOCK", 1, "STREAMS", "k", ">"), "k"),
        (("XREAD", b"STREAMS", b"k", b"0-0"), b"k"),
        (("XGROUP", "CREATE", "k", "g", "0", "MKSTREAM"), "k"),
        (("XINFO", "GROUPS", "k"), "k"),
        (("XINFO STREAM", "k"), "k"),
        (("MEMORY", "USAGE", "k"), "k"),
        (("SCRIPT LOAD", "return 1"), None),
        (("TIME",), None),
        (("WAIT", 1, 100), None),
    ],
)
def test_the_key_of_a_command_is_found(command: tuple[str | bytes | int, ...], key: str | bytes | None) -> None:
    assert key_of(command) == key
