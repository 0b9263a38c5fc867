"""The objects of a restricted pickle: names, and records of calls that were not made.

A pickle is a program; `restricted_pickle` runs it with only these objects on its stack. A `GlobalName` is never looked
up, and calling one only records the call, so a file cannot reach code outside this package.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class GlobalName:
    """A name that the pickle refers to, `module` and `name` as written. Nothing is imported."""

    module: str
    name: str

    @property
    def full(self) -> str:
        """The dotted name, with Python 2 modules renamed as in Python 3."""
        module = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(self.module, self.module)
        return f"{module}.{self.name}"

    def __str__(self) -> str:
        return ascii(self.full[:100])[1:-1]


@dataclass(eq=False, repr=False)
class Inert:
    """A record of an object of an unknown class: arguments, state and content.

    Attributes:
        name: of the class or function that would have made it.
        args: the arguments of the call.
        state: set by BUILD, or None.
        items: values set by key.
        elements: values appended or added.
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
    """A dict key that is not a plain value: hashed by identity, because hashing nested content can be slow."""

    value: Any


def plain_key(key: Any) -> Any:
    """Return a plain key unchanged, and wrap any other in a `PickledKey`."""
    return key if key is None or isinstance(key, str | int | float | bytes) else PickledKey(key)


def attribute(value: Any, name: str) -> Any:
    """Return an attribute from the state of an inert object, or None."""
    state = value.state if isinstance(value, Inert) else value
    if isinstance(state, tuple) and len(state) == 2 and isinstance(state[0], dict):  # with the state of __slots__
        state = state[0]
    return state.get(name) if isinstance(state, dict) else None


def plain_text(value: Any) -> str:
    """Describe a value briefly for an error message; containers only by type, because their text may be endless."""
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return ascii(value)[:60]
    return f"an object of {value.name}" if isinstance(value, Inert) else f"a {type(value).__name__}"


# Names that appear in a pickle only in an attack. Nothing that a pickle names is called here, so they are harmless; the
# error tells the user that the file was made to run code elsewhere.
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
    """Whether a dotted name appears only in attacks."""
    head, _, rest = full.partition(".")
    if head == "builtins":
        return rest.split(".")[0] in _BUILTINS
    return head in _MODULES or full in _NAMES or full.startswith(_PREFIXES)
