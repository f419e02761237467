"""Whether a model server answers at the address that somebody named, told at once and in one sentence.

Guarantees: it ends within seconds, never fails, and keeps nothing from starting: the server may come later, and
messages wait for it. The key is not told.
"""

from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from sluiceway_local.data_dir import why

TIMEOUT_SECONDS = 3.0
_ALL_THE_SAME = "Everything starts all the same, and answers begin when that is right."


def problem_at(base_url: str, key: str | None) -> str | None:
    """A sentence with the address and what is wrong; None: somebody answers there."""
    wrong = _wrong(f"{base_url.rstrip('/')}/models", key)
    return f"OPENAI_BASE_URL={base_url} {wrong} {_ALL_THE_SAME}" if wrong is not None else None


def _wrong(url: str, key: str | None) -> str | None:
    if not url.startswith(("http://", "https://")):
        return "is no address: it begins with http:// or https://."
    try:
        request = Request(url, headers={"Authorization": f"Bearer {key}"} if key else {})  # noqa: S310 - see above
        with urlopen(request, timeout=TIMEOUT_SECONDS):  # noqa: S310
            return None
    except HTTPError as error:
        return _of_status(error.code)
    except URLError as error:
        return f"cannot be reached: {_reason(error.reason)}."
    except TimeoutError:
        return f"does not answer within {TIMEOUT_SECONDS:.0f} s."
    except (OSError, ValueError) as error:
        return f"cannot be asked: {_reason(error)}."


def _of_status(status: int) -> str | None:
    """Not every server lists its models: what is no sign of a wrong address or key is none of a fault."""
    if status in (401, 403):
        return f"refuses the key ({status}): OPENAI_API_KEY has to be one for this server."
    if status == 404:
        return "answers, and has no /models (404): an address usually ends in /v1."
    return f"answers with an error ({status})." if status >= 500 else None


def _reason(error: object) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT_SECONDS:.0f} s"
    return why(error) if isinstance(error, OSError) else str(error)
