"""The documentation page: the OpenAPI document as plain HTML, with no script and nothing from elsewhere."""

import base64
import hashlib
import html
import json
import re
from typing import Any

Json = dict[str, Any]

_STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent) }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 6rem }
code, pre { font: .875em/1.5 ui-monospace, monospace }
pre { overflow-x: auto; padding: .75rem; border: 1px solid var(--line) }
nav ul { columns: 20rem; padding-left: 1.2rem } h2 { margin-top: 3rem }
article { border-top: 1px solid var(--line); padding-top: .5rem; margin-top: 2rem }
h3 { font: 600 1rem/1.5 ui-monospace, monospace; overflow-wrap: anywhere } h3 b { margin-right: .5rem }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0;
border-bottom: 1px solid var(--line) } td p, td ul { margin: 0 } summary { cursor: pointer }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; frame-ancestors 'none'"


def render(document: Json) -> str:
    operations = [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    tags = list(dict.fromkeys(operation["tags"][0] for _, _, operation in operations))
    sections = [_section(tag, [each for each in operations if each[2]["tags"][0] == tag]) for tag in tags]
    info = document["info"]
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{_text(info['title'])} API</title><style>{_STYLE}</style></head><body>"
        f"<h1>{_text(info['title'])} API {_text(info['version'])}</h1><p>{_prose(info['description'])}</p>"
        "<p>The same for programs: <a href='/openapi.json'>/openapi.json</a></p>"
        f"<nav aria-label=Routes><ul>{''.join(_link(*each) for each in operations)}</ul></nav>"
        f"<main>{''.join(sections)}<h2>Models</h2>{_models(document['components']['schemas'])}</main></body></html>"
    )


def _link(method: str, path: str, operation: Json) -> str:
    return f"<li><a href='#{operation['operationId']}'><code>{method} {_text(path)}</code></a></li>"


def _section(tag: str, operations: list[tuple[str, str, Json]]) -> str:
    return f"<h2>{_text(tag)}</h2>{''.join(_article(*each) for each in operations)}"


def _article(method: str, path: str, operation: Json) -> str:
    parts = [
        f"<article id='{operation['operationId']}'><h3><b>{method}</b>{_text(path)}</h3>",
        f"<p><strong>{_text(operation['summary'])}.</strong> {_prose(operation.get('description', ''))}</p>",
        _parameters(operation["parameters"]),
    ]
    if "requestBody" in operation:
        [(media_type, content)] = operation["requestBody"]["content"].items()
        told = _schema(content["schema"]) if media_type == "application/json" else "the file itself"
        parts.append(f"<p>Body: {told}</p>")
    return "".join([*parts, _responses(operation["responses"]), "</article>"])


def _parameters(parameters: list[Json]) -> str:
    if not parameters:
        return ""
    rows = "".join(
        f"<tr><td><code>{_text(each['name'])}</code></td>"
        f"<td>{each['in']}{', required' if each['required'] else ''}</td>"
        f"<td>{_schema(each['schema'])} {_prose(each.get('description', ''))}</td></tr>"
        for each in parameters
    )
    return f"<table><thead><tr><th>Parameter<th>In<th>What</tr></thead><tbody>{rows}</tbody></table>"


def _responses(responses: Json) -> str:
    rows = "".join(
        f"<tr><td>{status}</td><td>{_response(response)}</td></tr>" for status, response in responses.items()
    )
    return f"<table><thead><tr><th>Status<th>Answer</tr></thead><tbody>{rows}</tbody></table>"


def _response(response: Json) -> str:
    lines = response["description"].split("\n")
    listed = "".join(f"<li>{_prose(line[2:])}</li>" for line in lines if line.startswith("- "))
    said = f"<ul>{listed}</ul>" if listed else _prose(response["description"])
    content = "".join(
        f" <code>{_text(media)}</code> {_schema(body['schema'])}"
        for media, body in response.get("content", {}).items()
        if "problem" not in media
    )
    return said + content


def _schema(schema: Json) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f"<a href='#model-{_text(name)}'>{_text(name)}</a>"
    return f"<code>{_text(json.dumps(schema, ensure_ascii=False))}</code>"


def _models(schemas: Json) -> str:
    return "".join(
        f"<article id='model-{_text(name)}'><h3>{_text(name)}</h3><p>{_prose(schema.get('description', ''))}</p>"
        "<details><summary>Schema</summary>"
        f"<pre>{_text(json.dumps(schema, indent=2, ensure_ascii=False))}</pre></details></article>"
        for name, schema in schemas.items()
    )


def _prose(text: str) -> str:
    """Text with `code` in backquotes."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", _text(text))


def _text(text: str) -> str:
    return html.escape(text)
