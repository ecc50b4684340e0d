"""onnxruntime: the only place where it is imported. Sessions, one run of them, and what it says when it refuses."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from efficiency_cli.errors import ModelError, UsageError, did_you_mean

INSTALL = "install it: pip install 'effcli[measure]'"
_SUFFIX = "ExecutionProvider"
CPU = f"CPU{_SUFFIX}"
# [ONNXRuntimeError] : 1 : FAIL : Load model from x.onnx failed:…
_PREFIX = re.compile(r"^\s*\[ONNXRuntimeError\]\s*:\s*\d+\s*:\s*[A-Z_]+\s*:\s*")
# onnxruntime puts the place in its own sources before what it says
_PLACE = re.compile(r"\S*\.(?:cc|h|cpp):\d+ .*?(?=[A-Z][a-z])")
_LONGEST_REASON = 400
# the quietest of its levels: what it refuses is raised, and told once
_FATAL = 4


class Settings(Struct, frozen=True):
    """How networks are run. `provider` is onnxruntime's name for one; `threads` 0 leaves their number to it."""

    provider: str = CPU
    threads: int = 0
    optimized: bool = True
    config: Mapping[str, str] = field(default_factory=dict)


def library() -> Any:
    """The module. Raises UsageError where it is not installed."""
    try:
        import onnxruntime
    except ImportError:
        raise UsageError("measuring needs onnxruntime", hint=INSTALL) from None
    return onnxruntime


def version() -> str:
    return str(library().__version__)


def provider_named(name: str | None) -> str:
    """'cpu' or 'CPUExecutionProvider' -> the latter; the processor unless named. Raises UsageError for others."""
    if name is None:
        return CPU
    there = {p.removesuffix(_SUFFIX).lower(): p for p in library().get_available_providers()}
    found: str | None = there.get(name.removesuffix(_SUFFIX).lower())
    if found is None:
        raise UsageError(
            f"onnxruntime has no provider '{name}' here",
            where=f"it has: {', '.join(there)}",
            hint=did_you_mean(name, there) or "choose one of these: --provider cpu",
        )
    return found


class Session:
    """A network that can be run. `files` are contents of external data, by location."""

    def __init__(
        self,
        model: str | bytes,
        settings: Settings,
        *,
        files: Mapping[str, Any] | None = None,
        name: str = "",
        profiled: bool = False,
    ) -> None:
        """Raises ModelError with onnxruntime's own reason where it refuses the model."""
        module = library()
        self.name = name or (model if isinstance(model, str) else "the model")
        options = _options(module, settings)
        if files:
            _give(options, files)
        self._folder = tempfile.TemporaryDirectory(prefix="effcli-") if profiled else None
        if self._folder is not None:
            options.enable_profiling = True
            options.profile_file_prefix = os.path.join(self._folder.name, "profile")
        try:
            self._session = module.InferenceSession(model, options, providers=_with_fallback(settings.provider))
        except Exception as error:
            self.close()
            raise refused(self.name, error) from error

    @property
    def inputs(self) -> Sequence[str]:
        return [i.name for i in self._session.get_inputs()]

    def runner(self, feeds: Mapping[str, Any]) -> Callable[[], object]:
        """A function that runs the network once, with nothing else in it. Raises what `refused` makes of errors."""
        run, given = self._session.run, dict(feeds)
        try:
            run(None, given)
        except Exception as error:
            raise refused(self.name, error) from error
        return lambda: run(None, given)

    def profile(self) -> str:
        """The profile so far, as JSON; nothing is added to it afterwards."""
        return Path(self._session.end_profiling()).read_text(encoding="utf-8")

    def close(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()


def _with_fallback(provider: str) -> list[str]:
    return [provider] if provider == CPU else [provider, CPU]


def _options(module: Any, settings: Settings) -> Any:
    options = module.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL
    if not settings.optimized:
        options.graph_optimization_level = module.GraphOptimizationLevel.ORT_DISABLE_ALL
    for key, value in settings.config.items():
        options.add_session_config_entry(key, value)
    return options


def _give(options: Any, files: Mapping[str, Any]) -> None:
    give = getattr(options, "add_external_initializers_from_files_in_memory", None)
    if give is None:
        raise UsageError(
            f"onnxruntime {version()} takes no weights from memory",
            hint="update it: pip install -U onnxruntime",
        )
    give(list(files), list(files.values()), [len(content) for content in files.values()])


def refused(name: str, error: Exception) -> ModelError:
    """What onnxruntime says about a model that it does not run, in one or two lines."""
    reason = " ".join(_PREFIX.sub("", str(error)).split())
    reason = _PLACE.sub("", reason)
    if len(reason) > _LONGEST_REASON:
        reason = f"{reason[: _LONGEST_REASON // 2]} … {reason[-_LONGEST_REASON // 2 :]}"
    hint = "see whether a newer one does: pip install -U onnxruntime"
    if "external data" in reason.lower() or "external_data" in reason.lower():
        hint = "if its weights are not there, invent them: --random-weights"
    return ModelError(f"onnxruntime {version()} does not run {name}", where=reason, hint=hint)
