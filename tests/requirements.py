"""The promises of this project by id, in the very words of the feature list, and which of them are not kept yet.

A promise that is not in OPEN is held by at least one test that is marked `@pytest.mark.requirement("ID")`. OPEN says of
each other one what is missing; tests of the part of it that is kept are marked with its id too. The words are never
weakened to fit the code: `test_requirements.py` compares them with the list.
"""

PROMISES = {
    # TS. Task streams (the stream registry)
    "TS-1": (
        "A task's metadata (task_id, session_id, user_id or none, message_id, status, attempt, created_at) is one "
        "hash, written atomically with its TTL; tool_call_id, tool_name and operation_id belong to its operations, "
        "each of which names its task."
    ),
    "TS-2": (
        "Appending events answers whether they were written, and why not (fenced, cancelled, lost); the TTL of "
        "stream and metadata is refreshed for as long as the task lives, also while it is silent, so a task of any "
        "length can be followed to its end."
    ),
    "TS-3": (
        'A subscriber gets every event after the id it names ("0-0": all), replay then live, in order, with no gap '
        "and no duplicate at the seam, however many events there are."
    ),
    "TS-4": "Only the owner follows a task; an anonymous task (no owner) is followed by whoever has its id.",
    "TS-5": (
        "Completion is a compare-and-set from a live status to completed / failed / cancelled. It happens once, "
        "whoever calls; the second caller learns that it came second. Every stream ends with exactly one terminal "
        "event, also after error, cancel and crash."
    ),
    "TS-6": (
        "A task is found by operation id (durably, also after Redis forgot), by id, and as the active task of a "
        "session with its last event id: each in O(1), no SCAN anywhere."
    ),
    "TS-7": (
        "Never existed (404 `TASK_NOT_FOUND`), existed and expired (410 `TASK_EXPIRED`), not yours (403 "
        "`ACCESS_DENIED`) are told apart, as problem+json with a `code`."
    ),
    "TS-8": (
        "Every event type is a typed model; stored events read back as the same model; an unknown type from a newer "
        "producer passes through the gateway untouched and is counted, never dropped."
    ),
    "TS-9": (
        "A subscriber that goes away leaves nothing behind: no listener, no queue, no Redis connection, within 5 s."
    ),
    "TS-10": (
        "A slow browser cannot hurt others: its queue is bounded in bytes; past the bound the connection is closed "
        "and resumes from its last id. Nothing is skipped silently."
    ),
    "TS-11": (
        "Appends are fenced by attempt: a worker that lost its task cannot write one more event after its "
        "successor's first."
    ),
    "TS-12": (
        "A stream that lost its beginning says so (409 with where to read on from) instead of starting mid-sentence. "
        "A running stream is never trimmed."
    ),
    "TS-13": (
        "Life-cycle log lines are structured: component, task_id, session_id, user when known, duration_ms, and the "
        "trace id; a failed turn, a retry and a 503 say why (code, status, model, attempt). No message text, no "
        "locals, no secrets, in any format."
    ),
    # CC. Completions
    "CC-1": (
        "The consumer group exists before the first message matters (created at 0, recreated when lost, BUSYGROUP is "
        "fine)."
    ),
    "CC-2": (
        "A message is acknowledged after its effects are durable, never before; a failing one stays pending, is "
        "taken over by another consumer when its owner is dead, and after N deliveries goes to the dead letters with "
        "its reason."
    ),
    "CC-3": (
        "A live owner is not robbed: leases are renewed by a Lua script that first checks that the owner is still "
        "the owner."
    ),
    "CC-4": (
        "Unreadable messages go to the dead letters at once, with the bytes. Nothing is ever acknowledged and "
        "forgotten. The plain shape of a producer that knows nothing of our envelope (operation_id, task_id, "
        "success, result, error) is applied."
    ),
    "CC-5": (
        "The task is found by operation id, else by task id. A completion that arrives before its operation is known "
        "is parked and applied when it is; one for an expired or cancelled operation is answered 410 and recorded."
    ),
    "CC-6": (
        "Success writes the result to the tool message in Postgres, publishes the tool output on the task's stream "
        "and resumes the conversation, exactly once, however often the completion is delivered."
    ),
    "CC-7": "Failure does the same with a typed error result; the model gets to explain it; the task does not hang.",
    "CC-8": (
        "Redis or Postgres away: the consumer waits with capped backoff and jitter and goes on by itself, for as "
        "long as it takes."
    ),
    "CC-9": (
        "`publish_operation_complete(operation_id, task_id, success, result, error)` is the one in-cluster producer; "
        "the webhook is the one for outside services."
    ),
    "CC-10": "Start and stop are idempotent; SIGTERM finishes or hands back what is in hand within the grace period.",
    # WH. The webhook
    "WH-1": (
        "`POST /api/chat/operations/{operation_id}/complete` with `{success, result, error}`, and `/progress` with "
        "`{message, percent, data}`, signed as Standard Webhooks say (id, timestamp, body; 5 min tolerance; several "
        "signatures and two live secrets for rotation; constant-time compare)."
    ),
    "WH-2": (
        "Each operation of any tool (built in, one's own, MCP) has its own callback URL and its own secret, derived, "
        "not stored in clear in Redis; an `x-api-key` for trusted in-cluster callers works too."
    ),
    "WH-3": (
        "202 once it is durably queued, the same answer for a repeat of the same webhook-id (remembered in Postgres, "
        "not for 5 minutes but as long as the operation), 400 malformed, 401 bad or stale signature, 404 unknown "
        "operation, 410 ended operation, 413 too large, 429/503 with Retry-After. Never 3xx, never 500 on bad input."
    ),
    "WH-4": "Every accepted webhook is in a journal that can be listed and replayed.",
    # JE. Job events (the publisher)
    "JE-1": (
        "`JobEventPublisher(redis)` with async `publish_event(job_id, event_data)`, `publish_task_started(job_id, "
        "task_type, **kw)`, `publish_task_progress(job_id, task_type, progress, **kw)`, "
        "`publish_task_completed(job_id, task_type, result, **kw)`, `publish_task_failed(job_id, task_type, error, "
        "**kw)`, `publish_outline_generated(job_id, outline)`, `publish_document_generated(job_id, document)`, "
        "`get_stream_info(job_id)`, `get_stream_length(job_id)`, on the stream `job_events:{job_id}` with fields "
        "data (JSON, non-ASCII kept as is), timestamp, event_type; custom event types allowed."
    ),
    "JE-2": (
        "A failing publish raises a typed error after logging; it never silently loses the event, and never takes "
        "down the job that publishes."
    ),
    "JE-3": (
        "`GET /api/chat/jobs/{job_id}/events` follows a job's events as SSE with replay and Last-Event-ID, filter by "
        "`event_type`; `…/history` lists them."
    ),
    "JE-4": (
        "The tool runner's long operations publish their life through it: `generate_outline` and `generate_document` "
        "are real, LLM-driven tools (outline from a prompt and context files, document from an outline, with "
        "progress per section and the word count) that end with outline_generated / document_generated."
    ),
    "JE-5": (
        "It works from a synchronous Celery-style task (`asyncio.run` inside a plain function, fresh connection per "
        "run) as well as from async code."
    ),
    # CH. The chat service
    "CH-1": (
        "Sessions: create, list (newest first, cursor), get with messages (newest page first, `before_sequence`), "
        "rename, delete, claim an anonymous session for a user; owner checked everywhere."
    ),
    "CH-2": (
        "A message sent twice with the same client id is stored once and starts one task, also when the two requests "
        "race on two gateways."
    ),
    "CH-3": (
        "The first message gives the session a short title (3–6 words, at most 50 characters) made by a small model "
        "from its first 500 characters, without delaying the answer and without overwriting a title the user set."
    ),
    "CH-4": (
        "The system prompt comes from Langfuse when configured (cached, stale-while-revalidate, named fallback), "
        "else from a file; it is completed with what is known about the user; prompt name and version are recorded "
        "on the task."
    ),
    "CH-5": (
        "The answer streams from any OpenAI-compatible server: text, reasoning, tool calls in parallel (also when "
        "arguments arrive in fragments and out of order), refusals, usage; per-task model choice out of an allowed "
        "list; `user`, `session_id` and trace ids are passed along."
    ),
    "CH-6": (
        "The context window is kept: counted with tiktoken, compacted (summary of old turns by a model, tool pairs "
        "kept together, middle truncation, oldest dropped first, the newest user message never) so that a "
        "conversation of any length goes on. Without a summariser it truncates. The user sees that it happened."
    ),
    "CH-7": (
        "Errors: rate limits (with Retry-After), connection errors and ≥500 are retried with full jitter within a "
        "budget per turn (minutes, a setting), only while nothing of that step has reached the stream, holding no "
        "worker meanwhile, visibly, and cancellable; others end the task with a typed error event that says what to "
        "do. An end is good only if it is known to be good."
    ),
    "CH-8": (
        "Tool calls: limits per turn and per step, the last round without tools so that there is always an answer; a "
        "result longer than the cap is shortened with a note and kept whole in Postgres; an unknown tool or invalid "
        "arguments goes back to the model as an error."
    ),
    "CH-9": (
        "A long operation starts once per tool call (atomic mark, fail-closed when Redis is away); the chat worker "
        "holds nothing in memory while it runs; progress reaches the browser; when it ends, another worker may go on "
        "with the answer, in the same stream, with tools and compaction as for any step."
    ),
    "CH-10": (
        'A tool that answers 202 / `{"status": "accepted", …}` (a dict or JSON text, with any further keys) is '
        "waiting for its webhook: nothing is published, nothing is cleaned up, the deadline runs; past it the "
        "operation fails by itself."
    ),
    "CH-11": (
        "The user message is durable before the 202; the answer is durable before `finish` is seen. A partial answer "
        "is kept when the task is cancelled or fails."
    ),
    "CH-12": (
        "One running turn per session. A second message follows a policy the request may choose: `enqueue` "
        "(default), `interrupt`, `reject` (409), `steer` (enters at the next step), `latest`."
    ),
    "CH-13": (
        "Cancel works from any gateway, on a queued, running or waiting task, within 1 s also while the model is "
        "silent; it closes the upstream HTTP request, cancels the operations, keeps the partial text, ends the "
        "stream with an abort event."
    ),
    "CH-14": (
        "Limits with clear errors: message length, context messages, tool calls, result size, running tasks per "
        "user, requests per minute."
    ),
    "CH-15": "Direct tool use: a message `/tool_name {json or text}` runs that tool without asking the model first.",
    "CH-16": (
        "Human approval: a tool marked so waits for approve / deny (AI SDK tool approval parts), for as long as the "
        "operation's deadline, across restarts."
    ),
    "CH-17": (
        "Files: people and tools attach images, PDFs and text by upload or data URL; they reach models that take "
        "them (text where not), are limited by size, count and true type, belong to their owner, and go with the "
        "session."
    ),
    "CH-18": (
        "Client-side tools: declared per request or in settings; the turn waits like an approval, the client's "
        "result goes on with it; `useChat`'s addToolOutput works unmodified."
    ),
    "CH-19": (
        "People chat on while a long operation runs: a message that comes while the turn only waits for operations "
        "is answered at once, and a continuation follows when the results are there, once, through crashes."
    ),
    "CH-20": (
        "Usage and cost per step, turn, session, user, model and day, also of failed and replaced attempts; prices; "
        "budgets that pause or refuse with a clear word."
    ),
    "CH-21": "Structured output by JSON schema per turn, validated, with one repair try.",
    "CH-22": (
        "Branches: an edit or a regeneration keeps what it replaces as a sibling that can be seen and gone back to; "
        "a session can be forked at a message."
    ),
    "CH-23": (
        "Page context `{url, content}` and messages that are not the user's (`is_user_message`) reach the model as "
        "such; an unknown field of a plain route's request is refused by name (stock clients add their own to `POST "
        "/api/chat`)."
    ),
    "CH-24": (
        "Nothing that comes from a model, tool, person, webhook or server (NUL, surrogates, absurd names, ids, "
        "depth, size) can keep a turn from ending or a session from going on."
    ),
    "CH-25": (
        "Model servers are met as they are: a dialect per server (known by itself, overridable) says what is sent, "
        "renamed, dropped, sent back; history is made to fit strict servers; odd shapes lose nothing."
    ),
    # AG. Agent events (multi-agent runs)
    "AG-1": (
        "An event has task_id, sequence (1, 2, 3 … per task, no gap, no repeat, across processes), agent_name, "
        "event_type (start, thought, action, output, end, error, complete), content, UTC timestamp with Z, and free "
        "metadata; it is SSE-encodable with non-ASCII kept."
    ),
    "AG-2": (
        "Synchronous code in any thread publishes with `publish_nowait(...)`: it waits at most 5 s, reports success "
        "or failure, and never blocks the event loop. Tested from real threads and with the CrewAI package's own "
        "event bus."
    ),
    "AG-3": (
        "Streams of different tasks never mix, under concurrency; creating a stream again for a task closes the old "
        "one and restarts its sequence."
    ),
    "AG-4": (
        "Create, get, publish, close, list active, clean up old ones. Following a stream that does not exist yet "
        "waits for it; the end of a stream is said with a `connection_end` event."
    ),
    "AG-5": (
        "The tool `run_agents` runs a small team (for example product manager → engineer → reviewer) over the LLM as "
        "a long operation, and its thoughts, actions and outputs are seen live in the browser."
    ),
    # GW. The gateway
    "GW-1": (
        "Stateless: any gateway serves any request; killing one loses nothing; a browser reconnects to another and "
        "goes on. It calls no model and runs no tool."
    ),
    "GW-2": (
        "The stock AI SDK client works with no custom code: `useChat()` against `POST /api/chat`, `GET "
        "/api/chat/{id}/stream` (204 when idle), stop, resume, regenerate, tool approval. Checked with the real npm "
        "packages."
    ),
    "GW-3": (
        "The stock `EventSource` works: `id:` on every event, Last-Event-ID, `retry:` with jitter, comment heartbeat "
        "every ≤ 10 s."
    ),
    "GW-4": (
        "On SIGTERM readiness goes off, open streams are told and closed within the grace period, and browsers come "
        "back elsewhere without losing or repeating a character."
    ),
    "GW-5": (
        "One shared reader per Redis node serves all subscribers of a process: connections to Redis do not grow with "
        "browsers."
    ),
    "GW-6": (
        "Auth: bearer JWT (HS256 secret or JWKS), API keys for services, `none` for local use that says so loudly; "
        "CORS; security headers; body limits; rate limits in Redis."
    ),
    "GW-7": "OpenAPI document generated from the same pydantic models that validate; docs page; problem+json errors.",
    "GW-8": (
        "A chat page in the browser served by the gateway: streaming, reload mid-answer, stop, tool progress, "
        "approvals, history, dark mode, keyboard and screen-reader friendly; tested in headless Chromium."
    ),
    "GW-9": (
        "One event stream per person tells of all sessions (created, renamed, deleted, turn started / ended / needs "
        "you), with Last-Event-ID, so that a second tab or device knows without asking."
    ),
    "GW-10": (
        "Where auth is on, the page signs in (OIDC code flow, cookie), native EventSource comes in by cookie or a "
        "short-lived stream token, and a page of another origin can drive nothing."
    ),
    "GW-11": (
        "Fair between people: a flood of one does not make others wait; position and expected wait are told and true."
    ),
    # OP. Operations
    "OP-1": (
        "`make run` on a fresh machine with Python ≥ 3.11: everything up with an embedded Valkey, an embedded "
        "Postgres and a real local model, no key, no Docker; ready in seconds after the first install; Ctrl-C stops "
        "all of it cleanly; data kept between runs."
    ),
    "OP-2": "`make test` runs everything on real parts, on that same machine.",
    "OP-3": (
        "Each service has its own pyproject, Dockerfile (two stages, non-root, read-only), README (what it reads, "
        "writes, promises), health endpoints, metrics, and starts alone."
    ),
    "OP-4": (
        "`docker-compose.yml` brings up the whole system with scalable workers; `deploy/k8s/` is kustomize: base, "
        "overlays dev / prod / keda; Gateway API route with no request timeout, PDB, HPA on backlog age and busy "
        "slots, NetworkPolicy, probes, security contexts, migration Job, grace periods longer than drains."
    ),
    "OP-5": (
        "Prometheus metrics, OpenTelemetry traces that join browser request → worker → model → tool → webhook "
        "through the stream entries, structured logs; a Grafana dashboard and alert rules that use metrics that "
        "exist."
    ),
    "OP-6": (
        'An operations page and a CLI that answer "what is stuck and why": queues with depth, age and consumers, '
        "running tasks with holder, attempt and last heartbeat, dead letters with reason, replay and purge; `explain "
        "TASK`."
    ),
    "OP-7": (
        "Redis is disposable: after a FLUSHALL every accepted, unfinished turn still finishes. Postgres down: clear "
        "503s, nothing lost, recovers by itself."
    ),
    "OP-8": (
        "Runs on Valkey / Redis 7+ single, Sentinel-style failover and Cluster (hash tags, one reader per node, "
        "partitioned queues), shown on a real 6-node cluster with a failover."
    ),
    "OP-9": (
        "Schema migrations are forward-only SQL files under an advisory lock; a new version of one service works "
        "beside the old version of another."
    ),
    "OP-10": (
        "Readiness tells the truth: a gateway that cannot stream or accept says so, with what is missing; a model "
        "that is away does not take workers out of service."
    ),
    "OP-11": (
        "A restored or rewound Postgres beside a Redis that was not heals by itself within a minute, counted and "
        "logged. Backup, restore, upgrade, rollback and sizing are documented from what was tried."
    ),
    "OP-12": (
        "Unsuitable surroundings (eviction policy, missing rights, cluster without the setting, version, pooler "
        "mode, settings that differ between services, wrong password) are told in one sentence at start, and "
        "answered 503, never 500."
    ),
    # SE. Security
    "SE-1": (
        "Every route × every kind of caller is one tested table; nobody sees or changes what is another's: sessions, "
        "tasks, streams, operations, jobs, agents, files, journal, approvals."
    ),
    "SE-2": (
        "Tokens: issuer, audience, expiry, algorithm and key are checked; keys rotate; API keys are hashed, scoped, "
        "expiring, revocable."
    ),
    "SE-3": (
        "Limits on everything a caller can make many or large of, per caller and address, told with Retry-After; "
        "slow and many connections are survived with bounded memory."
    ),
    "SE-4": (
        "Hostile content (model, tool, MCP, web page, file) cannot run script in the page, reach private addresses, "
        "forge approvals, or pass as another tool."
    ),
    "SE-5": "Secrets and message texts are in no log, error, metric or URL.",
    "SE-6": (
        "The threat model names each threat with its defence and its test; route fuzzing finds no 5xx and no "
        "undocumented answer."
    ),
    # LC. The life of data
    "LC-1": (
        "Deleting a session removes its words everywhere at once: Postgres, streams, job and agent events, dead "
        "letters, parked completions, journal, files."
    ),
    "LC-2": (
        "Retention per kind of data is a setting with a sane default, done in small batches; nothing grows for ever, "
        "in Postgres or Redis."
    ),
    "LC-3": "A person's data can be exported and erased, by the person and by an operator, with a receipt.",
    "LC-4": (
        "What is stored, where, for how long and who can read it stands on one page, and a test compares it with "
        "schema and keys."
    ),
}

OPEN: dict[str, str] = {}
