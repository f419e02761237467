#!/bin/sh
# A message and its answer with curl. `sh examples/curl.sh "What is a sluice?"`
set -eu
gateway=${GATEWAY:-http://127.0.0.1:8000}
chat=curl-$$
# In JSON a quote and a backslash have a backslash before them.
text=$(printf '%s' "${1:-Hello}" | tr '\n\t' '  ' | sed 's/[\\"]/\\&/g')

# -N: each event is shown when it comes.
curl --fail-with-body -sS -N "$gateway/api/chat" -H 'content-type: application/json' -d @- <<JSON
{"id": "$chat", "messages": [{"role": "user", "parts": [{"type": "text", "text": "$text"}]}]}
JSON

# What was said, whenever somebody asks for it.
curl --fail-with-body -sS "$gateway/api/chat/sessions/$chat"
