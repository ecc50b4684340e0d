"""Cost rules of other packages: the entry-point group `efficiency_cli.costs`.

An entry point names a module whose import registers rules with @cost. They are looked for once, when
an operator without a rule is met, and not before: looking through installed packages takes time.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from efficiency_cli.errors import EffcliError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "efficiency_cli.costs"


class PluginError(EffcliError):
    """A package with cost rules that cannot be loaded."""


@cache
def load_plugins() -> None:
    """Import every module of the group. Raises PluginError naming the package of one that fails."""
    from importlib.metadata import entry_points

    for point in sorted(entry_points(group=GROUP), key=lambda p: (p.name, p.value)):
        _load(point)


def _load(point: EntryPoint) -> None:
    try:
        point.load()
    except (Exception, SystemExit) as error:  # whatever a foreign module does when it is imported
        package = point.dist.name if point.dist else point.name
        raise PluginError(
            f"the cost rules of the package '{package}' cannot be loaded: {type(error).__name__}: {error}",
            where=f"entry point '{point.name}' = {point.value} of the group {GROUP}",
            hint=f"update or remove the package: python -m pip uninstall {package}",
        ) from error
