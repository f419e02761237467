"""What bad readers and bad senders cost a gateway: memory, and other people's waiting.

    python -m bench.readers [--quick]

Each measurement has a gateway process of its own. Its resident memory is looked at every 20 ms while the crowd is
there, and the highest is reported beside what it was before.
"""

from bench.readers.measures import deaf_readers, heavy_bodies, held_back_bodies, readiness_crowd, replays, unread
from bench.reporting import main, row
from bench.worker.stage import Stage


async def report(stage: Stage, runs: int, quick: bool) -> None:
    megabytes = "{:+.1f}"
    row("40 deaf readers of a 16 MB answer, MB", [await deaf_readers(stage)], megabytes, "<= +8")
    row("20 replays of a 60 MB answer, all read, MB", [await replays(stage)], megabytes, "<= +32")
    now, later = await unread(stage)
    row("40 unread histories of 7 MB each, MB", [now], megabytes, "<= +96")
    row("  when they have been cut, MB", [later], megabytes)
    now, later = await unread(stage, "/export")
    row("40 unread exports of 7 MB each, MB", [now], megabytes, "<= +32")
    row("  when they have been cut, MB", [later], megabytes)
    strangers, known = await held_back_bodies(stage)
    row("1,000 held-back webhook bodies of 1 MB for unknown operations, MB", [strangers], megabytes, "<= +64")
    row("1,000 held-back webhook bodies of 1 MB for one that waits, forged, MB", [known], megabytes, "<= +64")
    row(
        "ten bodies of 4 MB of empty arrays: longest wait of others, ms", [await heavy_bodies(stage)], "{:.0f}", "<= 50"
    )
    row("600 /readyz at once: answers that were red", [await readiness_crowd(stage)], "{:.0f}", "0")


if __name__ == "__main__":
    main("bench.readers", {"readers": report}, runs=1)
