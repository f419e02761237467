"""What a subscriber does not see: entries of the other protocol, of an abandoned step, before its start index."""

from collections.abc import AsyncIterator

import httpx
import pytest
from redis.asyncio import Redis

from harness.clients.sse import SseStream, follow, replay
from tests.gateway.hub_app import HubServer, Publisher, hub_server

RETRACTED = "void=1-1>2-4"


@pytest.fixture
async def server(valkey_url: str) -> AsyncIterator[HubServer]:
    async with hub_server(valkey_url) as running:
        yield running


@pytest.fixture
async def retried(redis: Redis) -> Publisher:
    """A turn whose first step was abandoned after "Hel" and done again: entries between 1-1 and 2-4 are void."""
    publisher = Publisher(redis, "stream")
    await publisher.start()
    await publisher.append("start-step", b'{"type":"start-step"}')
    await publisher.append("text-start", b'{"type":"text-start","id":"1"}')
    await publisher.text("Hel")
    await publisher.append("text-end", b'{"type":"text-end","id":"1"}', attempt=2, version=6)
    await publisher.append("finish-step", b'{"type":"finish-step"}', attempt=2, version=6)
    await publisher.append("start-step", b'{"type":"start-step"}', attempt=2, version=6)
    await publisher.append("reset-step", b'{"type":"reset-step"}', attempt=2, version=7)
    await publisher.append("text-start", b'{"type":"text-start","id":"2"}', attempt=2)
    await publisher.append("text-delta", b'{"type":"text-delta","id":"2","delta":"Hello"}', attempt=2)
    await publisher.append("text-end", b'{"type":"text-end","id":"2"}', attempt=2)
    await publisher.append("finish-step", b'{"type":"finish-step"}', attempt=2)
    await publisher.finish(attempt=2)
    return publisher


def ids(stream: SseStream) -> list[str | None]:
    assert stream.done
    return [event.id for event in stream.events[:-1]]


@pytest.mark.requirement("TS-3")
@pytest.mark.parametrize("protocol", [6, 7])
@pytest.mark.parametrize("cursor", ["0-0", "1-0", "1-1"])
async def test_who_comes_before_an_abandoned_step_gets_none_of_it(
    server: HubServer, retried: Publisher, protocol: int, cursor: str
) -> None:
    seen = await replay(server.url("stream", f"{RETRACTED}&protocol={protocol}&after={cursor}"))
    whole = ["1-0", "1-1", "2-4", "2-5", "2-6", "2-7", "2-8"]
    assert ids(seen) == [entry_id for entry_id in whole if entry_id > cursor]
    assert seen.text == "Hello"


@pytest.mark.requirement("TS-3")
async def test_who_has_seen_some_of_an_abandoned_step_gets_what_closes_it_in_his_protocol(
    server: HubServer, retried: Publisher
) -> None:
    six = await replay(server.url("stream", f"{RETRACTED}&protocol=6&after=1-2"))
    assert ids(six)[:4] == ["1-3", "2-0", "2-1", "2-2"]
    assert six.types[:4] == ["text-delta", "text-end", "finish-step", "start-step"]
    seven = await replay(server.url("stream", f"{RETRACTED}&protocol=7&after=1-2"))
    assert ids(seven)[:2] == ["1-3", "2-3"]
    assert seven.types[1] == "reset-step"
    assert ids(six)[4:] == ids(seven)[2:] == ["2-4", "2-5", "2-6", "2-7", "2-8"]


@pytest.mark.requirement("TS-3")
async def test_live_clients_of_both_protocols_get_their_own_entries_only(server: HubServer, redis: Redis) -> None:
    publisher = Publisher(redis, "stream")
    await publisher.start()
    async with (
        follow(server.url("stream", "protocol=6")) as six,
        follow(server.url("stream", "protocol=7")) as seven,
    ):
        await six.read_until("start")
        await seven.read_until("start")
        await publisher.append("text-end", b'{"type":"text-end","id":"1"}', version=6)
        await publisher.append("reset-step", b'{"type":"reset-step"}', version=7)
        await publisher.finish()
        await six.read_to_end()
        await seven.read_to_end()
    assert six.types == ["start", "text-end", "finish", "[DONE]"]
    assert seven.types == ["start", "reset-step", "finish", "[DONE]"]


