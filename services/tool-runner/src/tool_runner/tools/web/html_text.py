"""HTML as a text that reads well: headings, paragraphs, lists, tables by line, links with their address.

Run as a program by html_reader.py: HTML on stdin, its address as the argument, {"title", "text"} as JSON on stdout.

Guarantees: any text becomes some text, however deep or broken its HTML is. Scripts, styles, navigation and what is
hidden are left out.
Not guaranteed: how long that takes. Parsing takes the square of the depth, as HTML's rules demand.
"""

import json
import re
import sys
from urllib.parse import urljoin

from selectolax.lexbor import LexborHTMLParser, LexborNode

_LEFT_OUT = "script, style, noscript, template, svg, iframe, object, embed, [hidden], [aria-hidden=true]"
_FURNITURE = "nav, footer, aside, form[role=search]"
_BLOCKS = frozenset(
    {"address", "article", "aside", "blockquote", "body", "br", "dd", "details", "div", "dl", "dt", "fieldset"}
    | {"figcaption", "figure", "footer", "form", "header", "hr", "li", "main", "nav", "ol", "p", "pre", "section"}
    | {"summary", "table", "tr", "ul"}
)
_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
_SPACES = re.compile(r"[ \t\r\f\v\u00a0]+")
_EMPTY_LINES = re.compile(r"\n\s*\n+")


def read_html(html: str, base_url: str) -> tuple[str | None, str]:
    """Its title, if it has one, and its text."""
    tree = LexborHTMLParser(html)
    title = tree.css_first("title")
    found = " ".join(title.text().split()) if title is not None else ""
    for selector in (_LEFT_OUT, _FURNITURE):
        for node in tree.css(selector):
            node.decompose()
    body = tree.css_first("main") or tree.body
    text = _tidy("".join(_pieces(body, base_url))) if body is not None else ""
    return found or None, text


def _pieces(top: LexborNode, base_url: str) -> list[str]:
    """In the order of the text. A stack instead of recursion: pages may be nested deeper than Python can."""
    pieces: list[str] = []
    stack: list[LexborNode | str] = [top]
    while stack:
        node = stack.pop()
        if isinstance(node, str):
            pieces.append(node)
        elif node.tag == "-text":
            pieces.append(node.text_content or "")
        else:
            before, after = _around(node, base_url)
            pieces.append(before)
            stack.append(after)
            stack.extend(reversed(list(node.iter(include_text=True))))
    return pieces


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


def main() -> None:
    html = sys.stdin.buffer.read().decode(errors="replace")
    title, text = read_html(html, sys.argv[1])
    sys.stdout.write(json.dumps({"title": title, "text": text}))


def _tidy(text: str) -> str:
    lines = (_SPACES.sub(" ", line).strip() for line in text.split("\n"))
    return _EMPTY_LINES.sub("\n\n", "\n".join(lines)).strip()


if __name__ == "__main__":
    main()
