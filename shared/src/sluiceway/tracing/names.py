"""All names that stand in spans: those of OpenTelemetry's semantic conventions, written out, and a few of our own.

Written out, as the conventions for generative models and for messaging are still moved between modules from release to
release; `tests/shared/tracing/test_tracing.py` compares them with the installed ones.
"""

# HTTP
HTTP_METHOD = "http.request.method"
HTTP_ROUTE = "http.route"
HTTP_STATUS = "http.response.status_code"
SERVER_ADDRESS = "server.address"
ERROR_TYPE = "error.type"

# Messaging
MESSAGING_SYSTEM = "messaging.system"
MESSAGING_OPERATION_TYPE = "messaging.operation.type"
MESSAGING_OPERATION_NAME = "messaging.operation.name"
MESSAGING_DESTINATION = "messaging.destination.name"
MESSAGING_MESSAGE_ID = "messaging.message.id"

# Generative models
GEN_AI_OPERATION = "gen_ai.operation.name"
GEN_AI_PROVIDER = "gen_ai.provider.name"
GEN_AI_CONVERSATION = "gen_ai.conversation.id"
GEN_AI_REQUEST_MODEL = "gen_ai.request.model"
GEN_AI_RESPONSE_MODEL = "gen_ai.response.model"
GEN_AI_FINISH_REASONS = "gen_ai.response.finish_reasons"
GEN_AI_TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
GEN_AI_INPUT_TOKENS = "gen_ai.usage.input_tokens"
GEN_AI_OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
GEN_AI_CACHED_INPUT_TOKENS = "gen_ai.usage.cache_read.input_tokens"
GEN_AI_REASONING_TOKENS = "gen_ai.usage.reasoning.output_tokens"
GEN_AI_TOOL_NAME = "gen_ai.tool.name"
GEN_AI_TOOL_CALL = "gen_ai.tool.call.id"

# A process
SERVICE_NAME = "service.name"
SERVICE_INSTANCE = "service.instance.id"

# Ours
TASK = "sluiceway.task.id"
OPERATION = "sluiceway.operation.id"
ATTEMPT = "sluiceway.attempt"
STATUS = "sluiceway.status"
PURPOSE = "sluiceway.model.purpose"
DELIVERIES = "sluiceway.deliveries"
RETRY = "retry"
"""The name of an event: a request failed and is sent again."""
RETRY_DELAY = "sluiceway.retry.delay_seconds"


def processing(queue: str) -> str:
    return f"process {queue}"


def chat(model: str) -> str:
    return f"chat {model}"


def execute_tool(tool: str) -> str:
    return f"execute_tool {tool}"


def webhook(kind: str) -> str:
    return f"webhook {kind}"
