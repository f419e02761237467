"""What stands in a URL is good for one task, of one person, for as long as it says, and as long as his sign-in."""

import time

import pytest
from gateway.api.problems import Unauthenticated
from gateway.callers.signed_out import SignedOut
from gateway.callers.stream_tokens import StreamTokens
from redis.asyncio import Redis

pytestmark = pytest.mark.requirement("GW-10")
_KEY = b"k" * 32


def _tokens(redis: Redis, seconds: float = 60, key: bytes = _KEY) -> StreamTokens:
    return StreamTokens([key], seconds, SignedOut(redis))


async def test_a_token_is_good_for_its_task_and_person_until_it_ends(redis: Redis) -> None:
    tokens, until = _tokens(redis), time.time() + 3600
    made = tokens.issue("task_1", "ada", until)
    caller = tokens.check(made.text, "task_1")
    assert (caller.user_id, caller.kind, caller.expires_at) == ("ada", "user", until)
    assert made.expires_at <= time.time() + 60
    # The sign-in ends before the minutes are over.
    assert tokens.issue("task_1", "ada", time.time() + 5).expires_at <= time.time() + 5


@pytest.mark.parametrize(
    ("seconds", "key", "task", "told"),
    [
        (60, _KEY, "task_2", "another task"),
        (-1, _KEY, "task_1", "expired"),
        (60, b"x" * 32, "task_1", "not valid"),
    ],
)
async def test_a_token_of_another_task_time_or_key_is_refused(
    redis: Redis, seconds: float, key: bytes, task: str, told: str
) -> None:
    made = _tokens(redis, seconds, key).issue("task_1", "ada", None)
    with pytest.raises(Unauthenticated, match=told):
        _tokens(redis).check(made.text, task)


async def test_a_token_ends_with_the_sign_in_that_it_was_made_from(redis: Redis) -> None:
    ended, until = SignedOut(redis), time.time() + 3600
    tokens = StreamTokens([_KEY], 60, ended)
    made, of_another = tokens.issue("task_1", "ada", until), tokens.issue("task_1", "bob", until)
    await ended.end("ada", until)
    with pytest.raises(Unauthenticated, match="has ended"):
        tokens.check(made.text, "task_1")
    assert tokens.check(of_another.text, "task_1").user_id == "bob"
