"""Files through the whole system: from a person to the model, from a tool to a person, and gone with the session."""

from pathlib import Path

import pytest

from harness.clients.calling import TOOLS_DIR, answers, call, calls_tools, offered
from harness.clients.chat import Chat
from harness.databases.database import Database
from harness.model_server import ModelServer
from harness.pdf import pdf_of
from harness.processes.services import Services
from harness.waiting import wait_until

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 64


@pytest.mark.requirement("CH-17", "LC-1")
async def test_files_reach_the_model_tools_return_files_and_all_go_with_the_session(
    services: Services, model: ModelServer, database: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "kept"
    system = await services.whole(
        tool_runners=1,
        TOOLS_DIR=str(TOOLS_DIR),
        FILES_URL=f"file:{folder}",
        MODEL_PICTURES="yes",
        RECONCILE_SECONDS="0.2",
    )
    await offered(system.url, "draw")
    await calls_tools(model, "What is in them?", call("draw", "call_1", text="a pixel"))
    await answers(model, "What is in them?", "A page, and a picture.")
    async with Chat(system.url) as chat:
        files = []
        for name, content in (("cat.png", PNG), ("paper.pdf", pdf_of("The river rises"))):
            uploaded = await chat.upload(name, content)
            assert uploaded.status_code == 201, uploaded.text
            files.append({"url": uploaded.json()["url"]})
        turn = await chat.ask("What is in them?", files=files)
        await chat.answer(turn)

        first, second = await model.requests("What is in them?")
        content = first.body["messages"][-1]["content"]
        assert [part["type"] for part in content] == ["text", "image_url", "text", "text"]
        assert "The river rises" in content[2]["text"]
        assert content[1]["image_url"]["url"].startswith("data:image/png;base64,")
        assert "drawing.png" in second.body["messages"][-1]["content"]
        question, answer = (await chat.session(turn.session_id))["messages"]
        assert [part["type"] for part in question["parts"]] == ["file", "file", "text"]
        drawn = next(part for part in answer["parts"] if part["type"] == "tool-draw")["output"]["files"][0]
        assert (drawn["mediaType"], drawn["filename"]) == ("image/png", "drawing.png")
        assert (await chat.get(drawn["url"])).headers["content-type"] == "image/png"
        assert len(list(folder.iterdir())) == 3

        assert (await chat.delete(f"/api/chat/sessions/{turn.session_id}")).status_code == 204

        assert (await chat.get(drawn["url"])).status_code == 404
    assert await database.fetchval("SELECT count(*) FROM files") == 0
    await wait_until(lambda: not list(folder.iterdir()), what="the objects are removed")
