"""What REDIS_URL may say."""

import pytest
from pydantic import ValidationError
from sluiceway.process.settings import CommonSettings
from sluiceway.redis.url import Node, RedisUrl

SENTINELS = (
    "redis+sentinel://me:p%40ss@s1,s2:26380,[::1]:26381/chat/2?sentinel_password=q&sentinel_username=w&timeout=3"
)


@pytest.mark.requirement("OP-8")
def test_a_url_of_sentinels_says_who_they_are_what_they_watch_and_how_to_log_in_at_both() -> None:
    url = RedisUrl.parse(SENTINELS)
    assert (url.topology, url.service) == ("sentinel", "chat")
    assert url.nodes == (Node("s1", 26379), Node("s2", 26380), Node("::1", 26381))
    assert url.url_of(Node("10.0.0.1", 6379)) == "redis://me:p%40ss@10.0.0.1:6379/2?timeout=3"
    assert url.url_of(Node("::1", 6379)) == "redis://me:p%40ss@[::1]:6379/2?timeout=3"
    assert url.sentinel_url(url.nodes[2]) == "redis://w:q@[::1]:26381"


@pytest.mark.requirement("OP-8")
def test_the_options_of_tls_count_for_the_sentinels_too() -> None:
    url = RedisUrl.parse("rediss+sentinel://s1:1,s2:2/chat?ssl_ca_certs=/run/ca.pem&timeout=3")
    assert url.sentinel_url(url.nodes[0]) == "rediss://s1:1?ssl_ca_certs=%2Frun%2Fca.pem"
    assert url.url_of(url.nodes[1]) == "rediss://s2:2/0?ssl_ca_certs=%2Frun%2Fca.pem&timeout=3"


@pytest.mark.parametrize("url", ["redis://h:1/2", "rediss://u:p@h", "unix:///run/redis.sock?db=1"])
def test_a_url_of_one_server_is_left_as_it_is(url: str) -> None:
    parsed = RedisUrl.parse(url)
    assert (parsed.topology, parsed.url_of(Node("another", 1))) == ("single", url)


@pytest.mark.requirement("OP-8", "OP-12")
@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis+sentinel://:secret@s1:26379", "names no service"),
        ("redis+sentinel://:secret@s1,,s2/chat", "names an empty host"),
        ("redis+sentinel://:secret@s1:port/chat", "host or a port"),
        ("redis+sentinel://:secret/word@s1/chat", "no number"),
        ("redis+sentinel://:secret@s1/chat/one", "a database that is no number"),
        ("sentinel://:secret@s1/chat", "is no redis://"),
    ],
)
def test_a_url_that_is_none_is_told_without_its_password(url: str, told: str) -> None:
    with pytest.raises(ValidationError, match=told) as refused:
        CommonSettings(redis_url=url)
    assert "secret" not in refused.value.errors()[0]["msg"]
