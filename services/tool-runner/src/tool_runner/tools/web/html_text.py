"""HTML as a text that reads well: headings, paragraphs, lists, tables by line, links with their address.

For html_child.py alone. It imports nothing that takes long to load.

Guarantees: any text becomes some text, however deep or broken its HTML is. Scripts, styles, navigation and what is
hidden are left out.
Not guaranteed: how long that takes, and how much memory. What is known to take the square of the page's size (depth,
unclosed formatting, endless tags) is taken out before the parser sees it: see html_flat.py.
"""

import re
from urllib.parse import urljoin

from selectolax.lexbor import LexborHTMLParser, LexborNode

from tool_runner.tools.web.html_flat import flat

_LEFT_OUT = frozenset({"script", "style", "noscript", "template", "svg", "iframe", "object", "embed"})
_FURNITURE = frozenset({"nav", "footer", "aside"})
_BLOCKS = frozenset(
    {"address", "article", "aside", "blockquote", "body", "br", "dd", "details", "div", "dl", "dt", "fieldset"}
    | {"figcaption", "figure", "footer", "form", "header", "hr", "li", "main", "nav", "ol", "p", "pre", "section"}
    | {"summary", "table", "tr", "ul"}
)
_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
_SPACES = re.compile(r"[ \t\r\f\v\u00a0]+")
_MAX_TITLE_CHARS = 1000
# Of whitespace, which is taken out at last, there is more than of the text.
_ROOM = 8
_EMPTY_LINES = re.compile(r"\n\s*\n+")


def warm_up() -> None:
    """Load what the first page would load."""
    read_html("<p>a", "http://localhost/", 1)


def read_html(html: str, base_url: str, max_chars: int) -> tuple[str | None, str]:
    """Its title, if it has one, and the first `max_chars` characters of its text and one more, if there is."""
    tree = LexborHTMLParser(flat(html))
    title = tree.css_first("title")
    found = " ".join(title.text().split()) if title is not None else ""
    body = tree.css_first("main") or tree.body
    text = _tidy("".join(_pieces(body, base_url, _ROOM * (max_chars + 1)))) if body is not None else ""
    return found[:_MAX_TITLE_CHARS] or None, text[: max_chars + 1]


def _pieces(top: LexborNode, base_url: str, room: int) -> list[str]:
    """In the order of the text, as long as there is room. A stack instead of recursion: pages may be nested deeper than
    Python can."""
    pieces: list[str] = []
    stack: list[LexborNode | str] = [top]
    while stack and room > 0:
        node = stack.pop()
        if isinstance(node, str):
            pieces.append(node)
        elif node.tag == "-text":
            pieces.append(node.text_content or "")
        elif not _is_left_out(node):
            before, after = _around(node, base_url)
            pieces.append(before)
            stack.append(after)
            stack.extend(reversed(list(node.iter(include_text=True))))
        else:
            continue
        room -= len(pieces[-1])
    return pieces


def _is_left_out(node: LexborNode) -> bool:
    tag, attributes = node.tag, node.attributes
    if tag in _LEFT_OUT or tag in _FURNITURE or "hidden" in attributes:
        return True
    return attributes.get("aria-hidden") == "true" or (tag == "form" and attributes.get("role") == "search")


def _around(node: LexborNode, base_url: str) -> tuple[str, str]:
    """What an element puts before and after what is in it."""
    tag = node.tag or ""
    if tag in _HEADINGS:
        return f"\n\n{_HEADINGS[tag]}", "\n\n"
    if tag == "li":
        return "\n- ", ""
    if tag in ("td", "th"):
        return "", " | "
    if tag == "a":
        return _link(node, base_url)
    return ("\n", "\n") if tag in _BLOCKS else ("", "")


def _link(node: LexborNode, base_url: str) -> tuple[str, str]:
    target = (node.attributes.get("href") or "").strip()
    try:
        address = urljoin(base_url, target)
    except ValueError:
        return "", ""
    if not target or target.startswith("#") or not address.startswith(("http://", "https://")):
        return "", ""
    return "[", f"]({address})"


def _tidy(text: str) -> str:
    lines = (_SPACES.sub(" ", line).strip() for line in text.split("\n"))
    return _EMPTY_LINES.sub("\n\n", "\n".join(lines)).strip()
