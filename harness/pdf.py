"""Small PDFs, made by hand: a page with a line each, or with whatever operators a test wants."""

import zlib


def pdf_of(*lines: str) -> bytes:
    """A page for each line."""
    return pdf_with([f"BT /F 9 Tf 1 1 Td ({line}) Tj ET".encode() for line in lines])


def pdf_with(pages: list[bytes]) -> bytes:
    """With these content streams, compressed."""
    kids = b" ".join(b"%d 0 R" % (4 + 2 * number) for number in range(len(pages)))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, len(pages)),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    for number, content in enumerate(pages):
        fonts = b"/Resources<</Font<</F 3 0 R>>>>/MediaBox[0 0 99 99]"
        objects.append(b"<</Type/Page/Parent 2 0 R%s/Contents %d 0 R>>" % (fonts, 5 + 2 * number))
        packed = zlib.compress(content)
        objects.append(b"<</Length %d/Filter/FlateDecode>>stream\n%s\nendstream" % (len(packed), packed))
    whole, places = b"%PDF-1.4\n", []
    for number, one in enumerate(objects, 1):
        places.append(len(whole))
        whole += b"%d 0 obj%s endobj\n" % (number, one)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    count = len(objects) + 1
    trailer = b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (count, len(whole))
    return whole + b"xref\n0 %d\n0000000000 65535 f \n" % count + table + trailer
