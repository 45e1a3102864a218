"""A wrapped server's settings: the preset's defaults, overridden by the editor's, overridden by the user's for this server."""

from __future__ import annotations

from pathlib import Path

import msgspec

from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Json
from lsp_server.servers.plans import Plan

METHOD = "workspace/configuration"
CHANGED = "workspace/didChangeConfiguration"


class _Item(msgspec.Struct):
    section: str | None = None


class _Asked(msgspec.Struct):
    items: list[_Item]


def has_settings(plan: Plan) -> bool:
    """Whether the server's settings differ from the editor's."""
    return bool(plan.defaults or plan.given.settings)


def sections_of(params: msgspec.Raw) -> list[str]:
    """Return the sections that a workspace/configuration requests; "" means all settings. Raises Malformed."""
    return [item.section or "" for item in wire.read(params, _Asked).items]


def answer(plan: Plan, sections: list[str], reply: bytes) -> bytes:
    """Convert the editor's reply to workspace/configuration for this server. Raises Malformed."""
    members = wire.fields(reply)
    given = wire.as_array(wire.loads(members.get("result", msgspec.Raw(b"null"))))
    values = given + [None] * (len(sections) - len(given))
    settled = [settings(plan, section, value) for section, value in zip(sections, values, strict=False)]
    kept = {name: value for name, value in members.items() if name not in ("result", "error")}
    return wire.dumps({**kept, "result": settled})


def changed(plan: Plan, body: bytes | None) -> bytes | None:
    """Convert the editor's last didChangeConfiguration (None: none was sent) for this server. Returns None if nothing is to be sent."""
    if not has_settings(plan):
        return body
    params = None if body is None else wire.loads(wire.fields(body).get("params", msgspec.Raw(b"{}")))
    given = wire.as_object(params).get("settings")
    return wire.notification(CHANGED, {"settings": settings(plan, "", given)})


def of_sections(plan: Plan, sections: list[str], body: bytes | None) -> list[Json]:
    """Answer workspace/configuration from the editor's last didChangeConfiguration, for an editor that does not support the request."""
    all_settings = wire.loads(wire.fields(changed(plan, body) or b"{}").get("params", msgspec.Raw(b"{}")))
    return [_at(all_settings.get("settings"), section) for section in sections]


def settings(plan: Plan, section: str, value: Json) -> Json:
    """Return a section ("a.b"; "" for all) of the server's settings. `value` is the editor's value of it, or None."""
    return _over(_over(_at(plan.defaults, section), value), _at(plan.given.settings, section))


def _at(given: Json, section: str) -> Json:
    value = given
    for name in section.split(".") if section else ():
        value = wire.as_object(value).get(name)
    return value


def _over(below: Json, above: Json) -> Json:
    """Merge two values. Objects are merged by member; otherwise the upper value wins unless it is null."""
    if above is None:
        return below
    if not (wire.is_object(below) and wire.is_object(above)):
        return above
    return {**below, **{name: _over(below.get(name), value) for name, value in above.items()}}


def initialize_params(plan: Plan, params: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    """Make the params of initialize for this server: its options, its project's folder, and the capability workspace/configuration."""
    params = dict(params)
    if plan.given.initialization_options:
        options = wire.loads(params.get("initializationOptions", msgspec.Raw(b"null")))
        params["initializationOptions"] = wire.raw(_over(options, plan.given.initialization_options))
    if has_settings(plan):
        capabilities = wire.loads(params.get("capabilities", msgspec.Raw(b"{}")))
        params["capabilities"] = wire.raw(_over(capabilities, {"workspace": {"configuration": True}}))
    if plan.folder is not None:
        params["rootUri"], params["rootPath"] = wire.raw(plan.folder.as_uri()), wire.raw(str(plan.folder))
        params["workspaceFolders"] = wire.raw(workspace_folders(plan.folder))
    return params


def workspace_folders(project: Path) -> Json:
    """Return the workspace folders of a project's own server: the project alone."""
    return [{"uri": project.as_uri(), "name": project.name}]
