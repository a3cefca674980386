"""P12: SESSIONS WORK_MS: milliseconds added to a super-step at p50 and p99, then how many sessions failed."""

import asyncio
import math
import operator
import time
from typing import Annotated, TypedDict

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph

import common

STEPS = 3


class Session(TypedDict):
    number: int
    answers: Annotated[list, operator.add]


class Log:
    """When each node of each session ended and what followed it began."""

    def __init__(self, sessions, work):
        self.sessions, self.work = sessions, work
        self.ended = [None] * sessions
        self.gaps = []

    def follow(self, session):
        if self.ended[session] is not None:
            self.gaps.append((time.perf_counter() - self.ended[session]) * 1e3)
            self.ended[session] = None

    def wait(self, session, step):
        place = (session * STEPS + step) * 2654435769 % 2**32
        return self.work * (0.5 + place / (2**32 - 1))

    def node(self, step):
        async def work(state):
            session = state["number"]
            self.follow(session)
            await asyncio.sleep(self.wait(session, step))
            self.ended[session] = time.perf_counter()
            return {"answers": [f"answer {step} of session {session}"]}

        return work


async def sessions(count, work, saver):
    log = Log(count, work)
    graph = StateGraph(Session)
    names = ["first", "second", "third"]
    for step, name in enumerate(names):
        graph.add_node(name, log.node(step))
    for start, end in zip([START, *names], [*names, END]):
        graph.add_edge(start, end)
    app = graph.compile(checkpointer=saver)

    async def run(session):
        await asyncio.sleep(work * session / count)
        options = {"durability": "sync"} if saver else {}
        try:
            await app.ainvoke({"number": session}, common.config(f"session {session}"), **options)
            return 0
        except Exception:
            return 1
        finally:
            log.follow(session)

    failed = sum(await asyncio.gather(*(run(session) for session in range(count))))
    return sorted(log.gaps), failed


def percentile(figures, percent):
    return figures[max(math.ceil(len(figures) * percent / 100) - 1, 0)]


async def main():
    directory, (count, work_ms) = common.arguments()
    alone, failed_alone = await sessions(count, work_ms / 1e3, None)
    async with AsyncSqliteSaver.from_conn_string(str(directory / common.DATABASE)) as saver:
        stored, failed = await sessions(count, work_ms / 1e3, saver)
    base = percentile(alone, 50)
    common.report([percentile(stored, 50) - base, percentile(stored, 99) - base, failed_alone + failed])


asyncio.run(main())
