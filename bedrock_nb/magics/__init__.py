"""Magics for IPython: ``%load_ext bedrock_nb`` gives ``%%converse``, ``%converse`` and ``%bedrock``.

Strategy: `load` puts three things into a shell: one object with the magics, a matcher for the Tab key, and a
transformer for prompts that end in a question mark. `unload` takes out just these. Loading again begins with
unloading, so nothing is there twice.
"""

from __future__ import annotations

from typing import Any

from bedrock_nb.magics.asking import Asking
from bedrock_nb.magics.commands import OPTIONS, Commands
from bedrock_nb.magics.completing import IDENTIFIER, matcher

__all__ = ["load", "unload"]

#: Where a shell's registry keeps our object: IPython takes the name of its class.
_NAME = Commands.__name__


def load(ip: Any) -> None:
    """Add the magics and their completions to a shell.

    Parameters
    ----------
    ip : IPython.core.interactiveshell.InteractiveShell
    """
    unload(ip)
    commands = Commands(shell=ip)
    ip.register_magics(commands)
    ip.Completer.custom_matchers.append(matcher(OPTIONS, commands.values(), {"bedrock": commands.words}))
    ip.input_transformer_manager.token_transformers.append(Asking)


def unload(ip: Any) -> None:
    """Take them away again; what is not there is not missed.

    Parameters
    ----------
    ip : IPython.core.interactiveshell.InteractiveShell
    """
    for magics in ip.magics_manager.magics.values():
        for name, magic in list(magics.items()):
            if _ours(getattr(magic, "__self__", None)):
                del magics[name]
    ip.magics_manager.registry.pop(_NAME, None)
    ip.configurables[:] = [one for one in ip.configurables if not _ours(one)]
    transformers = ip.input_transformer_manager.token_transformers
    transformers[:] = [one for one in transformers if one.__module__ != Asking.__module__]
    ip.Completer.custom_matchers[:] = [
        one for one in ip.Completer.custom_matchers if getattr(one, "matcher_identifier", "") != IDENTIFIER
    ]


def _ours(thing: Any) -> bool:
    """Whether this is the object of the magics; by name, for the module may have been reloaded."""
    return type(thing).__module__ == Commands.__module__
