"""Every order in which the requests of several writers can reach the API server.

Equal states are visited once, and the orders that lead through them are counted. A crash of the
program may come before each of its requests, after it, and between a write and its answer.
"""

from dataclasses import replace

from castai_stack.access.entries import NAME
from castai_stack.access.protocol import AskCaller, Read, Send, Wait
from castai_stack.access.steps import carry_out, decide
from tests.support.aws_auth_model.store import Store
from tests.support.aws_auth_model.writers import Program, Tool


class Walk:
    """Visits every order, and checks every write of the program and every end."""

    def __init__(self, caller, check_write, check_end, *, crashes=0):
        self.caller = caller
        self.check_write = check_write
        self.check_end = check_end
        self.crashes = crashes
        self.states: dict[tuple, int] = {}
        """Number of orders from a state to the end."""
        self._requests: dict[tuple, object] = {}
        self._decisions: dict[tuple, object] = {}

    def decide(self, snapshots, order, caller, overrides=(), base=None):
        """Stand for `steps.decide`, each decision once."""
        key = (id(snapshots.copy), id(snapshots.live), id(order), id(base))
        if key not in self._decisions:
            self._decisions[key] = decide(snapshots, order, caller, overrides, base)
        return self._decisions[key]

    def orders(self, store: Store, writers: tuple, crashes: int) -> int:
        """Return the number of orders from here to the end."""
        key = (store.key(), tuple(writer.key for writer in writers), crashes)
        if key not in self.states:
            self.states[key] = self._count(store, writers, crashes)
        return self.states[key]

    def _count(self, store, writers, crashes):
        count = 0
        for number, writer in enumerate(writers):
            for after, moved, crashed in self._moves(store, writer, crashes):
                others = (*writers[:number], moved, *writers[number + 1 :])
                count += self.orders(after, others, crashes - crashed)
        if count:
            return count
        self.check_end(store, crashed=crashes < self.crashes)
        return 1

    def _moves(self, store, writer, crashes):
        """Yield the store after the writer's next request, the writer, and whether it crashed."""
        if writer.done:
            return
        if isinstance(writer, Tool):
            yield _tool_move(store, writer)
            return
        request = self._next_request(writer)
        restarted = Program(writer.order)
        if request is None:
            yield store, replace(writer, done=True, answers=()), False
        elif isinstance(request, Read):
            yield store, writer.after(store.get(request.name)), False
            if crashes:
                yield store, restarted, True
        else:
            after, done = store.apply(request.step)
            if done and request.step.name == NAME:
                self.check_write(store.get(NAME), after.get(NAME))
            yield after, writer.after(done), False
            if crashes:
                yield store, restarted, True
                yield after, restarted, True

    def _next_request(self, program: Program):
        """Return the request that follows the answers so far; None after the last one."""
        key = program.key
        if key not in self._requests:
            self._requests[key] = self._replay(program)
        return self._requests[key]

    def _replay(self, program: Program):
        procedure = carry_out(program.order, ())
        answers = iter(program.answers)
        answer = None
        while True:
            try:
                request = procedure.send(answer)
            except StopIteration:
                return None
            answer = fixed_answer(request, self.caller)
            if answer is NO_ANSWER:
                answer = next(answers, NO_ANSWER)
            if answer is NO_ANSWER:
                return request


NO_ANSWER = object()


def fixed_answer(request, caller):
    """Return the answer to a request that no other writer can change, or NO_ANSWER."""
    if isinstance(request, AskCaller):
        return caller
    if isinstance(request, Wait):
        return None
    if isinstance(request, Send) and request.dry:
        return True  # the write itself meets the conflict
    return NO_ANSWER


def _tool_move(store, tool):
    live = store.get(NAME)
    if not tool.has_read:
        return store, replace(tool, read=live, has_read=True), False
    if live is not tool.read:
        return store, replace(tool, read=None, has_read=False), False
    edited = tool.edited()
    after = store.set(NAME, dict(edited.data), dict(edited.annotations))
    return after, replace(tool, done=True, read=None), False
