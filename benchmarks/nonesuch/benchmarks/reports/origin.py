"""Where numbers come from, in one line, and whether they may be quoted."""

from __future__ import annotations

from ..measurement import Result

__all__ = ["NOTE", "doubts", "environment_rows", "left_out", "origin_line"]

NOTE = "note:"
"""Starts a flag that a reader should know, and that does not disqualify a run."""
_RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "openvino", "torch", "tensorrt")


def doubts(result: Result, suite: str | None = None) -> list[str]:
    """The flags that disqualify a run; with a suite, those that do not speak of another suite alone."""
    others = {one.suite for one in result.measurements} - {suite}
    return [
        flag
        for flag in result.flags
        if not flag.startswith(NOTE)
        and (suite is None or not any(flag.startswith((f"{other}:", f"{other},")) for other in others))
    ]


def left_out(result: Result, suite: str) -> list[str]:
    """What a suite did not measure and why, subjects with one reason together."""
    reasons: dict[str, dict[str, None]] = {}
    for one in result.skipped:
        if one.suite == suite:
            reasons.setdefault(one.reason, {})[one.subject] = None
    return [f"{'; '.join(subjects)}: {reason}" for reason, subjects in reasons.items()]


def origin_line(result: Result, suite: str | None = None) -> str:
    """The machine, the software, the day and the settings; and the doubts, where there are any. Markdown."""
    known = result.environment
    machine = [known.get("cpu", "an unknown processor")]
    if "cores" in known:
        machine.append(f"{known['cores']} cores")
    if known.get("gpus", "none") != "none" and not known["gpus"].startswith("unknown"):
        machine.append(known["gpus"])
    if known.get("virtual_machine") == "yes":
        machine.append("a virtual machine")
    software = [f"Python {known['python'].split()[-1]}"] if "python" in known else []
    software += [f"{name} {known[name]}" for name in _RUNTIMES if name in known]
    settings = "quick settings, " if result.quick else ""
    line = (
        f"Measured on {', '.join(machine)}; {', '.join(software) or 'unknown software'}; model {result.model}, "
        f"{result.resolution}x{result.resolution}; {settings}{result.created[:10]}, by `{result.command}`."
    )
    found = doubts(result, suite)
    return f"{line} **Not a clean run: {'; '.join(found)}.**" if found else line


def environment_rows(result: Result) -> list[list[str]]:
    """The environment, name and value, after the run's own identity."""
    run = {
        "model": f"{result.model}, {result.resolution}x{result.resolution}",
        "model id": result.model_id,
        "created": result.created,
        "command": result.command,
        "settings": "quick" if result.quick else "full",
    }
    return [[name.replace("_", " "), value] for name, value in (run | result.environment).items()]
