"""What `make run` says at once of a model server that was named wrongly."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from sluiceway_local.model_address import problem_at

from harness.processes.ports import free_port


@contextmanager
def server_that_answers(status: int) -> Iterator[str]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == "/v1/models" and self.headers["Authorization"] == "Bearer the-key"
            self.send_response(status if known else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "told"),
    [(200, None), (405, None), (401, "refuses the key (401)"), (404, "usually ends in /v1"), (502, "an error (502)")],
)
def test_what_a_server_answers_is_told_with_its_address_and_without_the_key(status: int, told: str | None) -> None:
    with server_that_answers(status) as url:
        problem = problem_at(f"{url}/v1/", "the-key")
    if told is None:
        assert problem is None
        return
    assert problem is not None
    assert told in problem
    assert f"OPENAI_BASE_URL={url}/v1/" in problem
    assert "the-key" not in problem


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://127.0.0.1:FREE/v1", "cannot be reached: connection refused."),
        ("http://nowhere.invalid/v1", "cannot be reached: "),
        ("http://[half/v1", "cannot be asked: "),
        ("127.0.0.1:8080/v1", "it begins with http://"),
        ("file:///etc/passwd", "it begins with http://"),
    ],
)
def test_an_address_at_which_nobody_can_be_asked_is_told(url: str, told: str) -> None:
    problem = problem_at(url.replace("FREE", str(free_port())), None)
    assert problem is not None
    assert told in problem
