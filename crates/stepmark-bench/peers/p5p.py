"""P5p: TURNS BYTES WINDOW POINT... URL: milliseconds per turn up to each point, on a PostgreSQL server."""

import asyncio
import operator
import sys
import time
from typing import Annotated, TypedDict

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import END, START, StateGraph

import common


class Chat(TypedDict):
    messages: Annotated[list, operator.add]


def message(role, number, size):
    return {"role": role, "content": f"{role} {number}: ".ljust(size, "x")}


async def main():
    turns, size, window, *points = [int(word) for word in sys.argv[2:-1]]
    graph = StateGraph(Chat)
    graph.add_node("answer", lambda chat: {"messages": [message("assistant", len(chat["messages"]), size)]})
    graph.add_edge(START, "answer")
    graph.add_edge("answer", END)
    async with AsyncPostgresSaver.from_conn_string(sys.argv[-1]) as saver:
        await saver.setup()
        app = graph.compile(checkpointer=saver)
        times = []
        for number in range(turns):
            ask = {"messages": [message("user", number, size)]}
            start = time.perf_counter()
            await app.ainvoke(ask, common.config("talk"), durability="sync")
            times.append((time.perf_counter() - start) * 1e3)
    common.report([common.median(times[point - window : point]) for point in points])


asyncio.run(main())
