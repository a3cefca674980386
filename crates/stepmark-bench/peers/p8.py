"""P8: CHECKPOINTS PAGE ROUNDS: milliseconds of the first page of a history, and of a fork in its middle with one step."""

import operator
from typing import Annotated, TypedDict

from langgraph.graph import END, START, StateGraph

import common


class Counter(TypedDict):
    steps: Annotated[int, operator.add]
    target: int


def main():
    directory, (checkpoints, page, rounds) = common.arguments()
    graph = StateGraph(Counter)
    graph.add_node("tick", lambda counter: {"steps": 1})
    graph.add_edge(START, "tick")
    graph.add_conditional_edges(
        "tick", lambda counter: "tick" if counter["steps"] < counter["target"] else END, ["tick", END]
    )
    app = graph.compile(checkpointer=common.saver(directory))
    thread = common.config("long", checkpoints)
    # The input is stored as two checkpoints: as it came, and before the first node.
    app.invoke({"target": checkpoints - 2}, thread, durability="sync")

    def read():
        found = list(app.get_state_history(thread, limit=page))
        assert len(found) == page

    middle = next(
        state for state in app.get_state_history(thread) if state.values.get("steps") == checkpoints // 2
    )

    def fork():
        target = {"target": checkpoints // 2 + 1}
        forked = app.invoke(target, middle.config, durability="sync")
        assert forked["steps"] == checkpoints // 2 + 1

    common.report([common.median([common.timed(work) for _ in range(rounds)]) for work in (read, fork)])


main()
