"""What a pickle becomes here: names, and objects that only remember what they were built from.

A pickle is a program; `restricted_pickle` runs it with nothing but these on its stack. A `GlobalName` is never looked
up, and calling one only records the call, so no file can reach code that is not in this package.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["GlobalName", "Inert", "PickledKey", "attribute", "is_refused", "plain_key", "plain_text"]


@dataclass(frozen=True)
class GlobalName:
    """A name that the pickle refers to, `module` and `name` as written; nothing is imported."""

    module: str
    name: str

    @property
    def full(self) -> str:
        """Dotted, with the names of Python 2 in their Python 3 form."""
        module = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(self.module, self.module)
        return f"{module}.{self.name}"

    def __str__(self) -> str:
        return ascii(self.full[:100])[1:-1]


@dataclass(eq=False, repr=False)
class Inert:
    """An object of a class that is not known here: what it was called with, its state and its content.

    Attributes:
        name: of the class or function that would have made it.
        args: the arguments of the call.
        state: what BUILD gave it, None if nothing did.
        items: what was set by key.
        elements: what was appended or added.
    """

    name: GlobalName
    args: tuple[Any, ...] = ()
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)
    elements: list[Any] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"Inert({self.name})"


@dataclass(eq=False, repr=False)
class PickledKey:
    """A key of a dict that is no plain value: hashed by identity, because hashing what a file nested can be slow."""

    value: Any


def plain_key(key: Any) -> Any:
    """A key as it is where it is plain, else one that is hashed by identity."""
    return key if key is None or isinstance(key, str | int | float | bytes) else PickledKey(key)


def attribute(value: Any, name: str) -> Any:
    """An attribute of an inert object, by its state; None where there is none."""
    state = value.state if isinstance(value, Inert) else value
    if isinstance(state, tuple) and len(state) == 2 and isinstance(state[0], dict):  # with the state of __slots__
        state = state[0]
    return state.get(name) if isinstance(state, dict) else None


def plain_text(value: Any) -> str:
    """A value for an error message, short; containers only by their type, because their text may be endless."""
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return ascii(value)[:60]
    return f"an object of {value.name}" if isinstance(value, Inert) else f"a {type(value).__name__}"


# Names that only an attack has in a pickle. Nothing that a pickle names is ever called here, so these would be
# harmless; a user should still learn that the file was made to run code elsewhere.
_LISTS = {
    # Whole modules, all of which start programs, load code, or open files and connections.
    "modules": """
        os posix nt ntpath posixpath subprocess _posixsubprocess commands popen2 pty sys runpy socket _socket ssl
        shutil ctypes _ctypes cffi importlib imp pkgutil zipimport code codeop pdb bdb trace timeit profile cProfile
        pydoc doctest pickle _pickle cPickle dill cloudpickle joblib marshal shelve webbrowser pip ensurepip venv
        setuptools asyncio multiprocessing concurrent threading _thread signal http urllib urllib2 httplib requests
        aiohttp ftplib smtplib telnetlib xmlrpc tempfile io _io fileinput glob types inspect linecache sqlite3 site
        idlelib lib2to3 distutils platform resource gc tkinter
    """,
    "builtins": """
        eval exec execfile compile __import__ getattr setattr delattr open file input raw_input breakpoint globals
        locals vars apply reload exit quit help print map filter
    """,
    "names": """
        torch.load torch.save torch.compile torch.jit.load torch.serialization.load numpy.load numpy.save numpy.savez
        numpy.savetxt numpy.loadtxt numpy.genfromtxt numpy.fromfile numpy.memmap operator.attrgetter
        operator.methodcaller functools.reduce
    """,
    "prefixes": """
        torch.hub. torch.ops. torch.package. torch.utils.cpp_extension. torch._inductor. torch._dynamo.
        torch.distributed. numpy.f2py. numpy.testing. numpy.distutils.
    """,
}
_MODULES, _BUILTINS, _NAMES = (frozenset(_LISTS[kind].split()) for kind in ("modules", "builtins", "names"))
_PREFIXES = tuple(_LISTS["prefixes"].split())


def is_refused(full: str) -> bool:
    """Whether a dotted name is one that only an attack has."""
    head, _, rest = full.partition(".")
    if head == "builtins":
        return rest.split(".")[0] in _BUILTINS
    return head in _MODULES or full in _NAMES or full.startswith(_PREFIXES)
