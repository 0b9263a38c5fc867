"""Names that only an attack has in a pickle.

Nothing that a pickle names is ever called here, so these would be harmless; a user should still learn that the file in
hand was made to run code elsewhere. Every other unknown name becomes an inert object.
"""

from __future__ import annotations

__all__ = ["is_refused"]

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
