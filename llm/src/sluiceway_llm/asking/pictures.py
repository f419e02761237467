"""Pictures in messages (`image_url` parts): which models take them, and what stands in their place where one does not.

Guarantees: a picture that is not sent leaves a sentence, so the model can say that it does not see it. A model that is
not known is sent pictures, and what its server refuses is learned (lessons.py): that it takes none, or that it cannot
read these.
"""

import hashlib
import re
from collections.abc import Collection, Iterator
from typing import Any

Message = dict[str, Any]

_NOT_TAKEN = "[This model is not shown pictures. Say so where the answer would need one.]"
_NOT_READ = "[This picture could not be read by the model's server.]"
# Texts alone, by the beginning of a name without its provider; none of those that have a sign of sight in it.
_BLIND = re.compile(
    r"gpt-3|gpt-35|gpt-4(?!o|\.|-turbo|-vision|-1106-vision)(-|$)|o1-mini|o3-mini|gpt-oss|deepseek|codestral|mixtral|"
    r"mistral-7b|open-mistral|llama-?3(?!\.2)|llama-?2|smollm2|qwen2\.5(?!-?vl)|qwen3(?!-?vl)|phi-?[34](?!.*vision|.*multi)|"
    r"command-r|kimi-k2|gemma-?2|gemma-3-(1b|270m)"
)
_SIGHT = re.compile(r"vision|[-_.]vl(\d|\b)|multimodal|omni")
# What servers say of models that take none, and of pictures that they cannot read.
_REFUSED = re.compile(
    r"image.{0,40}(not|n't|un).{0,12}(support|allow|accept|enabled|capab)|support image|image input|image_url|mmproj|"
    r"(not|n't) .{0,40}(vision|multi-?modal)|content.{0,30}must be a? ?str|only (accepts?|supports?) text|text.only",
    re.I | re.S,
)
_UNFIT = re.compile(
    r"(invalid|unsupported|corrupt\w{0,9}|broken|malformed|empty) (base64 )?image|too many images|"
    r"image.{0,40}(invalid|corrupt|exceed|too (large|big|small|many)|could not|couldn't|cannot be|failed|format|size)|"
    r"(process|decode|download|parse|load)\w{0,9} (the |your |an? |input )?image",
    re.I | re.S,
)


def takes_pictures(model: str) -> bool:
    """By what is known of it, whoever serves it."""
    name = model.lower().rsplit("/", 1)[-1].removeprefix("ft:")
    return bool(_SIGHT.search(name)) or not _BLIND.match(name)


def refuses_pictures(words: str) -> bool:
    return bool(_REFUSED.search(words))


def finds_unfit(words: str) -> bool:
    """Not all pictures: these."""
    return bool(_UNFIT.search(words))


def pictures_in(messages: Collection[Message]) -> Iterator[str]:
    """By a digest of each."""
    for message in messages:
        content = message.get("content")
        for part in content if isinstance(content, list) else ():
            if (url := _url(part)) is not None:
                yield digest_of(url)


def digest_of(url: str) -> str:
    return hashlib.sha256(url.encode("utf-8", "replace")).hexdigest()[:16]


def with_pictures(messages: list[Message], *, taken: bool, unfit: Collection[str]) -> list[Message]:
    """The messages as a model gets them that takes pictures, or does not. Content that is text alone is one text."""
    return [_fitted(message, taken, unfit) for message in messages]


def _fitted(message: Message, taken: bool, unfit: Collection[str]) -> Message:
    content = message.get("content")
    if not isinstance(content, list):
        return message
    parts = [_part(part, taken, unfit) for part in content]
    if all(isinstance(part.get("text"), str) for part in parts):
        return {**message, "content": "\n\n".join(part["text"] for part in parts)}
    return {**message, "content": parts}


def _part(part: Message, taken: bool, unfit: Collection[str]) -> Message:
    url = _url(part)
    if url is None:
        return part
    if not taken:
        return {"type": "text", "text": _NOT_TAKEN}
    return {"type": "text", "text": _NOT_READ} if unfit and digest_of(url) in unfit else part


def _url(part: Any) -> str | None:
    held = part.get("image_url") if isinstance(part, dict) else None
    url = held.get("url") if isinstance(held, dict) else None
    return url if isinstance(url, str) else None
