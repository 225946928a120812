"""Makes boto3 clients and templates quickly: botocore and Airflow build again and again what is always equal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from copy import copy
from functools import cache
from typing import Any
from unittest.mock import patch

from botocore.client import ClientCreator
from botocore.endpoint_provider import EndpointProvider
from botocore.handlers import BUILTIN_HANDLERS
from botocore.hooks import BaseEventHooks, EventAliaser, HierarchicalEmitter, NodeList, _PrefixTrie
from botocore.httpsession import create_urllib3_context
from botocore.loaders import Loader, create_loader
from botocore.model import ServiceModel
from botocore.session import Session
from jinja2 import Environment


@contextmanager
def clients_are_made_quickly() -> Iterator[None]:
    """Share between clients what does not depend on the client."""
    with ExitStack() as patches:
        for owner, name, replacement in (
            (Session, "_register_builtin_handlers", _shared_handlers()),
            # botocore inspects the signature of each of its own hundreds of handlers.
            (BaseEventHooks, "_verify_accept_kwargs", lambda hooks, handler: None),
            (EventAliaser, "_alias_event_name", _shared_aliases()),
            (_PrefixTrie, "__copy__", _copy),
            (_PrefixTrie, "append_item", _append_item),
            (_PrefixTrie, "remove_item", _remove_item),
            (ClientCreator, "_create_methods", _shared_methods()),
        ):
            patches.enter_context(patch.object(owner, name, replacement))
        patches.enter_context(patch("botocore.session.create_loader", _shared_loader()))
        patches.enter_context(patch("botocore.regions.EndpointProvider", _shared_endpoint_providers()))
        # No client of the tests speaks TLS.
        patches.enter_context(patch("botocore.httpsession.create_urllib3_context", cache(create_urllib3_context)))
        yield


@contextmanager
def templates_are_compiled_once() -> Iterator[None]:
    """Airflow renders each text of each task in a new environment, which compiles it; so does each report."""
    compile_source = Environment.compile
    compiled: dict[tuple[Any, ...], Any] = {}

    def compile_once(environment: Environment, source: Any, *arguments: Any, **options: Any) -> Any:
        settings = (type(environment), environment.finalize, environment.undefined, environment.trim_blocks)
        key = (*settings, source, arguments, *options.items())
        if key not in compiled:
            compiled[key] = compile_source(environment, source, *arguments, **options)
        return compiled[key]

    with patch.object(Environment, "compile", compile_once):
        yield


def _shared_loader() -> Any:
    """Each session reads and parses the models of the services anew."""
    loaders = cache(create_loader)

    def create(*arguments: Any) -> Loader:
        loader = loaders(*arguments)
        loader.search_paths[:] = dict.fromkeys(loader.search_paths)  # each session of boto3 appends its own
        return loader

    return create


def _shared_endpoint_providers() -> Any:
    """Each client compiles the rules by which its service finds endpoints."""
    made: dict[int, tuple[Any, EndpointProvider]] = {}

    def provide(ruleset_data: Any, **others: Any) -> EndpointProvider:
        key = id(ruleset_data)
        if key not in made:  # kept with the rules, so that no other object gets their id
            made[key] = ruleset_data, EndpointProvider(ruleset_data, **others)
        return made[key][1]

    return provide


def _shared_aliases() -> Any:
    """Each session and each client looks for the aliases of the same events."""
    aliases = cache(EventAliaser(None)._alias_event_name)

    def alias(aliaser: EventAliaser, name: str) -> str:
        return aliases(name)

    return alias


def _shared_methods() -> Any:
    """Each client has a class of its own, with a method for each operation of the service."""
    create_methods = ClientCreator._create_methods
    made: dict[tuple[str, str], dict[str, Any]] = {}

    def create(creator: ClientCreator, model: ServiceModel) -> dict[str, Any]:
        key = model.service_name, model.api_version
        if key not in made:
            made[key] = create_methods(creator, model)
        return dict(made[key])

    return create


def _shared_handlers() -> Any:
    """Each session registers hundreds of handlers, which are the same for all."""
    register_handlers = Session._register_builtin_handlers
    emitters: dict[int, HierarchicalEmitter] = {}

    def register(session: Session, events: EventAliaser) -> None:
        count = len(BUILTIN_HANDLERS)  # moto adds one when it is imported
        if count in emitters:
            vars(events._emitter).update(vars(copy(emitters[count])))
        else:
            register_handlers(session, events)
            emitters[count] = copy(events._emitter)

    return register


_copy_trie = _PrefixTrie.__copy__
_remove_item_from_trie = _PrefixTrie.remove_item


def _copy(trie: _PrefixTrie) -> _PrefixTrie:
    """
    Copy the handlers of an emitter in no time: both tries share their nodes, which are never changed.

    botocore copies all handlers of a session for each client, to add a few.
    """
    new = type(trie)()
    new._root = trie._root
    return new


def _append_item(trie: _PrefixTrie, key: str, value: Any, section: int = 1) -> None:
    """Replace the nodes on the way to an item."""
    trie._root = node = {**trie._root, "children": {**trie._root["children"]}}
    for part in key.split("."):
        old = node["children"].get(part, {"chunk": part, "values": None, "children": {}})
        node["children"][part] = node = {**old, "children": {**old["children"]}}
    lists = [list(values) for values in node["values"] or ([], [], [])]
    lists[section].append(value)
    node["values"] = NodeList(*lists)


def _remove_item(trie: _PrefixTrie, key: str, value: Any) -> None:
    """Remove an item from a trie that shares no nodes; this is rare."""
    trie._root = _copy_trie(trie)._root
    _remove_item_from_trie(trie, key, value)
