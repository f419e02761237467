"""The promises of this project, by id, each in one sentence.

Every id in EXISTING is held by at least one test that is marked `@pytest.mark.requirement("ID")`, and every mark names
an id that is here: `test_requirements.py` reads both ways. LATER lists what is promised but not built yet; a test that
is marked with such an id is a mistake until the id moves up.
"""

EXISTING = {
    # Task streams
    "TS-1": "All that is known about a task is one hash, written together with its time to live.",
    "TS-2": "A task can be followed to its end, however long it takes and however long it is silent.",
    "TS-3": "A subscriber gets every event after the id it names, in order, without gap or repeat between old and new.",
    "TS-4": "A task that has an owner is followed by nobody else; one without is followed by whoever has its id.",
    "TS-5": "A task ends once, whoever ends it, and its stream has exactly one terminal event, as its last.",
    "TS-6": "The active task of a session, and a task by its id, are found in one step, without a scan.",
    "TS-7": "Never existed, expired and not yours are three different answers, each with its code.",
    "TS-8": "Every event type has a model that reads back what it wrote; an unknown type passes through, counted.",
    "TS-9": "A subscriber that goes away leaves nothing behind within five seconds.",
    "TS-10": "A slow browser costs the others nothing; past its bound it is cut off and resumes without a gap.",
    "TS-11": "A worker that lost its task cannot add one more event after its successor's first.",
    "TS-12": "A stream that lost its beginning says so, with where to read on; a running stream is never trimmed.",
    "TS-13": "Life-cycle log lines are structured and carry ids and durations, never message text or secrets.",
    # The chat service
    "CH-1": "Sessions are made, listed, read, renamed, deleted and claimed, by their owner only.",
    "CH-2": "A message that is sent twice is stored once and starts one turn, also when two gateways get it at once.",
    "CH-5": "An answer streams from any OpenAI-compatible server: text, reasoning, refusals and usage.",
    "CH-7": "What may pass is retried while the step has shown nothing, for a bounded time; else the turn fails.",
    "CH-11": "The user's message is durable before it is accepted, the answer before it is seen to be finished.",
    "CH-12": "A session runs one turn at a time; a second message waits, interrupts or is rejected, as it asks.",
    "CH-13": "A turn in any state is cancelled within a second, its model request is closed, its partial text is kept.",
    "CH-14": "Every limit has an error that names it.",
    "CH-25": "Model servers are met as they are: what they send is read, what they are sent fits them.",
    # Job events
    "JE-1": "A job's events are published to its stream in the shape that its readers expect.",
    "JE-2": "An event that cannot be published raises, and the job survives it.",
    "JE-3": "A job's events are followed with replay, filtered and listed.",
    "JE-5": "Events are published from synchronous tasks too.",
    # The gateway
    "GW-1": "Any gateway serves any request, and a browser whose gateway was killed goes on at another.",
    "GW-2": "The stock AI SDK client works against the gateway without custom code.",
    "GW-3": "The stock EventSource works: ids, Last-Event-ID, retry with jitter, heartbeats.",
    "GW-4": "A gateway that is told to stop closes its open streams in time, and browsers lose and repeat nothing.",
    "GW-5": "Connections to Redis do not grow with the number of browsers.",
    "GW-7": "The OpenAPI document comes from the models that validate, and errors are problem+json.",
    # Operations
    "OP-1": "One command on a fresh machine brings everything up, and Ctrl-C ends all of it.",
    "OP-2": "The tests run on real parts with one command on the same machine.",
    "OP-3": "Each service is a package of its own that installs and starts alone.",
    "OP-4": "The container and cluster descriptions are valid and describe what exists.",
    "OP-7": "Losing everything in Redis, or Postgres for a while, delays the accepted turns and loses none of them.",
    "OP-9": "The schema moves forward by SQL files, one migrator at a time, and neighbours of other versions go on.",
    # Completions
    "CC-1": "A consumer group exists before the first message that matters, and is made again when it is lost.",
    "CC-2": "A message is acknowledged after its effects are durable, and is dead-lettered after too many deliveries.",
    "CC-3": "Nobody takes a message from an owner who lives and renews.",
    "CC-4": "A message that cannot be read is kept with its bytes.",
    "CC-5": "A completion finds its task by operation, early ones wait for theirs, late ones are answered as gone.",
    "CC-6": "A successful tool result is stored, shown and acted on exactly once.",
    "CC-7": "A failed tool is explained by the model, and the turn goes on.",
    "CC-8": "A consumer outlasts Redis and Postgres being away.",
    "CC-9": "One function publishes completions inside the cluster, one webhook outside of it.",
    "CC-10": "Consumers start, stop and hand back cleanly, however often they are told to.",
    # The webhook
    "WH-1": "Outside services complete operations and report progress by signed webhooks.",
    "WH-2": "Every operation has its own address and secret, and trusted callers may use a key.",
    "WH-3": "A webhook is answered when it is durable, the same way each time, and never with a server's error.",
    "WH-4": "Accepted webhooks can be listed and played again.",
    # Job events
    "JE-4": "Outlines and documents are written by real long operations that publish their progress.",
    # The chat service
    "CH-8": "Tool calls have limits, and mistakes in them go back to the model.",
    "CH-9": "A long operation starts once, holds no worker, and its answer goes on in the same stream.",
    "CH-10": "An operation that was accepted elsewhere waits for its webhook until its deadline.",
    "CH-15": "A message can call a tool without the model.",
    "CH-16": "A tool can wait for a person's approval, across restarts.",
    # Agent events
    "AG-1": "Agent events are numbered without gap or repeat across processes.",
    "AG-2": "Code in any thread publishes agent events without blocking the event loop.",
    "AG-3": "Agent events of different tasks never mix.",
    "AG-4": "Agent streams are made, followed before they exist, closed and cleaned up.",
    "AG-5": "A team of agents runs as a long operation and is seen live.",
    # The gateway
    "GW-8": "The chat page works for everybody in a real browser.",
}

LATER = {
    # The chat service
    "CH-3": "A session gets a short title from its first message, and keeps the one that its user gave.",
    "CH-4": "The system prompt comes from where prompts are kept, with a fallback, and its version is recorded.",
    "CH-6": "A conversation of any length fits the model's window, and the user sees when it was shortened.",
    # The gateway
    "GW-6": "Callers are authenticated, limited and told apart.",
    # Operations
    "OP-5": "Metrics, traces and logs join a turn from the browser to the model.",
    "OP-6": "One page and one command answer what is stuck, and why.",
    "OP-8": "It runs on a single server, with failover and on a cluster.",
}
