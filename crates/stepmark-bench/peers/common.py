"""What the programs of this directory share: the clock, the saver, and how figures are handed over.

Each program is started as `python PROGRAM DIRECTORY ARGUMENTS...`, does the same work as its counterpart in
`src/peers/ours.rs`, and prints its figures as one JSON list, in the order of the table.
"""

import json
import pathlib
import sqlite3
import statistics
import sys
import time

from langgraph.checkpoint.sqlite import SqliteSaver

DATABASE = "peer.db"


def arguments():
    """The directory to work in and the numbers behind it."""
    return pathlib.Path(sys.argv[1]), [int(word) for word in sys.argv[2:]]


def saver(directory):
    """LangGraph's own SQLite saver, as it configures its file."""
    return SqliteSaver(sqlite3.connect(directory / DATABASE, check_same_thread=False))


def timed(work):
    """How long `work` takes, in milliseconds."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


def stored_bytes(directory):
    """The bytes of the file and its log."""
    return sum(path.stat().st_size for path in directory.glob(DATABASE + "*") if not path.name.endswith("-shm"))


def config(thread, steps=25):
    """The thread, and how many super-steps a run of it may take."""
    return {"configurable": {"thread_id": thread}, "recursion_limit": steps + 5}


def median(figures):
    """The middle of some figures."""
    return statistics.median(figures)


def report(figures):
    """Hands the figures over."""
    print(json.dumps(figures))
