"""The documentation page: the OpenAPI document as HTML, with a form at each route that sends what is filled in.

Guarantees: nothing comes from elsewhere, and the page asks nothing by itself. What is sent goes to this gateway alone,
and a token that is said on the page is kept nowhere.
"""

import base64
import hashlib
import html
import json
import re
from pathlib import Path
from typing import Any

Json = dict[str, Any]

_STYLE = Path(__file__).with_name("docs_page.css").read_text()
_SCRIPT = Path(__file__).with_name("try_it.js").read_text()
# That a page may not set.
_NOT_SENT = frozenset({"cookie", "accept-encoding"})


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


POLICY = (
    f"default-src 'none'; style-src {_hash(_STYLE)}; script-src {_hash(_SCRIPT)}; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_WHO = (
    "<form id=who><label>Sign in by <select name=kind><option value=token>a token<option value=key>an API key</select>"
    "</label><label>Its value, which is kept nowhere <input name=secret type=password autocomplete=off></label></form>"
)


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
        f"<header><h1>{_text(info['title'])} API {_text(info['version'])}</h1><p>{_prose(info['description'])}</p>"
        "<p>The same for programs: <a href='/openapi.json'>/openapi.json</a></p>"
        "<p>Each route can be tried here. The request is a real one, with the cookies of this browser.</p>"
        f"{_WHO}</header>"
        f"<nav aria-label=Routes><ul>{''.join(_link(*each) for each in operations)}</ul></nav>"
        f"<main>{''.join(sections)}<h2>Models</h2>{_models(document['components']['schemas'])}</main>"
        f"<script>{_SCRIPT}</script></body></html>"
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
    media_type, content = _body(operation)
    if content:
        told = _schema(content["schema"]) if media_type == "application/json" else "the file itself"
        parts.append(f"<p>Body: {told}</p>")
    answers = {status: one for status, one in operation["responses"].items() if status < "400"}
    problems = {status: one for status, one in operation["responses"].items() if status >= "400"}
    parts += [_responses(answers), _form(method, path, operation)]
    if problems:
        parts.append(f"<details><summary>What can go wrong</summary>{_responses(problems)}</details>")
    return "".join([*parts, "</article>"])


def _body(operation: Json) -> tuple[str, Json]:
    [body] = operation.get("requestBody", {"content": {"": {}}})["content"].items()
    return body  # type: ignore[no-any-return]


def _form(method: str, path: str, operation: Json) -> str:
    fields = [_field(each) for each in operation["parameters"] if each["name"].lower() not in _NOT_SENT]
    media_type, content = _body(operation)
    if media_type == "application/json":
        example = _text(json.dumps(content["example"], indent=2, ensure_ascii=False))
        fields.append(f"<label>Body <textarea data-in=body spellcheck=false>{example}</textarea></label>")
    elif content:
        fields.append("<label>File <input type=file data-in=file></label>")
    if method == "DELETE":
        fields.append(
            "<label class=sure><input type=checkbox required> This removes or ends something: send it</label>"
        )
    return (
        f"<details><summary>Try it</summary><form class=try data-method={method} data-path='{_text(path)}'>"
        f"{''.join(fields)}<div class=buttons><button>Send</button><button type=button class=stop hidden>Stop</button>"
        "</div><p class=status role=status></p><pre class=answer tabindex=0 hidden></pre></form></details>"
    )


def _field(parameter: Json) -> str:
    name, place, schema = _text(parameter["name"]), parameter["in"], parameter["schema"]
    required = " required" if parameter["required"] else ""
    marks = f"data-in={place} data-name='{name}'{required}"
    if "enum" in schema:
        choices = "".join(f"<option>{_text(str(one))}" for one in ("", *schema["enum"]))
        return f"<label>{name} <select {marks}>{choices}</select></label>"
    return f"<label>{name} <input {marks} value='{_text(parameter.get('example', ''))}' autocomplete=off></label>"


def _parameters(parameters: list[Json]) -> str:
    if not parameters:
        return ""
    rows = "".join(
        f"<tr><td><code>{_text(each['name'])}</code></td>"
        f"<td>{each['in']}{', required' if each['required'] else ''}</td>"
        f"<td>{_prose(each.get('description', ''))} {_schema(each['schema'])}</td></tr>"
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
        f"{_members(schema)}</article>"
        for name, schema in schemas.items()
    )


def _members(schema: Json) -> str:
    if not schema.get("properties"):
        return ""
    required = schema.get("required", [])
    rows = "".join(
        f"<tr><td><code>{_text(name)}</code></td><td>{_type(member)}{', required' if name in required else ''}</td>"
        f"<td>{_prose(member.get('description', ''))}</td></tr>"
        for name, member in schema["properties"].items()
    )
    return f"<table><thead><tr><th>Member<th>Type<th>What</tr></thead><tbody>{rows}</tbody></table>"


def _type(schema: Json) -> str:
    """In words: the whole of it stands in the schema."""
    if "$ref" in schema:
        return _schema(schema)
    for choices in (schema.get("anyOf"), schema.get("oneOf")):
        if choices:
            return " or ".join(dict.fromkeys(_type(one) for one in choices))
    if "enum" in schema or "const" in schema:
        return " or ".join(
            f"<code>{_text(json.dumps(one))}</code>" for one in schema.get("enum", [schema.get("const")])
        )
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return _text(str(schema.get("format") or schema.get("type", "any JSON")))


def _prose(text: str) -> str:
    """Text with `code` in backquotes."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", _text(text))


def _text(text: str) -> str:
    return html.escape(text)
