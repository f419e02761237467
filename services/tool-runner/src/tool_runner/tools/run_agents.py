"""The tool `run_agents`: a small team works on a goal, one after the other, each hearing what the others said.

Guarantees: each agent is one model call; its start, thought, action, output and end are agent events of the operation
and parts of the answer while they happen. A repeat, after this process died, begins again with a new agent stream: it
costs the model calls again and harms nothing.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tool_runner.tool.definition import ToolContext, tool
from tool_runner.tools.agents.speech import AgentSpeech
from tool_runner.tools.agents.stage import AgentStage
from tool_runner.tools.asking import Messages, ask, messages_of
from tool_runner.tools.job_life import JobLife

MAX_AGENTS = 6
_WORDS = 150
_MAX_TOKENS = 600
_HEARD_CHARS = 4000
_USUAL_ROLE = "Say what you can add to that."


class Agent(BaseModel):
    """Who speaks, and what for."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = Field(min_length=1, max_length=100)
    role: str = Field(default="", max_length=2000, description="What this agent is to do, as an instruction.")


class AgentOutput(BaseModel):
    model_config = ConfigDict(frozen=True)

    agent: str
    output: str


USUAL_TEAM = (
    Agent(name="Product manager", role="Say what is to be reached, and for whom."),
    Agent(name="Engineer", role="Say how it can be done, step by step."),
    Agent(name="Reviewer", role="Say what is weak in the proposal, and how it becomes better."),
)


class TeamRequest(BaseModel):
    goal: str = Field(min_length=1, max_length=20_000, description="What the team is to work on.")
    team: list[Agent] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_AGENTS,
        description="Who works on it, in this order. By default a product manager, an engineer and a reviewer.",
    )


@tool(
    name="run_agents",
    title="Agent team",
    description="Lets a small team of agents work on a goal, one after the other, and answers what each of them said.",
    long=True,
    own_job_events=True,
    repeatable=True,
)
async def run_agents(arguments: TeamRequest, context: ToolContext) -> dict[str, Any]:
    """{"goal", "outputs": [{"agent", "output"}], "final": the last output}"""
    team = arguments.team or USUAL_TEAM
    outputs: list[AgentOutput] = []
    async with JobLife(context, "agent_team", goal=arguments.goal) as life:
        async with AgentStage(context) as stage:
            for number, agent in enumerate(team, 1):
                message = f"{agent.name}, {number} of {len(team)}"
                await life.progress(100 * (number - 1) / len(team), message, _shown(outputs))
                output = await _turn(arguments.goal, agent, outputs, stage, context)
                outputs.append(AgentOutput(agent=agent.name, output=output))
            await context.progress(100, "The team is done", _shown(outputs))
        result = {"goal": arguments.goal, **_shown(outputs), "final": outputs[-1].output}
        await life.tell(context.job_events.publish_task_completed(context.operation_id, "agent_team", result))
    return result


async def _turn(goal: str, agent: Agent, heard: list[AgentOutput], stage: AgentStage, context: ToolContext) -> str:
    """What the agent says. Raises ToolFailed."""
    await stage.say(agent.name, "start", agent.role)
    others = ", ".join(output.agent for output in heard)
    await stage.say(
        agent.name, "action", f"Reads the goal, and what was said by: {others}" if heard else "Reads the goal"
    )
    speech = AgentSpeech(stage, agent.name)
    output = await speech.finish(await ask(context, _messages(goal, agent, heard), _MAX_TOKENS, speech.hear))
    await stage.say(agent.name, "end", f"{len(output.split())} words")
    return output


def _messages(goal: str, agent: Agent, heard: list[AgentOutput]) -> Messages:
    said = [f"{output.agent} said:\n{output.output[:_HEARD_CHARS]}" for output in heard]
    part = f"{agent.role or _USUAL_ROLE} Use at most {_WORDS} words."
    return messages_of("\n\n".join([f"Our goal: {goal}", *said, part]), f"You are the {agent.name} of a team.")


def _shown(outputs: list[AgentOutput]) -> dict[str, Any]:
    return {"outputs": [output.model_dump() for output in outputs]}
