"""P6: BYTES STEPS: milliseconds of a step beside a value that never changes, then the bytes stored."""

import operator
from typing import Annotated, TypedDict

from langgraph.graph import END, START, StateGraph

import common


class Heavy(TypedDict):
    steps: Annotated[int, operator.add]
    target: int
    value: bytes


def main():
    directory, (size, steps) = common.arguments()
    graph = StateGraph(Heavy)
    graph.add_node("tick", lambda heavy: {"steps": 1})
    graph.add_edge(START, "tick")
    graph.add_conditional_edges("tick", lambda heavy: "tick" if heavy["steps"] < heavy["target"] else END, ["tick", END])
    saver = common.saver(directory)
    app = graph.compile(checkpointer=saver)

    def run(value):
        app.invoke(value, common.config("heavy", steps), durability="sync")

    run({"target": 1, "value": bytes(index % 251 for index in range(size))})
    took = common.timed(lambda: run({"target": 1 + steps}))
    saver.conn.close()
    common.report([took / steps, common.stored_bytes(directory)])


main()
