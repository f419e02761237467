"""A model server for tests: the OpenAI chat protocol over real HTTP/1.1, with faults on demand.

Promises: the same request gets the same words, in the same order; every request is recorded, with whether and when its
client closed the connection; a fault happens where its tag or step says. It promises nothing about the quality of
answers, and it never slows down for a slow reader: what is not read waits in its memory.

Start it with `python -m harness.model_server --port 0`; it prints `{"port": N}` when it listens. From Python:
`ModelServer` (client.py). Its times are `time.monotonic()`, which on Linux is one clock for all processes.

Any path that ends in `/chat/completions` or `/models` is served, and the Responses API (responses.py). A request is
answered by the first of:

1. a script that was posted to `/control/script` and still has turns left:
   `{"steps": [STEP, …], "match": part of the last user message or null, "path": "/chat/completions", "times": 1}`;
2. tags in the last user message, in double square brackets, so that any client can drive it:
   `tell me more [[tokens=200 rate=30]]`;
3. the default: 40 tokens at 200 tokens a second, the words of the last user message over and over (`answer_to`).

Tags, separated by blanks, in one or several brackets:

    tokens=40 rate=200       how many words, how fast (rate=0: as fast as it can)
    multibyte                words of two-, three- and four-byte characters
    clock                    each word is the time of its sending, `time.monotonic()` with nine decimals
    reasoning=10             so many words of reasoning first, as fast; reasoning_field=reasoning_content|reasoning
    refusal                  the words are a refusal
    tools=weather,time       calls these tools in parallel, arguments in fragments taken in turns; tools_order=reverse
                             sends the second call's fragments first
    finish=stop              the finish_reason; finish=none: leaves it out
    usage=no                 no usage, though the request asked for it
    stall_headers=5          waits so long before the response begins
    stall=5                  waits so long before the first token, after the response has begun
    stall_after=3            waits after the third token, stall_for=5 or (as for every stall) `ever`
    gate=NAME                waits before the first token until POST /control/open {"gate": NAME}
    gate_after=3:NAME        waits after the third token until that gate opens
    cut=3                    ends after the third token, how=fin (TCP close inside a chunked body), rst (reset),
                             eof (a clean end of the body, no finish_reason, no [DONE]), utf8 (close inside a character)
    status=429               an error response: 400 401 403 404 429 500 503, context (400 context_length_exceeded) or
                             filter (400 content_filter); retry_after=2 (a header, any text without blanks);
                             times=2: only for the first two requests with this very message
    drop                     the connection is closed without an answer; times=2 as above
    garbage=json             broken JSON in an event; garbage=html: an HTML page with status 200; garbage=type: an event
                             that is JSON but no chunk; garbage=chunk: a broken length in the chunked coding
    stream_error=server_error  after the tokens, an error object inside the stream with this code
    empty_choices            chunks without choices between the tokens
    comments                 comments, blank lines, `event:` and `id:` fields between the events
    crlf                     lines end in CR LF
    split=3                  three bytes a write, so characters and line ends are torn apart
    merge=8                  eight events a write
    prefix=echo              where the request brings the beginning of the answer: repeats it first; echo_words, refuse,
                             template_error, ignore: see continuing.py

Steps of a script are objects whose first key says what to do. The response ends with the finish_reason `stop`, usage
when asked for, and `[DONE]`, unless a `finish`, `cut` or `garbage` step says otherwise:

    {"text": "…"} {"reasoning": "…", "field": "reasoning"} {"refusal": "…"}   one chunk each
    {"tokens": 40, "rate": 200, "of": "words to repeat", "kind": "content", "clock": false, "empty_choices": false,
     "comments": false}                                                       many chunks, paced
    {"tool_call": {"index": 0, "id": "…", "function": {"name": "…", "arguments": "…"}}}   a fragment, sent as it is
    {"delta": {…}} {"chunk": {…}} {"raw": "bytes as text"} {"raw_base64": "…"}             anything else
    {"comment": "…"} {"blank": 2} {"framing": {"newline": "\\r\\n", "split": 3, "merge": 8}}
    {"stall": seconds or "ever"} {"gate": NAME}
    {"status": 429, "retry_after": "1", "headers": {…}, "body": {…} or "…", "content_type": "…"}   must be first
    {"finish": "length" or null} {"usage": {…} or null} {"error": {"message": "…", "code": "…"}}
    {"cut": "fin" | "rst" | "eof" | "utf8"} {"garbage": "json" | "html" | "type" | "chunk"} {"drop": true}

Control: `POST /control/script`, `POST /control/strict {"rules": [RULE, …]}` (refuses what strict servers refuse, see
strictness.py), `POST /control/open {"gate": NAME}`, `POST /control/reset` (forgets scripts, rules,
gates, counts and records), `GET /control/requests` (the records, oldest first; see record.py).
"""

from harness.model_server.answers import answer_to
from harness.model_server.client import ModelServer

__all__ = ["ModelServer", "answer_to"]
