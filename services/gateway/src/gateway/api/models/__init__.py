"""Everything that stands on the wire of the plain routes and of the AI SDK's requests, as frozen models, by noun.

Field names are ours (snake_case) except where the AI SDK chose them. A field of a request that is not known is refused
by its name: what it asked for would not be done. Stock clients of the AI SDK add fields of their own: ignored.
"""
