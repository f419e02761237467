"""The newest messages of a session, as many as a page has room for: in number, and in bytes.

Guarantees: what has no room is not read out of Postgres, however large it is; there is one message in any case, the
newest; what is left out is older than all that is there.
A size is that of a message as JSON. What is stored is compressed: what is too large even so is never unpacked to be
measured.
"""

# Of a page that somebody reads, and of what a model, or a tool, is told of a conversation. A session with messages of a
# usual size has hundreds of them in that.
PAGE_BYTES = 4 * 1024 * 1024
CONTEXT_BYTES = 16 * 1024 * 1024


def newest_of(messages: str, *, limit: str, max_bytes: str) -> str:
    """A query for the newest of the `messages` (a SELECT), newest first: at most `limit`, and of `max_bytes` together.

    `limit` and `max_bytes` are parameters of the query. `found`: how many there are, or `limit` and one more.
    """
    return f"""
        SELECT * FROM (
            SELECT *, sum({_size("octet_length({}::text)")}) OVER newest AS bytes FROM (
                SELECT *, row_number() OVER newest AS place, count(*) OVER () AS found,
                    sum({_size("pg_column_size({})")}) OVER newest AS stored_bytes
                FROM ({messages} ORDER BY sequence DESC LIMIT {limit}::bigint + 1) AS newest_messages
                WINDOW newest AS (ORDER BY sequence DESC)
            ) AS numbered
            WHERE place = 1 OR (place <= {limit}::bigint AND stored_bytes <= {max_bytes}::bigint)
            WINDOW newest AS (ORDER BY sequence DESC)
        ) AS measured
        WHERE place = 1 OR bytes <= {max_bytes}::bigint
        ORDER BY sequence DESC
    """


def _size(function: str) -> str:
    return " + ".join(f"coalesce({function.format(column)}, 0)" for column in ("parts", "metadata"))
