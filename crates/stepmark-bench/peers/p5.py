"""P5: TURNS BYTES WINDOW POINT...: milliseconds per turn up to each point, then the bytes stored."""

import operator
from typing import Annotated, TypedDict

from langgraph.graph import END, START, StateGraph

import common


class Chat(TypedDict):
    messages: Annotated[list, operator.add]


def message(role, number, size):
    return {"role": role, "content": f"{role} {number}: ".ljust(size, "x")}


def main():
    directory, (turns, size, window, *points) = common.arguments()
    graph = StateGraph(Chat)
    graph.add_node("answer", lambda chat: {"messages": [message("assistant", len(chat["messages"]), size)]})
    graph.add_edge(START, "answer")
    graph.add_edge("answer", END)
    saver = common.saver(directory)
    app = graph.compile(checkpointer=saver)

    def turn(number):
        ask = {"messages": [message("user", number, size)]}
        app.invoke(ask, common.config("talk"), durability="sync")

    times = [common.timed(lambda: turn(number)) for number in range(turns)]
    saver.conn.close()
    common.report([common.median(times[point - window : point]) for point in points] + [common.stored_bytes(directory)])


main()
