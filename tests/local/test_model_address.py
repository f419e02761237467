"""What `make run` says at once of a model server that was named wrongly."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from sluiceway_llm.settings import ModelSettings
from sluiceway_local import model_address, settings
from sluiceway_local.model_address import problem_at

from harness.processes.ports import free_port
from harness.proxies.tls import Authority

LIST = json.dumps({"data": [{"id": "llama3.2:latest"}, {"id": "models/gemini"}, {"id": "qwen3"}]})
PLAIN = "Client sent an HTTP request to an HTTPS server."


@contextmanager
def server_that_answers(status: int, body: str = "", tls: ssl.SSLContext | None = None) -> Iterator[str]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == "/v1/models" and self.headers["Authorization"] == "Bearer the-key"
            self.send_response(status if known else 404)
            if status == 302:
                self.send_header("Location", body)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    try:
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (200, LIST, None),
        (200, "not a list", None),
        (200, "<!doctype html>", "a page for people: an address usually ends in /v1."),
        (405, "", None),
        (401, "", "refuses the key (401)"),
        (404, "", "usually ends in /v1"),
        (400, PLAIN, "the server wants https://."),
        (400, "no", None),
        (502, "", "an error (502)"),
    ],
)
def test_what_a_server_answers_is_told_with_its_address_and_without_the_key(
    status: int, body: str, told: str | None
) -> None:
    with server_that_answers(status, body) as url:
        problem = problem_at(f"{url}/v1/", "the-key", "qwen3")
    if told is None:
        assert problem is None
        return
    assert problem is not None
    assert told in problem
    assert f"OPENAI_BASE_URL={url}/v1/" in problem
    assert "the-key" not in problem


def test_a_model_that_the_server_does_not_list_is_told_with_those_that_it_has() -> None:
    with server_that_answers(200, LIST) as url:
        assert [problem_at(f"{url}/v1", "the-key", name) for name in ("llama3.2", "gemini", "qwen3", None)] == [
            None
        ] * 4
        problem = problem_at(f"{url}/v1", "the-key", "qwen4")
    assert problem is not None
    assert "does not list the model qwen4. MODEL is one of llama3.2:latest, models/gemini, qwen3. " in problem


def test_headers_of_every_request_are_sent_and_those_that_are_no_json_are_left_to_the_services() -> None:
    with server_that_answers(200, LIST) as url:
        assert problem_at(f"{url}/v1", None, headers='{"Authorization": "Bearer the-key"}') is None
        assert problem_at(f"{url}/v1", "the-key", headers="{") is None


def test_what_is_asked_where_nothing_is_said_is_what_the_services_ask() -> None:
    fields = ModelSettings.model_fields
    assert (fields["model"].default, fields["openai_base_url"].default) == (settings.DEFAULT_MODEL, settings.OPENAI)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://127.0.0.1:FREE/v1", "cannot be reached: connection refused."),
        ("http://nowhere.invalid/v1", "cannot be reached: "),
        ("http://[half/v1", "is no address: "),
        ("http://127.0.0.1:port/v1", "is no address: "),
        ("127.0.0.1:8080/v1", "it begins with http://"),
        ("file:///etc/passwd", "it begins with http://"),
    ],
)
def test_an_address_at_which_nobody_can_be_asked_is_told(url: str, told: str) -> None:
    problem = problem_at(url.replace("FREE", str(free_port())), None)
    assert problem is not None
    assert told in problem


def test_a_scheme_that_is_not_the_servers_and_a_certificate_that_nobody_vouches_for_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*authority.certified("model"))
    with server_that_answers(200, LIST, tls) as secure, server_that_answers(200, LIST) as plain:
        assert "SSL_CERT_FILE=" in (problem_at(f"{secure}/v1", "the-key") or "")
        assert "It may want https://." in (problem_at(f"{secure.replace('https', 'http')}/v1", None) or "")
        assert "it may be http://." in (problem_at(f"{plain.replace('http', 'https')}/v1", None) or "")
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
        assert problem_at(f"{secure}/v1", "the-key") is None


def test_an_address_that_sends_elsewhere_is_told_where() -> None:
    with server_that_answers(200, LIST) as there, server_that_answers(302, f"{there}/v1/models") as url:
        problem = problem_at(f"{url}/v1", "the-key")
    assert problem is not None
    assert f"is the one to name: {there}/v1." in problem


@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request", "502 Bad Gateway"])
def test_a_server_that_falls_silent_keeps_nothing_from_starting(status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_address, "TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(problem_at, f"http://127.0.0.1:{port}/v1", None)
            connection, _ = server.accept()
            with connection:
                connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 100\r\n\r\n".encode())
                problem = asked.result()
    assert (problem is None) == status.startswith("400")


def test_a_proxy_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://ada:s3cret@127.0.0.1:{free_port()}")
    monkeypatch.setenv("no_proxy", "")
    problem = problem_at("http://models.example/v1", None)
    assert problem is not None
    assert "through the proxy 127.0.0.1:" in problem
    assert "(http_proxy): connection refused." in problem
    assert "s3cret" not in problem
