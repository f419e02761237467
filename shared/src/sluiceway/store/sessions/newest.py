"""The newest messages of a session, or the oldest, as many as a page has room for: in number, and in bytes.

Guarantees: what has no room is not read out of Postgres, however large it is; there is one message in any case, the
newest (or oldest); what is left out is older (or newer) than all that is there.
A size is that of a message as JSON. What is stored is compressed: what is too large even so is never unpacked to be
measured.
"""

# Of a page that somebody reads, and of what a model, or a tool, is told of a conversation. A session with messages of a
# usual size has hundreds of them in that.
PAGE_BYTES = 4 * 1024 * 1024
CONTEXT_BYTES = 16 * 1024 * 1024
# Of a file that is written page by page: there are many at once, and a reader that stalls keeps his.
EXPORT_BYTES = 256 * 1024


def newest_of(messages: str, *, limit: str, max_bytes: str) -> str:
    """A query for the newest of the `messages` (a SELECT), newest first: at most `limit`, and of `max_bytes` together.

    `limit` and `max_bytes` are parameters of the query. `found`: how many there are, or `limit` and one more.
    """
    return _first_of(messages, "DESC", limit, max_bytes)


def oldest_of(messages: str, *, limit: str, max_bytes: str) -> str:
    """The same from the other end: oldest first."""
    return _first_of(messages, "ASC", limit, max_bytes)


def _first_of(messages: str, order: str, limit: str, max_bytes: str) -> str:
    return f"""
        SELECT * FROM (
            SELECT *, sum({_size("octet_length({}::text)")}) OVER nearest AS bytes FROM (
                SELECT *, row_number() OVER nearest AS place, count(*) OVER () AS found,
                    sum({_size("pg_column_size({})")}) OVER nearest AS stored_bytes
                FROM ({messages} ORDER BY sequence {order} LIMIT {limit}::bigint + 1) AS nearest_messages
                WINDOW nearest AS (ORDER BY sequence {order})
            ) AS numbered
            WHERE place = 1 OR (place <= {limit}::bigint AND stored_bytes <= {max_bytes}::bigint)
            WINDOW nearest AS (ORDER BY sequence {order})
        ) AS measured
        WHERE place = 1 OR bytes <= {max_bytes}::bigint
        ORDER BY sequence {order}
    """


def _size(function: str) -> str:
    return " + ".join(f"coalesce({function.format(column)}, 0)" for column in ("parts", "metadata"))
