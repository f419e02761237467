"""`python -m harness.model_server`: see the package for what it serves."""

import argparse
import asyncio
import gc
import json
import signal

import uvloop

from harness.model_server.connection import Connection, State


async def serve(host: str, port: int, state: State) -> None:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    server = await loop.create_server(lambda: Connection(state), host, port, backlog=1024)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    gc.freeze()
    await stopping.wait()
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="A model server for tests")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.host, arguments.port, State()))


if __name__ == "__main__":
    main()
