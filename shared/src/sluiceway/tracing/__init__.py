"""Spans: where the time of a turn went, through all processes that it passed. docs/adr/0028-traces.md says why so."""
