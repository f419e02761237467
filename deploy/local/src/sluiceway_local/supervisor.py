"""The whole system on one machine, from nothing to the URL, and down again.

Guarantees: Valkey, Postgres and the model come up together, the services when the first two answer; run.json is
there when a message would be answered; what dies is started again at its old address. A stop (Ctrl-C, SIGTERM,
SIGHUP) is over within 5 s: the services first, so that they can release what they hold; a second one kills.
"""

import asyncio
import signal
import time
from contextlib import suppress
from pathlib import Path

from sluiceway_local import data_dir, environment, model, services
from sluiceway_local.display import Display
from sluiceway_local.errors import CannotRun
from sluiceway_local.model_address import problem_at
from sluiceway_local.ports import free_ports, require_bindable
from sluiceway_local.postgres import Postgres
from sluiceway_local.process import Child, Program, until_ready
from sluiceway_local.run_file import Addresses, RunFile
from sluiceway_local.settings import Settings
from sluiceway_local.valkey import Valkey

SERVICES_GRACE_SECONDS = environment.DRAIN_SECONDS + 1.0
DISK_EVERY_SECONDS = 10.0
ALARMING_FREE_MB = 20
BACKING_GRACE_SECONDS = 1.5  # both together stay below the 5 s that the module promises


class Supervisor:
    def __init__(self, settings: Settings, folder: Path, display: Display) -> None:
        self._settings = settings
        self._data_dir = folder
        self._display = display
        self._run_file = RunFile(folder)
        self._stopping = asyncio.Event()
        self._complete = False
        self._backing: list[Child] = []
        self._services: list[Child] = []
        self._workers = services.workers(settings.replicas)
        valkey_port, postgres_port, self._model_port, *self._health_ports = free_ports(3 + len(self._workers))
        self._valkey = Valkey(folder / "valkey", valkey_port)
        self._postgres = Postgres(folder / "postgres", postgres_port)
        self._port = settings.port or free_ports(1)[0]
        self._url = services.url(settings.host, self._port)

    async def run(self) -> None:
        """Until a stop. Raises CannotRun; whatever was started is ended then, too."""
        self._run_file.end_leftovers()
        require_bindable(self._settings.host, self._port)
        self._listen_to_signals()
        try:
            async with asyncio.TaskGroup() as keepers:
                asking = keepers.create_task(self._tell_of_model(), name="ask model")
                starting = keepers.create_task(self._bring_up(keepers), name="bring up")
                watching = keepers.create_task(self._watch_disk(), name="watch disk")
                await self._stopping.wait()
                asking.cancel()
                starting.cancel()
                watching.cancel()
                self._display.say("stopping …", style="dim")
                await self._bring_down()
        except* (CannotRun, OSError) as failures:
            raise failures.exceptions[0] from None
        finally:
            await self._bring_down()
            self._run_file.remove()

    async def _tell_of_model(self) -> None:
        """At once: who named a wrong address would wait for an answer that cannot come."""
        told = self._settings
        if told.own_model:
            return
        key = told.openai_api_key.get_secret_value() if told.openai_api_key is not None else None
        problem = await asyncio.to_thread(problem_at, told.server, key, told.asked_model, told.model_headers)
        if problem is not None:
            self._display.say(f"sluiceway: {problem}", style="yellow")

    async def _bring_up(self, keepers: asyncio.TaskGroup) -> None:
        started = time.monotonic()
        self._display.expect(self._names())
        with self._display.coming_up():
            try:
                async with asyncio.timeout(self._settings.start_timeout_seconds):
                    await self._start_all(keepers)
            except TimeoutError:
                raise self._late() from None
        self._complete = True
        self._tell_what_runs()
        self._display.say(
            f"Sluiceway is ready after {time.monotonic() - started:.1f} s, with {self._model_name()}.\n"
            f"Open {self._url} (the API: {self._url}/docs). Ctrl-C stops everything."
        )

    async def _start_all(self, keepers: asyncio.TaskGroup) -> None:
        if self._settings.own_model:
            self._keep(keepers, self._backing, model.program(self._model_port))
        self._keep(keepers, self._backing, await self._valkey.prepare())
        self._keep(keepers, self._backing, await self._postgres.prepare())
        for child in self._backing:
            if child.name != "model":
                await child.ready.wait()
        programs = self._service_programs()
        for program in programs:
            self._keep(keepers, self._services, program)
        for child in self._all:
            await child.ready.wait()
        # Once more, now that the workers are there: a run that was killed left its workers' names in Valkey, and the
        # gateway may have counted on those.
        await asyncio.gather(*(until_ready(program) for program in programs))

    def _keep(self, keepers: asyncio.TaskGroup, children: list[Child], program: Program) -> None:
        child = Child(program, self._display, self._on_change)
        children.append(child)
        keepers.create_task(child.keep(), name=child.name)

    def _service_programs(self) -> list[Program]:
        settings, folder = self._settings, self._data_dir
        common = environment.of_every_service(settings, folder, self._valkey.url, self._postgres.url, self._model_port)
        of_gateway = {**common, **environment.of_gateway(folder, settings.host)}
        own = {"tool-runner": environment.of_tool_runner(folder, self._url)}
        workers = [
            services.worker(name, service, port, {**common, **own.get(service, {})})
            for (name, service), port in zip(self._workers.items(), self._health_ports, strict=True)
        ]
        return [*workers, services.gateway(settings.host, self._port, of_gateway)]

    @property
    def _all(self) -> list[Child]:
        return [*self._backing, *self._services]

    def _names(self) -> list[str]:
        own_model = ["model"] if self._settings.own_model else []
        return ["valkey", "postgres", *own_model, *self._workers, "gateway"]

    def _model_name(self) -> str:
        told = self._settings
        return f"{told.asked_model} {'on this machine' if told.own_model else f'at {told.server}'}"

    def _on_change(self) -> None:
        """A process was started again. A disk without room for the new file is no reason to end what works."""
        if self._complete and not self._stopping.is_set():
            with suppress(OSError):
                self._tell_what_runs()

    def _tell_what_runs(self) -> None:
        pids = {child.name: child.pid for child in self._all if child.pid is not None}
        self._run_file.write(Addresses(self._url, self._valkey.url, self._postgres.url), pids)

    async def _watch_disk(self) -> None:
        """Say once when there is no more room: the processes that die of it name a reason each in its own words."""
        while data_dir.free_mb(self._data_dir) >= ALARMING_FREE_MB:  # noqa: ASYNC110 - nobody tells of a disk
            await asyncio.sleep(DISK_EVERY_SECONDS)
        self._display.say(f"The disk of {self._data_dir} is full. Make room: nothing can be kept.", style="bold red")

    def _late(self) -> CannotRun:
        late = [child for child in self._all if not child.ready.is_set()]
        sentence = f"Not ready after {self._settings.start_timeout_seconds:g} s"
        return late[0].failure(f"{sentence}: {', '.join(c.name for c in late)}") if late else CannotRun(sentence)

    async def _bring_down(self) -> None:
        for children, grace_seconds in (
            (self._services, SERVICES_GRACE_SECONDS),
            (self._backing, BACKING_GRACE_SECONDS),
        ):
            await asyncio.gather(*(child.stop(grace_seconds) for child in children))

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                loop.add_signal_handler(number, self._stop)

    def _stop(self) -> None:
        if self._stopping.is_set():
            for child in self._all:
                child.kill()
        self._stopping.set()
