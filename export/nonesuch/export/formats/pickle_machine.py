"""The machine that runs the opcodes of a pickle: a stack, marks, a memo, and a position in the file.

Its objects are never called or looked up, and only plain keys are hashed. Time and memory are bounded by the length of
the file and the number of opcodes: no opcode allocates a size that the file only claims, and the total size of copies
that stand-ins make of their arguments is limited.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from nonesuch.engine.errors import CheckpointError

from .inert import GlobalName, Inert, is_refused, plain_key, plain_text
from .read_limits import ReadLimits
from .rebuilders import COPYING, rebuild, set_state

_COPIED_BYTES = 4096  # longer byte strings stay views of the file
_STOP = 0x2E
_DAMAGED = "the pickle is damaged"


class PickleMachine:
    """One run over one pickle; `pickle_opcodes` defines the opcodes."""

    def __init__(
        self,
        data: memoryview,
        label: str,
        limits: ReadLimits,
        start: int,
        persistent_load: Callable[[Any], Any] | None,
    ) -> None:
        self.data, self.label, self.limits, self.position = data, label, limits, start
        self.persistent_load = persistent_load
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.names: dict[tuple[str, str], GlobalName] = {}
        self.copies_left = len(data)

    def run(self, actions: Mapping[int, Callable[[PickleMachine], Any]]) -> Any:
        """Run until STOP; return the top of the stack.

        Raises:
            CheckpointError: the pickle is damaged, refused, or beyond the limits.
        """
        for _ in range(self.limits.opcodes):
            code = self.take(1)[0]
            if code == _STOP:
                return self.pop()
            action = actions.get(code)
            if action is None:
                self.fail(f"byte {code:#04x} is not a pickle opcode")
            try:
                action(self)
            except (IndexError, KeyError, ValueError, OverflowError, struct.error) as error:
                # A missing entry of the stack or memo, or an invalid number or text.
                self.fail(_DAMAGED, error)
        raise CheckpointError(f"{self.label}: the pickle has more than {self.limits.opcodes} opcodes")

    def fail(self, what: str, cause: Exception | None = None) -> NoReturn:
        """Raise CheckpointError with the position."""
        raise CheckpointError(f"{self.label}: {what}, at byte {self.position}") from cause

    # Reading

    def take(self, count: int) -> memoryview:
        """Return a view of the next bytes."""
        end = self.position + count
        if end > len(self.data):
            self.fail(f"the file is truncated: {count} bytes are needed, {len(self.data) - self.position} are left")
        piece = self.data[self.position : end]
        self.position = end
        return piece

    def unsigned(self, width: int) -> int:
        """Read an unsigned number of `width` bytes."""
        return int.from_bytes(self.take(width), "little")

    def line(self) -> bytes:
        """Read to the end of the line, in growing steps, so that many short lines cost little."""
        step = 256
        while True:
            window = bytes(self.data[self.position : self.position + step])
            length = window.find(b"\n")
            if length >= 0:
                self.position += length + 1
                return window[:length]
            if len(window) < step:
                self.fail("the file is truncated: a line of the pickle has no end")
            step *= 8

    def blob(self, width: int) -> bytes | memoryview:
        """Read a byte string after its length."""
        piece = self.take(self.unsigned(width))
        return piece if len(piece) > _COPIED_BYTES else bytes(piece)

    def text(self, width: int) -> str:
        """Read a text after its length."""
        return str(self.take(self.unsigned(width)), "utf-8", "surrogatepass")

    def long(self, width: int) -> int:
        """Read a signed integer after its length."""
        length = self.unsigned(width)
        if length > self.limits.long_bytes:
            self.fail(f"an integer of {length} bytes, which no checkpoint needs")
        return int.from_bytes(self.take(length), "little", signed=True)

    # The stack

    def push(self, value: Any) -> None:
        """Push a value on the stack."""
        self.stack.append(value)

    def top(self) -> Any:
        """Return the top value; it must lie above the last mark."""
        if self.marks and self.marks[-1] == len(self.stack):
            self.fail(_DAMAGED)
        return self.stack[-1]

    def pop(self) -> Any:
        """Remove and return the top value."""
        value = self.top() if self.stack else self.fail(_DAMAGED)
        del self.stack[-1]
        return value

    def pop_mark(self) -> list[Any]:
        """Remove the last mark and the values above it; return the values."""
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def pop_or_mark(self) -> None:
        """Remove the last value or mark."""
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.pop()

    # Objects

    def name(self, module: Any, name: Any) -> GlobalName:
        """Return a name that the pickle refers to.

        Raises:
            CheckpointError: the name appears only in attacks.
        """
        if not (isinstance(module, str) and isinstance(name, str)):
            self.fail("a name of the pickle is not a string")
        known = self.names.get((module, name))
        if known is None:
            known = self.names[module, name] = GlobalName(module, name)
            if is_refused(known.full):
                raise CheckpointError(
                    f"{self.label}: the pickle names {known}, which no checkpoint needs: the file is made to run code; "
                    "nothing was executed"
                )
        return known

    def call(self, callee: Any, args: Any) -> None:
        """Push the stand-in of a call."""
        if not isinstance(callee, GlobalName) or not isinstance(args, tuple):
            self.fail(f"the pickle calls {plain_text(callee)}, which is not the name of a class")
        if callee.full in COPYING and args and isinstance(args[0], str | dict | list | tuple):
            self.copies_left -= len(args[0])
            if self.copies_left < 0:
                self.fail("the pickle copies more data than the file contains")
        self.push(rebuild(callee, args, self.label))

    def reduce(self) -> None:
        """REDUCE and NEWOBJ."""
        args, callee = self.pop(), self.pop()
        self.call(callee, args)

    def new_with_keywords(self) -> None:
        """NEWOBJ_EX; the keywords become the state of an inert object."""
        keywords, args, callee = self.pop(), self.pop(), self.pop()
        self.call(callee, args)
        if isinstance(self.top(), Inert):
            self.top().state = keywords

    def instance(self, callee: Any, args: list[Any]) -> None:
        """INST and OBJ."""
        self.call(callee, tuple(args))

    def build(self) -> None:
        """BUILD."""
        state = self.pop()
        set_state(self.top(), state, self.label)

    def global_from_stack(self) -> None:
        """STACK_GLOBAL."""
        name, module = self.pop(), self.pop()
        self.push(self.name(module, name))

    def global_from_text(self) -> GlobalName:
        """The operands of GLOBAL and INST."""
        return self.name(str(self.line(), "utf-8"), str(self.line(), "utf-8"))

    def persistent(self, identity: Any) -> None:
        """PERSID and BINPERSID."""
        if self.persistent_load is None:
            self.fail("the pickle refers to data outside of it")
        self.push(self.persistent_load(identity))

    # Containers

    def set_items(self, pairs: list[Any]) -> None:
        """Set alternating keys and values."""
        target = self.top()
        if isinstance(target, Inert):
            target = target.items
        if not isinstance(target, dict):
            self.fail(f"the pickle sets items of {plain_text(target)}")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            target[plain_key(key)] = value

    def extend(self, items: list[Any]) -> None:
        """Append to a list or set."""
        target = self.top()
        if isinstance(target, Inert):
            target = target.elements
        if not isinstance(target, list):
            self.fail(f"the pickle appends to {plain_text(target)}")
        target.extend(items)

    def make_dict(self) -> None:
        """DICT."""
        pairs = self.pop_mark()
        self.push({})
        self.set_items(pairs)

    def make_tuple(self, count: int) -> None:
        """TUPLE1 to TUPLE3."""
        items = [self.pop() for _ in range(count)]
        self.push(tuple(reversed(items)))
