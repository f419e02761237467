"""The program that reads a stranger's PDF: its bytes on stdin, {"text", "pages", "read"} or {"problem"} as JSON on
stdout.

    python -I -S pdf_child.py SLUICEWAY PYPDF MAX_CHARS

Before the first byte is read it has given away all that it does not need: see sluiceway/process/confined_child.py.
"""

import importlib
import io
import json
import logging
import sys
from typing import Any

# A page with one line, so that all that reading needs is loaded while files can be opened.
_SMALLEST = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj "
    b"3 0 obj<</Type/Page/Parent 2 0 R/Resources<</Font<</F 5 0 R>>>>/MediaBox[0 0 9 9]/Contents 4 0 R>>endobj "
    b"4 0 obj<</Length 30>>stream\nBT /F 9 Tf 1 1 Td (a) Tj ET    \nendstream endobj "
    b"5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj trailer<</Root 1 0 R>>\n%%EOF"
)


def main() -> None:
    *packages, max_chars = sys.argv[1:]
    sys.path[:0] = packages
    confined_child = importlib.import_module("sluiceway.process.confined_child")
    pypdf = importlib.import_module("pypdf")
    logging.disable(logging.CRITICAL)
    _read(pypdf, _SMALLEST, 10)
    confined_child.give_up_everything()
    sys.stdout.write(json.dumps(_read(pypdf, sys.stdin.buffer.read(), int(max_chars))))
    sys.stdout.flush()


def _read(pypdf: Any, content: bytes, max_chars: int) -> dict[str, Any]:
    """The first pages, until there is as much text as is wanted. Pages that cannot be read have none."""
    try:
        reader = pypdf.PdfReader(io.BytesIO(content))
        if reader.is_encrypted and not reader.decrypt(""):
            return {"problem": "it is locked with a password"}
        pages = len(reader.pages)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - a stranger's file may break a parser in any way
        return {"problem": "it is damaged"}
    texts: list[str] = []
    left, read = max_chars, 0
    while read < pages and left > 0:
        text = _text_of(reader, read)
        texts.append(text[:left])
        left -= len(text)
        read += 1
    return {"text": "\n\n".join(text for text in texts if text.strip()), "pages": pages, "read": read}


def _text_of(reader: Any, page: int) -> str:
    try:
        return str(reader.pages[page].extract_text())
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - likewise
        return ""


if __name__ == "__main__":
    main()
