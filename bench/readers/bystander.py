"""Somebody else: asks for `/healthz` again and again on one connection until its input ends, and then prints the
longest wait, in milliseconds."""

import http.client
import select
import sys
import time
from urllib.parse import urlsplit


def main() -> None:
    parts = urlsplit(sys.argv[1])
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    longest = 0.0
    while not select.select([sys.stdin], [], [], 0)[0]:
        began = time.perf_counter()
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        longest = max(longest, time.perf_counter() - began)
    print(1000 * longest)


if __name__ == "__main__":
    main()
