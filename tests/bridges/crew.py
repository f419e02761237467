"""Run in the environment of CrewAI: `python crew.py REDIS_URL MODEL_URL WHAT`. It prints why it failed, and no more.

CrewAI draws a panel for each event, and some more, for ever, about those that its console cannot encode: on a loaded
machine the events that were to be published waited longer behind that than their five seconds, and were given up. So
it draws nothing here, and a publish may take as long as the test.

`kickoff`: a real crew of two, whose model is the fake model server, writes to the stream "crew".
`threads`: threads emit real events for a stream each, side by side, and so does one thread that has no stream.
`failing`: a crew whose model fails; and one that publishes to a stream that is not there, and succeeds.
"""

import asyncio
import json
import sys
import threading
import urllib.request
from typing import Any

from crewai import Agent, BaseLLM, Crew, Task
from crewai.events import AgentExecutionStartedEvent, ToolUsageFinishedEvent, ToolUsageStartedEvent, crewai_event_bus
from crewai.events.types.llm_events import LLMCallType
from crewai.tools import tool
from rich.console import Console
from sluiceway.feeds.agent_threads import ThreadPublisher, open_threads
from sluiceway_crewai import publish_crew_events

Console.print = lambda *_, **__: None  # type: ignore[method-assign]
SECONDS = 60.0
EVENTS = 40
THREADS = 12


class FakeModel(BaseLLM):  # type: ignore[misc]  # no crewai where mypy runs
    """CrewAI's own base class over the fake model server of the tests, telling of its calls as CrewAI's others do."""

    url: str = ""

    def call(self, messages: Any, *args: Any, from_task: Any = None, from_agent: Any = None, **kwargs: Any) -> str:
        self._emit_call_started_event(messages, from_task=from_task, from_agent=from_agent)
        text = self._ask(messages)
        self._emit_call_completed_event(
            response=text, call_type=LLMCallType.LLM_CALL, from_task=from_task, from_agent=from_agent
        )
        return text

    def _ask(self, messages: Any) -> str:
        body = json.dumps({"model": "fake", "messages": messages, "stream": False}).encode()
        request = urllib.request.Request(
            f"{self.url}/v1/chat/completions", body, {"content-type": "application/json", "authorization": "Bearer x"}
        )
        with urllib.request.urlopen(request, timeout=20) as response:
            return str(json.load(response)["choices"][0]["message"]["content"])


@tool("look_up")  # type: ignore[untyped-decorator]  # as above
def look_up(word: str) -> str:
    """Look a word up."""
    return f"{word} = 河"


def crew_of_two(model_url: str) -> Crew:
    model = FakeModel(model="fake", url=model_url)
    writer = Agent(role="Writer", goal="write", backstory="writes", llm=model, tools=[look_up])
    reviewer = Agent(role="Reviewer", goal="review", backstory="reviews", llm=model)
    tasks = [
        Task(name="define", description="Define a river.", expected_output="a definition", agent=writer),
        Task(name="review", description="Review it.", expected_output="a verdict", agent=reviewer),
    ]
    return Crew(name="dictionary", agents=[writer, reviewer], tasks=tasks)


def kickoff(publisher: ThreadPublisher, model_url: str) -> None:
    generation = publisher.create("crew")
    with publish_crew_events(publisher, "crew", generation=generation, timeout_seconds=SECONDS):
        crew_of_two(model_url).kickoff()
    publisher.close("crew", generation=generation)


def emit(author: str) -> None:
    """The events that a tool of CrewAI's emits, in pairs."""
    for number in range(EVENTS):
        common: dict[str, Any] = {"tool_name": "look_up", "agent_role": author, "agent_key": author}
        arguments = {"number": number}
        started = ToolUsageStartedEvent(tool_args=arguments, **common)
        crewai_event_bus.emit(None, started)
        finished = ToolUsageFinishedEvent(
            tool_args=arguments,
            output=f"{author} {number} \ud83d",
            started_at=started.timestamp,
            finished_at=started.timestamp,
            **common,
        )
        crewai_event_bus.emit(None, finished)


def threads(publisher: ThreadPublisher, model_url: str) -> None:
    def publish(number: int) -> None:
        with publish_crew_events(publisher, f"crew-{number}", timeout_seconds=SECONDS):
            both_are_in.wait()
            emit(f"agent {number}")

    async def publish_from_a_loop() -> None:
        with publish_crew_events(publisher, "crew-loop"):
            emit("agent of a loop")

    both_are_in = threading.Barrier(THREADS)
    for number in (*range(THREADS), "loop"):
        publisher.create(f"crew-{number}")
    running = [threading.Thread(target=publish, args=(number,)) for number in range(THREADS)]
    running.append(threading.Thread(target=emit, args=("agent of nobody",)))
    for thread in running:
        thread.start()
    asyncio.run(publish_from_a_loop())
    for thread in running:
        thread.join()
    assert crewai_event_bus.flush(SECONDS), "the bus still had events"
    assert publisher.flush(), "the publisher still had events"
    assert publisher.failed == 0, f"{publisher.failed} events were not published"


def failing(publisher: ThreadPublisher, model_url: str) -> None:
    publisher.create("crew")
    try:
        with publish_crew_events(publisher, "crew"):
            crew_of_two("http://127.0.0.1:1").kickoff()
    except OSError:
        publisher.close("crew")
    with publish_crew_events(publisher, "nobody"):
        assert str(crew_of_two(model_url).kickoff()) == "Good."
    assert publisher.failed > 0
    assert AgentExecutionStartedEvent not in crewai_event_bus._async_handlers


def main() -> None:
    redis_url, model_url, what = sys.argv[1:]
    with open_threads(redis_url, timeout_seconds=SECONDS) as publisher:
        {"kickoff": kickoff, "threads": threads, "failing": failing}[what](publisher, model_url)


if __name__ == "__main__":
    main()
