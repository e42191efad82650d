"""What each model can do, asked before a request is sent.

Strategy: the facts are the `catalogue`'s and what a request needs is told by `needs`; this module compares
the two. Only what is known to fail is refused: a model that is not in the catalogue, or an ability that is
not known of it, passes, for the catalogue is older than the service. Models that answer in text have short
names, derived from their ids (``nova_lite``, ``claude_sonnet_4_5``), which are attributes of this module, so
that the Tab key completes them.

    >>> from bedrock_nb import models
    >>> models.claude_sonnet_4_5
    'us.anthropic.claude-sonnet-4-5-20250929-v1:0'
    >>> models.supports("meta.llama4-scout-17b-instruct-v1:0", "streaming_tools")
    False
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from bedrock_nb.errors import CapabilityError, RequestError, without_accounts
from bedrock_nb.models.catalogue import (
    ABILITIES,
    LIMITS,
    Model,
    Profile,
    all_models,
    check_names,
    date,
    find,
    forget,
    key_of,
    profile,
    profiles,
)
from bedrock_nb.models.catalogue import capabilities as _capabilities
from bedrock_nb.models.catalogue import learn as _learn
from bedrock_nb.models.identifiers import Identifier, parse
from bedrock_nb.models.needs import needs
from bedrock_nb.models.refreshing import Refreshed, refresh

__all__ = [
    "ABILITIES",
    "LIMITS",
    "Identifier",
    "Model",
    "Profile",
    "Refreshed",
    "all_models",
    "capabilities",
    "check",
    "find",
    "forget",
    "learn",
    "needs",
    "parse",
    "profile",
    "profiles",
    "refresh",
    "require",
    "resolve",
    "supports",
    "table",
]

_LOG = logging.getLogger("bedrock_nb.models")
_LOCK = threading.Lock()
#: Identifiers about which the log has its note.
_noted: set[str] = set()


# -- questions -------------------------------------------------------------------------------------


def capabilities(identifier: str) -> Mapping[str, Any]:
    """What a model can do, as far as is known.

    Parameters
    ----------
    identifier : str
        Any identifier of a model, or a short name.

    Returns
    -------
    mapping
        Each of `ABILITIES` to True or False, each of `LIMITS` to a number of tokens; None where
        nothing is known.
    """
    return _capabilities(resolve(identifier))


def supports(identifier: str, *abilities: str) -> bool | None:
    """Whether a model can do all of this.

    Parameters
    ----------
    identifier : str
        Any identifier of a model, or a short name.
    *abilities : str
        Names of `ABILITIES`.

    Returns
    -------
    bool or None
        None: as far as is known it can, but of some nothing is known.

    Raises
    ------
    RequestError
        There is no such ability.
    """
    check_names(abilities, ABILITIES)
    known = capabilities(identifier)
    values = [known[ability] for ability in abilities]
    return False if False in values else None if None in values else True


def require(identifier: str, *abilities: str) -> None:
    """Refuse a model that is known not to be able to do all of this.

    What is not known passes; about a model that is not in the catalogue, the log ``bedrock_nb.models`` gets
    one note, at level INFO.

    Parameters
    ----------
    identifier : str
        Any identifier of a model, or a short name.
    *abilities : str
        Names of `ABILITIES`.

    Raises
    ------
    CapabilityError
        It cannot. The message names models that can.
    RequestError
        There is no such ability.
    """
    check_names(abilities, ABILITIES)
    known, shown = capabilities(identifier), without_accounts(str(identifier))
    missing = [ability for ability in abilities if known[ability] is False]
    if missing:
        others = _others(resolve(identifier), abilities)
        raise CapabilityError(
            f"{shown} cannot {' or '.join(ABILITIES[ability] for ability in missing)}.",
            remedy=f"{others} {_overrule(shown, dict.fromkeys(missing, True))}".strip(),
            model=shown,
            capability=missing[0],
        )
    if any(known[ability] is None for ability in abilities) and find(resolve(identifier)) is None:
        _note(shown)


def check(kwargs: Mapping[str, Any]) -> None:
    """Refuse a request that needs something its model is known not to be able to do.

    Parameters
    ----------
    kwargs : mapping
        Arguments of ``converse_stream``.

    Raises
    ------
    CapabilityError
        The model cannot do what the request needs (see `needs`), or not write as many tokens.
    """
    model = kwargs.get("modelId")
    if not isinstance(model, str):
        return  # boto3 says so
    require(model, *needs(kwargs))
    inference = kwargs.get("inferenceConfig")
    asked = inference.get("maxTokens") if isinstance(inference, Mapping) else None
    most = capabilities(model)["max_output_tokens"]
    if type(asked) is int and most is not None and asked > most:
        shown = without_accounts(model)
        raise CapabilityError(
            f"{shown} writes at most {most} tokens, and maxTokens is {asked}.",
            remedy=f"Ask for at most {most}. {_overrule(shown, {'max_output_tokens': asked})}",
            model=shown,
            capability="max_output_tokens",
        )


def learn(identifier: str, **known: Any) -> None:
    """Correct or add to what is known of a model, for this process.

    Parameters
    ----------
    identifier : str
        Any identifier or a short name; what a profile's model can do is learned for the model. An
        application inference profile does not say which model it means:
        ``learn(arn, **capabilities("nova_lite"))`` does.
    **known
        Abilities, each True, False or None (not known), and limits in tokens.

    Raises
    ------
    RequestError
        There is no such ability, or the value is of another kind.

    Examples
    --------
    >>> learn("acme.oracle-v1:0", tools=True, vision=False, max_output_tokens=4096)
    >>> supports("acme.oracle-v1:0", "tools"), supports("acme.oracle-v1:0", "prefill")
    (True, None)
    >>> forget()
    """
    global _short
    _learn(resolve(identifier), **known)
    if "text" in known:  # it may have a short name now, or none any more
        _short = _NONE


def _overrule(shown: str, known: Mapping[str, Any]) -> str:
    given = ", ".join([repr(shown), *(f"{name}={value!r}" for name, value in known.items())])
    return f"If the catalogue of {date()} is wrong, overrule it: bedrock_nb.models.learn({given})."


def _others(identifier: str, abilities: Iterable[str]) -> str:
    """Active models that can do all of this, newest first: of the same provider, or else one of each."""
    can = [
        (model.provider, name)
        for name, model_id in reversed(_aliases().items())
        if (model := find(model_id)) is not None
        and model.lifecycle.get("status") == "ACTIVE"
        and supports(model_id, *abilities)
    ]
    start = key_of(identifier).partition(".")[0]
    own = {model.provider for model in all_models() if model.id.partition(".")[0] == start}
    if same := [name for provider, name in can if provider in own]:
        return f"Of the same provider, these can: {', '.join(same[:4])}."
    others = {provider: name for provider, name in reversed(can) if provider != "bedrock_nb"}
    return f"Of other providers, these can: {', '.join(list(others.values())[:4])}." if others else ""


def _note(shown: str) -> None:
    with _LOCK:
        if shown in _noted:
            return
        _noted.add(shown)
    _LOG.info("%s is not in the catalogue of %s: taken as able to do what is asked.", shown, date())


# -- short names -----------------------------------------------------------------------------------

_VERSION = re.compile(r"(-20\d{6})?(-v\d+(:\w+)*|-\d+(:\w+)+)?$")
#: A name that tells nobody whose it is: ``r1``, ``v3_2``.
_BARE = re.compile(r"[a-zA-Z]{1,2}[\d_]+")
_NONE: tuple[tuple[Model, ...], dict[str, str], dict[str, str]] = ((), {}, {})
#: The models that short names were made for, these names, and names that models without text would have:
#: made again when models were learned.
_short = _NONE


def resolve(name: str) -> str:
    """The id that a short name stands for; everything else is returned unchanged.

    Parameters
    ----------
    name : str
        A short name such as ``"nova_lite"``, or an identifier. A fault of the embedded server that stands
        behind it stays there.

    Returns
    -------
    str

    Raises
    ------
    CapabilityError
        It would be the short name of a model that does not answer in text; such a model has none.
    RequestError
        It is no identifier, and almost a short name.
    """
    alias, at, fault = name.partition("@") if isinstance(name, str) else (name, "", "")
    if alias in _aliases():
        return f"{_aliases()[alias]}{at}{fault}"
    if isinstance(alias, str) and alias in _short[2]:
        require(_short[2][alias], "text")
    if (
        "_" in alias
        and not re.search(r"[.:/]", alias)
        and (near := get_close_matches(alias, _aliases(), n=2))
    ):
        raise RequestError(f"There is no model {alias!r}.", remedy=f"Did you mean {' or '.join(near)}?")
    return name


def table() -> list[dict[str, Any]]:
    """All models, one row each, with all that is known of them: ``pandas.DataFrame(models.table())``."""
    names = {key_of(model_id): name for name, model_id in _aliases().items()}
    return [
        {
            "id": model.id,
            "alias": names.get(model.id),
            "call_as": _called(model),
            "name": model.name,
            "provider": model.provider,
            "status": model.lifecycle.get("status"),
            "inputs": ", ".join(model.inputs),
            "outputs": ", ".join(model.outputs),
            **model.capabilities,
        }
        for model in all_models()
    ]


def _aliases() -> dict[str, str]:
    """Short name -> the id to call. Of several models of one name, the newest that is active."""
    global _short
    models, made, _ = _short
    if models is not all_models():
        models, made = all_models(), {}
        mute: dict[str, str] = {}
        for model in sorted(models, key=_age):
            if (called := _called(model)) is not None:
                (mute if model.capabilities["text"] is False else made)[_alias(model.id)] = called
        order = {_called(model): place for place, model in enumerate(models)}
        made = dict(sorted(made.items(), key=lambda item: order[item[1]]))
        _short = models, made, mute
    return made


def _alias(model_id: str) -> str:
    """An id without provider, date and version, as a name of Python; with provider if little is left."""
    provider, _, rest = model_id.partition(".")
    name = re.sub(r"\W", "_", _VERSION.sub("", rest or model_id))
    return f"{provider}_{name}" if rest and _BARE.fullmatch(name) else name


def _age(model: Model) -> tuple[bool, str]:
    return model.lifecycle.get("status") == "ACTIVE", model.lifecycle.get("startOfLifeTime", "")


def _called(model: Model) -> str | None:
    """The id that a request may name: that of a profile where there is one for the US, or must be one.

    A model itself is often there on demand in a region or two, its profile in all regions of the prefix.
    """
    if "us" not in model.prefixes and "ON_DEMAND" in model.inference:
        return model.id
    prefixes = sorted(model.prefixes, key=lambda prefix: (prefix != "us", prefix != "global"))
    return f"{prefixes[0]}.{model.id}" if prefixes else None


def __getattr__(name: str) -> str:
    if not name.startswith("_"):
        if name in _aliases():
            return _aliases()[name]
        near = get_close_matches(name, __dir__(), n=3)
        hint = f" Did you mean {' or '.join(near)}?" if near else " dir(models) has all names."
        raise AttributeError(f"There is no model or function {name!r} here.{hint}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    # Tables and classes are there, too, and nobody looks for them among models.
    return sorted({*(name for name in __all__ if name.islower()), *_aliases()})
