"""The OpenAPI 3.1 document, made from the route table and the models that validate.

Every answer that a route can give is in it: its successes, and its problems with their codes.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema
from sluiceway.errors import DomainError

from gateway.api.inputs import Params
from gateway.api.models.problem import ProblemBody
from gateway.api.problems import MEDIA_TYPE, PASSING, SENTENCE_TYPE, ProblemType
from gateway.callers.anonymous import cookie_name
from gateway.callers.caller import KEY_HEADER
from gateway.routing.examples import BODIES, PARAMETERS
from gateway.routing.glossary import WORDS
from gateway.routing.table import RouteSpec, Success
from gateway.settings import Settings

Json = dict[str, Any]
_REF = "#/components/schemas/{model}"
# What OpenAPI 3.2 calls an itemSchema; 3.1 has no word for a sequence of events, and tools take this for one.
_BYTES = {"type": "string", "format": "binary"}
_ONE_EVENT: Json = {
    "type": "object",
    "description": "One event of the sequence. Where it shows a turn, `data` is a chunk as JSON, or `[DONE]`.",
    "properties": {"id": {"type": "string"}, "data": {"type": "string"}},
    "required": ["data"],
}
_INTRODUCTION = (
    "Chat turns that outlive connections. A turn is accepted durably, answered by a worker, and followed through any "
    "gateway. Errors are `application/problem+json` with a stable `code`; on the routes of the AI SDK one sentence as "
    "text, with the code in `X-Error-Code`, unless JSON is asked for. Clients should ignore members they do not know."
)


def build_document(operations: Sequence[RouteSpec[Any, Any]], version: str, settings: Settings) -> Json:
    references, definitions = models_json_schema(_models(operations), ref_template=_REF)
    paths: Json = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, references)
    document: Json = {
        "openapi": "3.1.0",
        "info": {"title": "Sluiceway", "version": version, "description": _INTRODUCTION},
        "paths": paths,
        "components": {
            "schemas": definitions.get("$defs", {}),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "cookie": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": cookie_name(secure=settings.secure_cookies),
                    "description": "Of an anonymous person. It is set with the page, or with the first POST.",
                },
                "stream_token": {"type": "apiKey", "in": "query", "name": "token"},
                "api_key": {
                    "type": "apiKey",
                    "in": "header",
                    "name": KEY_HEADER,
                    "description": "Of a program, with scopes.",
                },
            },
        },
    }
    _tell_limits(document, settings)
    _tell_meanings(document["components"]["schemas"])
    return document


def _tell_meanings(schemas: Json) -> None:
    """Of members of which their model says nothing itself."""
    for model, schema in schemas.items():
        for name, member in schema.get("properties", {}).items():
            if "description" not in member and (meaning := meaning_of(model, name)):
                member["description"] = meaning


def meaning_of(owner: str, name: str) -> str | None:
    """`owner`: a model, or an operation whose parameter it is."""
    return WORDS.get(f"{owner}.{name}", WORDS.get(name))


def _tell_limits(document: Json, settings: Settings) -> None:
    """The bounds that this process was told, which no model knows."""
    described = [operation for methods in document["paths"].values() for operation in methods.values()]
    for parameter in (each for operation in described for each in operation["parameters"]):
        if parameter["name"] == "limit":
            parameter["schema"]["maximum"] = settings.max_page_size
    schemas = document["components"]["schemas"]
    schemas["NewMessage"]["properties"]["message"]["maxLength"] = settings.max_message_chars
    schemas["PageContext"]["properties"]["content"]["maxLength"] = settings.max_context_chars
    if settings.known_models:
        for name in ("NewMessage", "AiSdkRequest"):
            schemas[name]["properties"]["model"] = {"enum": [*settings.known_models, None], "title": "Model"}


def _models(operations: Sequence[RouteSpec[Any, Any]]) -> list[tuple[type[BaseModel], JsonSchemaMode]]:
    found: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {(ProblemBody, "serialization"): None}
    for operation in operations:
        if (body := operation.body_model) is not None:
            found[body, "validation"] = None
        for answer in operation.answers.values():
            if answer.model is not None:
                found[answer.model, "serialization"] = None
    return list(found)


def _operation(operation: RouteSpec[Any, Any], references: Any) -> Json:
    described: Json = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": [_explained(each, operation.name) for each in parameters(operation.params)],
        "responses": {
            **{str(status): _answer(answer, references) for status, answer in operation.answers.items()},
            **_problems(operation, references),
        },
        "security": _security(operation),
    }
    if operation.description:
        described["description"] = operation.description
    if (body := operation.body_model) is not None:
        described["requestBody"] = {
            # Where an empty body counts as `{}`, it may do.
            "required": operation.raw_body is not None or any(f.is_required() for f in body.model_fields.values()),
            "content": {
                "application/json": {
                    "schema": references[body, "validation"],
                    "example": BODIES.get(operation.name, {}),
                }
            },
        }
    elif operation.raw_body is not None:
        # No body is a file, too: an empty one.
        described["requestBody"] = {"required": False, "content": {"application/octet-stream": {"schema": _BYTES}}}
    return described


def _security(operation: RouteSpec[Any, Any]) -> list[Json]:
    """Any of these. `{}`: an anonymous person, where nobody has to sign in, or somebody who signs what he sends."""
    people: list[Json] = [{}, {"bearer": []}, {"cookie": []}] if operation.people else []
    unsigned: list[Json] = [{}] if operation.unsigned else []
    token: list[Json] = [{"stream_token": []}] if operation.stream_token else []
    keys: list[Json] = [{"api_key": []}] if operation.scopes else []
    if operation.is_for_operators:
        keys.append({"bearer": []})
    return [*people, *unsigned, *token, *keys]


def _explained(parameter: Json, operation: str) -> Json:
    name = parameter["name"]
    example = PARAMETERS.get(f"{operation}.{name}", PARAMETERS.get(name))
    meaning = parameter.get("description") or meaning_of(operation, name)
    return {**parameter, **({"description": meaning} if meaning else {}), **({"example": example} if example else {})}


def parameters(model: type[Params]) -> list[Json]:
    schema = model.model_json_schema()
    required = schema.get("required", [])
    return [
        _parameter(schema["properties"][field], place, name, place == "path" or field in required)
        for field, place, name in model.places()
    ]


def _parameter(schema: Json, place: str, name: str, required: bool) -> Json:
    # A parameter is there or it is not; null cannot be sent.
    choices = [choice for choice in schema.get("anyOf", [schema]) if choice != {"type": "null"}]
    plain = {key: value for key, value in choices[0].items() if key not in ("title", "default", "description")}
    described: Json = {"name": name, "in": place, "required": required, "schema": plain}
    if "description" in schema:
        described["description"] = schema["description"]
    return described


def _answer(answer: Success, references: Any) -> Json:
    described: Json = {"description": answer.description}
    if answer.headers:
        described["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in answer.headers.items()
        }
    if answer.media_type is not None:
        described["content"] = {answer.media_type: {"schema": _answer_schema(answer, references)}}
    return described


def _answer_schema(answer: Success, references: Any) -> Json:
    if answer.model is not None and answer.media_type == "text/event-stream":
        data = {"type": "string", "contentMediaType": "application/json"}
        data["contentSchema"] = references[answer.model, "serialization"]
        return {**_ONE_EVENT, "properties": {**_ONE_EVENT["properties"], "data": data}}
    if answer.model is not None:
        schema: Json = references[answer.model, "serialization"]
        return schema
    return _ONE_EVENT if answer.media_type == "text/event-stream" else {"type": "string"}


def _problems(operation: RouteSpec[Any, Any], references: Any) -> Json:
    ordered = sorted(operation.all_problems, key=lambda problem: (problem.status, problem.code))
    return {
        str(status): _problem([*group], references, plain=operation.plain_problems)
        for status, group in groupby(ordered, lambda each: each.status)
    }


def _problem(problems: Sequence[ProblemType], references: Any, *, plain: bool) -> Json:
    schema = {
        "allOf": [
            references[ProblemBody, "serialization"],
            {"properties": {"code": {"enum": [problem.code for problem in problems]}}},
        ]
    }
    described: Json = {
        "description": "\n".join(f"- `{problem.code}`: {explanation(problem)}" for problem in problems),
        "content": {MEDIA_TYPE: {"schema": schema}},
    }
    if plain:
        described["content"][SENTENCE_TYPE.partition(";")[0]] = {"schema": {"type": "string"}}
    if any(issubclass(problem, PASSING) for problem in problems):
        described["headers"] = {"Retry-After": {"description": "seconds", "schema": {"type": "string"}}}
    return described


def explanation(problem: ProblemType) -> str:
    return problem.default_detail if issubclass(problem, DomainError) else problem.detail