@pytest.mark.requirement("TS-3")
async def test_the_cursor_moves_on_over_entries_of_the_other_protocol(server: HubServer, redis: Redis) -> None:
    publisher = Publisher(redis, "stream")
    await publisher.start()
    for _ in range(700):
        await publisher.append("reset-step", b'{"type":"reset-step"}', version=7)
    await publisher.finish()
    assert (await replay(server.url("stream", "protocol=6"))).types == ["start", "finish", "[DONE]"]


@pytest.mark.requirement("TS-3")
@pytest.mark.parametrize(("protocol", "visible"), [(6, 12), (7, 10)])
async def test_a_start_index_counts_what_this_protocol_sees_whatever_is_retracted(
    server: HubServer, retried: Publisher, protocol: int, visible: int
) -> None:
    whole = await replay(server.url("stream", f"protocol={protocol}"))
    assert len(ids(whole)) == visible
    for index in range(visible):
        rest = await replay(server.url("stream", f"{RETRACTED}&protocol={protocol}&start_index={index}"))
        assert ids(rest) == ids(whole)[index:]


@pytest.mark.requirement("TS-3")
async def test_a_start_index_reaches_over_pages_and_into_what_is_yet_to_come(server: HubServer, redis: Redis) -> None:
    publisher = Publisher(redis, "stream")
    await publisher.start()
    for number in range(1100):
        await publisher.text(str(number))
    async with follow(server.url("stream", "start_index=1103")) as stream:
        assert stream.status == 200
        await publisher.text("not this")
        await publisher.text("not this either")
        await publisher.text("this")
        await publisher.finish()
        await stream.read_to_end()
    assert ids(stream) == ["1-1103", "1-1104"]
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(server.url("stream", "start_index=1105"))).status_code == 204


@pytest.mark.requirement("TS-3")
async def test_a_merged_replay_says_the_same_with_fewer_events(server: HubServer, redis: Redis) -> None:
    publisher = Publisher(redis, "stream")
    texts = [
        "Plain, ",
        'a \\"quote\\", ',
        "a backslash \\\\",
        "\\\\",
        '\\\\\\"',
        "\\u00e4 ",
        "\\ud83d",
        "\\ude00",
        "end",
    ]
    await publisher.start()
    for text in texts:
        await publisher.text(text)
    await publisher.append(
        "text-delta", b'{"type":"text-delta","id":"1","delta":"a","providerMetadata":{"x":{"y":"z"}}}'
    )
    await publisher.append("text-delta", b'{"type":"text-delta","id":"1","delta":"b","x":"y"}')
    await publisher.append("text-delta", b'{"type":"text-delta","id":"2","delta":"c"}')
    await publisher.append("reasoning-delta", b'{"type":"reasoning-delta","id":"2","delta":"d"}')
    await publisher.append("reasoning-delta", b'{"type":"reasoning-delta","id":"2","delta":"e"}')
    await publisher.finish()
    plain, merged = await replay(server.url("stream")), await replay(server.url("stream", "merge="))
    assert plain.text.encode("utf-16", "surrogatepass") == merged.text.encode("utf-16", "surrogatepass")
    assert ids(merged) == ["1-0", "1-9", "1-10", "1-11", "1-12", "1-14", "1-15"]
    assert [chunk["delta"] for chunk in merged.chunks if chunk["type"] == "reasoning-delta"] == ["de"]


@pytest.mark.requirement("CH-19", "GW-2")
async def test_who_follows_an_answer_alone_is_at_its_end_where_its_turn_goes_into_the_background(
    server: HubServer, redis: Redis
) -> None:
    """Live, in a replay, and who comes when it is there already; others follow on, on the same connection to Redis."""
    publisher = Publisher(redis, "stream")
    await publisher.start()
    async with follow(server.url("stream", "answer=yes")) as answer, follow(server.url("stream")) as whole:
        await answer.read_until("start")
        await whole.read_until("start")
        await publisher.append("data-background", b'{"type":"data-background","data":{},"transient":true}')
        await publisher.append("tool-output-available", b'{"type":"tool-output-available","toolCallId":"c","output":1}')
        await answer.read_to_end()
        for merged in ("", "&merge=yes"):
            again = await replay(server.url("stream", f"answer=yes{merged}"))
            assert again.types == ["start", "data-background", "finish", "[DONE]"]
        await publisher.finish()
        await whole.read_to_end()
    assert answer.types == ["start", "data-background", "finish", "[DONE]"]
    assert whole.types == ["start", "data-background", "tool-output-available", "finish", "[DONE]"]
