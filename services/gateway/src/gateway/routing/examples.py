"""A body for each operation that takes JSON, and values for parameters: what `/docs` fills its forms with.

Guarantees: a test sends every one of them to a gateway, which takes its form. Ids are of the reader's own choice where
a client may choose them, so that what one example makes the next can name.
"""

from typing import Any

SESSION_ID = "my-session"
_MESSAGE = {"id": "my-message", "message": "What is a sluice?"}
_AI_SDK_MESSAGE = {"id": "my-question", "role": "user", "parts": [{"type": "text", "text": "What is a sluice?"}]}

BODIES: dict[str, Any] = {
    "create_session": {"id": SESSION_ID, "title": "Sluices"},
    "write_instructions": {"text": "I am a hydrologist. Answer briefly, in metric units."},
    "change_session": {"title": "Sluices and weirs"},
    "post_message": _MESSAGE,
    "stream_message": {"message": "And a weir?"},
    "answer_approval": {"approved": True, "reason": "This page is ours."},
    "post_output": {"output": {"latitude": 52.5, "longitude": 13.4}},
    "show_branch": {"message_id": "my-message"},
    "fork_session": {"message_id": "my-message"},
    "give_feedback": {"rating": "up", "comment": "Short and right."},
    "write_understanding": {"name": "Ada", "likes": "short answers"},
    "chat": {"id": "my-chat", "messages": [_AI_SDK_MESSAGE]},
    "complete_operation": {"success": True, "result": {"pages": 12}},
    "report_progress": {"message": "page 3 of 12", "percent": 25},
    "edit_dead_letter": {"body": {"task_id": "task_00000000000000000000000000000000"}},
}

# By the parameter's name, or the operation's and its: what has not to be copied from an answer.
PARAMETERS: dict[str, str] = {
    "session_id": SESSION_ID,
    "message_id": "my-message",
    "resume.id": "my-chat",
    "stop.id": "my-chat",
    "upload_file.name": "notes.txt",
    "q": "sluice",
}
