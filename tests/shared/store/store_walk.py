"""A walk through every method of the store, and every branch of it that sends something.

A call of asyncpg that it does not reach fails `test_statement_plans.py`, so a new statement has to be added here.
"""

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from sluiceway.errors import DomainError
from sluiceway.ids import new_call_id, new_operation_id
from sluiceway.store import Store
from sluiceway.store.operating.retention import RowKind, SessionKind
from sluiceway.store.operations.operation_end import OperationEnd, ReportedEnd
from sluiceway.store.operations.operations import NewOperation
from sluiceway.store.operations.webhooks import NewWebhook
from sluiceway.store.people.usage import Budget, ModelCall
from sluiceway.store.records import Task
from sluiceway.store.sessions.conversations import Compaction
from sluiceway.store.sessions.files import Allowance, NewFile
from sluiceway.store.sessions.sessions import SessionCursor
from sluiceway.store.turns.accepting import NewTurn
from sluiceway.store.turns.approving import ClientOutput, Decision
from sluiceway.store.turns.ending import TurnEnd
from sluiceway.wire.elicitation import Elicitation
from sluiceway.wire.tools import CLIENT_QUEUE

from harness.databases.database import Database


class Walk:
    """Through every method of the store, and every branch of it that sends something."""

    def __init__(self, store: Store, database: Database) -> None:
        self._store = store
        self._database = database
        self._number = 0

    async def whole(self) -> None:
        await self._sessions()
        await self._accepting()
        await self._branches()
        await self._feedback_and_shares()
        await self._turns()
        await self._operations()
        await self._approvals()
        await self._completions()
        await self._background()
        await self._webhooks()
        await self._rest()
        await self._files()
        await self._life_of_data()

    async def _files(self) -> None:
        files, day = self._store.files, timedelta(days=1)
        for file_id, owner in (("f-1", "ada"), ("f-2", "ada"), ("f-3", "anon:1")):
            await files.begin(NewFile(file_id, owner, None, "a", "text/plain", 9), Allowance(9, 99))
            await files.finish(file_id, 9, "digest")
        await files.claim(["f-3"], "ada", "anon:1")
        await self._turn("with files", files=("f-1",))
        await files.of_owner("ada", ["f-1"])
        await files.owner("f-1")
        await files.note_reading("f-1", {"text": "what it says"})
        await files.delete("f-2", "ada")
        await files.drop("f-9")
        await files.drop_unattached(day, day, 10)
        await files.note_strays(["f-1", "f-9"])
        for file_id in await files.removals(10):
            async with files.removing(file_id) as unwanted:
                assert unwanted

    async def _turn(self, session_id: str | None = None, **more: Any) -> Task:
        """Claimed."""
        self._number += 1
        fields = {"session_id": session_id or f"walk{self._number}", "user_id": "ada", "text": "hi", **more}
        fields.setdefault("create_session", True)
        fields |= {"max_live": 40, "max_sessions_per_hour": 90, "budget": Budget(tokens=10**9)}
        accepted = await self._store.turns.accept(NewTurn(**fields))
        claimed = await self._store.turns.claim(accepted.task.id)
        assert claimed is not None
        return claimed

    async def _end(self, task: Task, **more: Any) -> None:
        parts = [{"type": "text", "text": "well"}]
        end = TurnEnd(**{"status": "completed", "parts": parts, "metadata": {}, "calls": [_call()], **more})
        assert await self._store.turns.end(task, end, attempt=task.attempt) is not None

    async def _paused(self, status: str, count: int = 1) -> tuple[Task, list[str]]:
        task = await self._turn()
        asked = [_operation(status) for _ in range(count)]
        parts = [{"type": "tool-t", "toolCallId": one.tool_call_id, "state": "input-available"} for one in asked]
        await self._store.turns.pause(task, parts, asked, {"inputTokens": 1}, calls=[_call()])
        return task, [one.id for one in asked]

    async def _sessions(self) -> None:
        sessions, now = self._store.sessions, datetime.now(UTC)
        for user_id in ("ada", None):
            await sessions.create(f"mine-{user_id}", user_id, None, 5)
            for after in (None, SessionCursor(now, "z")):
                await sessions.page(user_id, after, 10)
                await sessions.page(user_id, after, 10, archived=True)
        await sessions.create("mine-ada", "ada", None)
        await sessions.owner("mine-ada")
        await sessions.awaits("mine-ada", "t-1")
        await sessions.stored_bytes("ada")
        await sessions.change("mine-ada", "ada", title="Mine", pinned=True)
        for user_id in ("ada", None):
            await sessions.pinned(user_id)
        await sessions.claim("mine-None", "ada", None)
        for _ in range(2):
            with suppress(DomainError):
                await sessions.create("mine-ada", "ada", None, 1)
        await self._store.titles.begin("mine-None", "t", timedelta(seconds=1))
        await self._store.titles.give("mine-None", "A title")

    async def _accepting(self) -> None:
        task = await self._turn("talk", message_id="m1")
        await self._store.turns.accept(NewTurn("talk", "ada", "hi", message_id="m1"))
        await self._store.turns.accept(NewTurn("talk", "ada", "more", message_id="m2", policy="interrupt"))
        await self._store.turns.accept(NewTurn("talk", "ada", "more", message_id="m3", policy="interrupt"))
        await self._end(task)
        await self._store.sessions.messages("talk", None, 10)
        await self._store.sessions.messages("talk", 3, 10)
        await self._store.sessions.messages_after("talk", 3, 10)
        await self._store.search.find("ada", "hello", 10)
        await self._store.search.find(None, "hello", 10)
        await self._store.sessions.active_task("talk")
        await self._store.sessions.ended_task("talk", timedelta(minutes=1))
        await self._store.sessions.task_ids("talk")
        for replaces in (None, task.message_id):
            again = NewTurn("talk", "ada", "", regenerate=True, replaces=replaces)
            with suppress(DomainError):
                await self._store.turns.accept(again)
        await self._store.turns.accept(NewTurn("talk", "ada", "otherwise", message_id="m1", edit=True))
        await self._store.turns.accept(NewTurn("talk", "ada", "hi", message_id="m9", max_live=2, budget=Budget(cost=9)))
        in_org = NewTurn("org", "org:acme:ada", "hi", create_session=True, max_live_of_org=9)
        await self._store.turns.accept(in_org)

    async def _branches(self) -> None:
        async def ask(text: str, **more: Any) -> Task:
            turn = NewTurn("tree", "ada", text, create_session=True, **more)
            task = await self._store.turns.claim((await self._store.turns.accept(turn)).task.id)
            assert task is not None
            await self._end(task)
            return task

        first = await ask("one", message_id="m1")
        await ask("two", message_id="m2")
        await self._database.execute("UPDATE messages SET parent_id = NULL WHERE session_id = 'tree'")
        other = await ask("uno", message_id="m1", edit=True)
        for parent_id in ("", first.message_id, "m1", first.user_message_id, other.message_id):
            await ask("three", parent_id=parent_id)
        await ask("", regenerate=True, message_id="m2")
        branches = self._store.branches
        await branches.show("tree", "ada", other.message_id)
        await ask("four", parent_id="m1")
        for message_id in (None, other.message_id, other.message_id):
            await branches.fork("tree", "ada", message_id, f"fork-{message_id}", 90)
        task, _ = await self._paused("approval")
        await self._end(task, parts=None, awaits=True)
        await branches.fork(task.session_id, "ada", None, "asked")
        await self._store.turns.accept(NewTurn("tree", "ada", "first"))
        await self._store.turns.accept(NewTurn("tree", "ada", "taken back", message_id="waits"))
        await self._store.turns.take_back("tree", "ada", "waits")

    async def _feedback_and_shares(self) -> None:
        feedback, shares, day = self._store.feedback, self._store.shares, timedelta(days=1)
        task = await self._turn("shared")
        await self._end(task)
        await feedback.give("shared", "ada", task.message_id, "down", "why")
        await self._store.sessions.messages("shared", None, 10)
        await feedback.newest(day, ("up", "down"), 10)
        await feedback.sums(day)
        share = await shares.share("shared", "ada")
        await shares.get("shared", "ada")
        await shares.read(share.token, None, 10)
        await shares.revoke("shared", "ada")
        await feedback.take_back("shared", "ada", task.message_id)

    async def _turns(self) -> None:
        turns = self._store.turns
        task = await self._turn()
        await turns.get(task.id)
        await turns.history(task, 10)
        await self._store.conversations.before(task, max_messages=10, max_bytes=10)
        await self._store.conversations.compact(task, Compaction(1, "what was said"))
        await self._store.conversations.newest(task)
        await self._store.conversations.note(task.session_id, Compaction(1, "what was said"), None, [1])
        await turns.message(task)
        await turns.asking(task.session_id, task.message_id)
        await turns.wait_for_model(await self._turn(), {}, 60)
        await turns.raise_attempt(task)
        await turns.continued(task.id)
        await turns.ended_before(datetime.now(UTC), task.id, datetime.now(UTC) - timedelta(hours=1), 10)
        await turns.live("", 10)
        await turns.unfinalized(timedelta(), 10)
        await turns.overdue([task.id], timedelta(minutes=1))
        await turns.activate_next(task.session_id)
        await turns.request_cancel(task.id, "ada")
        await turns.pause(task, [], [], None)
        await turns.begin_approved(task)
        await turns.finalized(task.id)
        await self._store.sessions.delete(task.session_id, "ada")
        steered = await self._turn("steered")
        steering = await turns.accept(NewTurn("steered", "ada", "this way", policy="steer"))
        assert await turns.steering(steered) == steering.task.id
        assert await turns.steering_messages("steered") == [steering.task.user_message_id]
        await turns.end(steered, TurnEnd("completed", [], {}, gives_way=steering.task.id), attempt=steered.attempt)
        queued = await turns.accept(NewTurn("behind", "ada", "one", create_session=True))
        await turns.request_cancel(queued.task.id, "ada")

    async def _operations(self) -> None:
        operations = self._store.operations
        task, (operation_id,) = await self._paused("pending")
        await operations.get(operation_id)
        await operations.output(operation_id)
        await operations.of_task(task.id)
        started = await operations.start(operation_id, "runner")
        assert started is not None
        await operations.accepted(operation_id, 1)
        await self._polls()
        await operations.queues_in_use()
        await operations.unfinished("", timedelta(), 10)
        await self._store.turns.pause(task, [], [], None)

    async def _polls(self) -> None:
        polls = self._store.polls
        task, (operation_id,) = await self._paused("pending")
        await self._store.operations.start(operation_id, "runner")
        await polls.accepted(operation_id, 1, {"taskId": "1"}, 0)
        await polls.due(10)
        await polls.get(operation_id)
        await polls.again(operation_id, {"taskId": "1"}, {"taskId": "1"}, 60)
        asks = Elicitation(approval_id="apr_1", source="s", message="Well?")
        await self._store.elicitations.ask(operation_id, task.id, asks)
        await self._store.elicitations.ask(operation_id, task.id, asks)
        await polls.over(operation_id)

    async def _approvals(self) -> None:
        turns = self._store.turns
        for approved, answers in ((True, 2), (False, 1)):
            task, _ = await self._paused("approval", 2)
            await self._database.execute("UPDATE operations SET background = true WHERE task_id = $1", task.id)
            await self._end(task, parts=None, awaits=True)
            calls = [one.tool_call_id for one in await self._store.operations.of_task(task.id)]
            for call_id in calls[:answers]:
                noted = await turns.answer(task.id, "ada", {call_id: Decision(approved)})
            if noted.task is not None:
                claimed = await turns.claim(noted.task.id)
                assert claimed is not None
                await turns.begin_approved(claimed)
                await turns.answer(task.id, "ada", {calls[0]: Decision(approved)})
            else:
                await self._turn(task.session_id, create_session=False)
                with suppress(DomainError):
                    await turns.answer(task.id, "ada", {calls[1]: Decision(True)})
        task, _ = await self._paused("approval")
        await self._end(task, parts=None, awaits=True)
        await self._database.execute("UPDATE operations SET deadline_at = now() WHERE task_id = $1", task.id)
        await self._store.deadlines.unanswered(10)
        await self._store.deadlines.expire_approvals(task.session_id, OperationEnd("expired", error=_ERROR))
        task, (call_id,) = await self._paused("client")
        await self._end(task, parts=None, awaits=True)
        await turns.answer(task.id, "ada", {call_id: ClientOutput("well")})
        # Another turn waits already when the calls are to be asked for.
        task, _ = await self._paused("approval")
        await self._store.turns.accept(NewTurn(task.session_id, "ada", "behind"))
        await self._end(task, parts=None, awaits=True)

    async def _completions(self) -> None:
        completions, ended = self._store.completions, OperationEnd("succeeded", output=1, shown=1)
        task, (operation_id,) = await self._paused("pending")
        for named_operation, named in (
            (operation_id, task.id),
            (operation_id, None),
            ("o-none", "t-none"),
            (None, task.id),
        ):
            await completions.complete(ReportedEnd(named_operation, named, ended, "digest", receipt=1))
        task, (operation_id,) = await self._paused("pending")
        await completions.complete(ReportedEnd(None, task.id, ended, "digest"))
        task, (operation_id,) = await self._paused("pending")
        await completions.complete(ReportedEnd(operation_id, None, ended, "digest"))
        await completions.note_progress(1, "applied")
        await completions.stranded("", 10)
        task, (operation_id,) = await self._paused("pending")
        operation = await self._store.operations.get(operation_id)
        assert operation is not None
        await self._store.deadlines.overdue(10)
        await self._store.deadlines.expire(operation, OperationEnd("expired", error=_ERROR))
        # A restored backup: the turn has ended, and its operation has not.
        task, (operation_id,) = await self._paused("pending")
        await self._database.execute("UPDATE tasks SET status = 'completed', ended_at = now() WHERE id = $1", task.id)
        await self._store.deadlines.expire(operation, OperationEnd("expired", error=_ERROR))
        await completions.complete(ReportedEnd(operation_id, None, ended, "digest"))

    async def _background(self) -> None:
        background, ended = self._store.background, OperationEnd("succeeded", output=1, shown=1)
        task, (operation_id,) = await self._paused("pending")
        await background.make_way(task)
        accepted = await self._store.turns.accept(NewTurn(task.session_id, "ada", "and meanwhile?"))
        assert accepted.made_way is not None
        await background.of_session(task.session_id)
        await self._store.completions.complete(ReportedEnd(operation_id, task.id, ended, "digest"))
        assert await background.carry_on(task) is not None
        assert await background.continued_by(task.id) is not None
        await self._stepping_back()
        # A message that came while the turn ran; and one that leaves its branch.
        running = await self._turn()
        await self._store.turns.accept(NewTurn(running.session_id, "ada", "and meanwhile?"))
        await self._store.turns.pause(running, [], [_operation("pending")], None)
        assert await background.make_way(running) is not None
        edited = NewTurn(running.session_id, "ada", "all anew", message_id=running.user_message_id, edit=True)
        assert (await self._store.turns.accept(edited)).stopped

    async def _stepping_back(self) -> None:
        """With an answer, for a turn that steers it; and not, as a person is to be asked."""
        stepping_back, started = self._store.stepping_back, replace(_operation("pending"), background=True)
        task = await self._turn()
        steering = NewTurn(task.session_id, "ada", "and that?", policy="steer")
        to = (await self._store.turns.accept(steering)).task
        part = {"type": "tool-t", "toolCallId": started.tool_call_id, "state": "input-available", "input": {}}
        await self._store.turns.pause(task, [part], [started], None, {"background": [started.tool_call_id]})
        end = TurnEnd("completed", [part], {}, calls=[_call()], gives_way=to.id)
        assert await stepping_back.step_back(task, end) is not None
        asking = await self._turn()
        approved = replace(_operation("approval"), background=True)
        await self._store.turns.pause(asking, [], [replace(_operation("pending"), background=True), approved], None)
        assert await stepping_back.block(asking) == "waiting"
        assert await self._store.turns.standing(asking)

    async def _webhooks(self) -> None:
        webhooks, (task, (operation_id,)) = self._store.webhooks, await self._paused("pending")
        new = NewWebhook(operation_id, "progress", "w1", "signature", {"percent": 1})
        webhook = await webhooks.receive(new)
        await webhooks.get(webhook.id)
        for operation in (None, operation_id):
            for before_id in (None, 5):
                for outcome in (None, "late"):
                    await webhooks.page(operation, outcome, before_id, 10)
        await webhooks.unapplied(timedelta(), 10)
        await webhooks.put_off(task.id)
        await self._store.completions.put_off_progress(webhook.id)
        await self._end(task, parts=[{"type": "tool-t", "toolCallId": operation_id, "state": "input-available"}])
        await self._database.execute("UPDATE operations SET status = 'succeeded' WHERE id = $1", operation_id)
        with suppress(DomainError):
            await webhooks.receive(NewWebhook(operation_id, "complete", "w2", "signature", {}))

    async def _life_of_data(self) -> None:
        store, day, (task, _) = self._store, timedelta(days=1), await self._paused("pending")
        await store.rewinding.skip(await store.rewinding.mark())
        await store.rewinding.unknown([task.id])
        await store.rewinding.open_of([task.id])
        await store.rewinding.overtake(task, 5)
        await store.rewinding.adopt(task, 6)
        await store.sessions.delete(task.session_id, "ada")
        await store.erasures.due(10)
        await store.erasures.of_session(task.session_id)
        await store.erasures.session_of(task.id)
        await store.erasures.erased([task.id])
        for rows in get_args(RowKind):
            await store.retention.purge(rows, day, 10)
        for sessions in get_args(SessionKind):
            await store.retention.purge_sessions(sessions, day, 10)
        for user_id in ("ada", None):
            rows = [row async for row in store.people.export(user_id)]
            assert rows or user_id is None
            while await store.people.erase_some(user_id) is not None:
                pass
        await store.people.receipt("ada", "self", {})

    async def _rest(self) -> None:
        store = self._store
        await store.now()
        await store.unsuitable()
        await store.dead_letters.add(queue="q", entry_id="1-1", body=b"", reason="", deliveries=1, task_id=None)
        (letter, *_) = await store.dead_letters.newest(10)
        await store.dead_letters.get(letter.id)
        await store.dead_letters.rewrite(letter.id, b"{}", "t")
        await store.dead_letters.remove(letter.id)
        await store.parked.add("o", "t", {})
        (parked, *_) = await store.parked.page(0, timedelta(), 10)
        await store.parked.remove(parked.id)
        await store.parked.give_up(parked.id, "q", "why")
        await store.backlog.count(ended_for=timedelta(), received_for=timedelta(), live_after="a", unfinished_after="a")
        await store.api_keys.add("name", b"digest", ["turns"], None)
        await store.api_keys.find(b"digest")
        await store.api_keys.good(["name"])
        await store.api_keys.all()
        await store.api_keys.revoke("name")
        task, today = await self._turn(), datetime.now(UTC).date()
        await store.usage.charge(task, [_call()])
        await store.usage.today("ada")
        await store.usage.of_user("ada", today, today)
        await store.usage.of_all(today, today, 10)
        await store.usage.of_session(task.session_id)
        await store.usage.of_task(task.id)
        await store.sessions.delete(task.session_id, "ada")
        await store.usage.charge(task, [_call()])
        await store.understandings.put("ada", {"name": "Ada"})
        await store.understandings.remember("ada", "name", "Ada L.")
        await store.understandings.get("ada")
        await store.understandings.acquaintance("ada", "s")
        await store.understandings.remember("ada", "name", "Ada", "s")
        await store.understandings.instruct("ada", "Be brief.")
        await store.understandings.instructions("ada")
        await store.understandings.forget("ada")


_ERROR = {"type": "EXPIRED", "message": "too late"}


def _call() -> ModelCall:
    return ModelCall(new_call_id(), 1, "answer", "m", "answered", 1, 1)


def _operation(status: str) -> NewOperation:
    operation_id = new_operation_id()
    fields: dict[str, Any] = {"approval_id": operation_id} if status == "approval" else {}
    return NewOperation(
        id=operation_id,
        step=1,
        tool_call_id=operation_id,
        tool_name="t",
        input={},
        queue=CLIENT_QUEUE if status == "client" else "default",
        status=status,  # type: ignore[arg-type]
        deadline_seconds=60,
        **fields,
    )
