"""P7: TASKS ROUNDS: milliseconds of a run that fans out to so many no-op tasks."""

from typing import TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

import common


class Nothing(TypedDict):
    unused: bool


def main():
    directory, (tasks, rounds) = common.arguments()
    graph = StateGraph(Nothing)
    graph.add_node("split", lambda nothing: {"unused": False})
    graph.add_node("leaf", lambda number: None)
    graph.add_edge(START, "split")
    graph.add_conditional_edges("split", lambda nothing: [Send("leaf", number) for number in range(tasks)], ["leaf"])
    graph.add_edge("leaf", END)
    app = graph.compile(checkpointer=common.saver(directory))

    def run(number):
        app.invoke({"unused": True}, common.config(f"t{number}"), durability="sync")

    common.report([common.median([common.timed(lambda: run(number)) for number in range(rounds)])])


main()
