"""Finding tools: installed packages' entry points, and the files of a directory.

Guarantees: what cannot be loaded is logged as an error with its name, and stops nothing else. The order is the same at
every start: entry points by name, then files by name. Nothing that a loaded file prints gets into the log as it is.
"""

import importlib.util
import inspect
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from sluiceway.process.logs import get_logger

from tool_runner.tool.definition import AnyTool, FunctionTool, Tool

GROUP = "sluiceway.tools"
_PACKAGE = "sluiceway_tools_dir"


def discover(directory: Path | None) -> list[AnyTool]:
    """All tools of installed packages and, when given, of the directory."""
    return [*_installed(), *(_in_directory(directory) if directory is not None else ())]


def tools_of(found: Any, where: str) -> list[AnyTool]:
    """The tools that an object is or has: a tool, a class of one, a module, or a list of such.

    Raises TypeError where it is none of these.
    """
    if isinstance(found, Tool):
        return [found]
    if inspect.isclass(found) and issubclass(found, Tool):
        return [found()]
    if isinstance(found, ModuleType):
        return [one for member in _members(found) for one in tools_of(member, where)]
    if isinstance(found, Iterable):
        return [one for member in found for one in tools_of(member, where)]
    raise TypeError(f"{where} is {type(found).__name__}, and no tool")


def _installed() -> Iterator[AnyTool]:
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        yield from _loaded(f"entry point {entry.name}", lambda entry=entry: entry.load())


def _in_directory(directory: Path) -> Iterator[AnyTool]:
    for file in sorted(directory.glob("*.py")):
        if not file.name.startswith("_"):
            yield from _loaded(file.name, lambda file=file: _module_of(file))


def _loaded(where: str, load: Any) -> list[AnyTool]:
    try:
        found = tools_of(load(), where)
    except (Exception, SystemExit):  # noqa: BLE001 - a file may do anything, even leave
        get_logger().error("tools_not_loaded", where=where, exc_info=True)
        return []
    get_logger().info("tools_loaded", where=where, tools=[one.name for one in found])
    return found


def _module_of(file: Path) -> ModuleType:
    """Import a file under a name that no installed package has."""
    name = f"{_PACKAGE}.{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file.name} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pydantic looks up annotations by the module's name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _members(module: ModuleType) -> list[Any]:
    """The module's own tools, in the order of their definition: not what it imported, nor abstract classes, nor
    classes of which it has made a tool itself."""
    made = {type(member) for member in vars(module).values() if isinstance(member, Tool)}
    return [member for member in vars(module).values() if _is_own(member, module) and member not in made]


def _is_own(member: Any, module: ModuleType) -> bool:
    if isinstance(member, FunctionTool):
        return member.defined_in == module.__name__
    if inspect.isclass(member):
        return issubclass(member, Tool) and member.__module__ == module.__name__ and not inspect.isabstract(member)
    return isinstance(member, Tool)
