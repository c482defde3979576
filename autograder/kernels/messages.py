"""What a kernel sends is made by a student's code: it is taken for what it is, or not at all.

See "Messaging in Jupyter" in the documentation of jupyter_client.
"""

from typing import Any

from jupyter_client.session import json_packer

LONGEST = 2_000  # characters of an error's text and of a line of its traceback
LINES = 50  # of a traceback

Message = dict[str, Any]  # as `Session.deserialize` returns it

BUNDLE: dict[str, type] = {"data": dict, "transient": dict}
ERROR: dict[str, type] = {"ename": str, "evalue": str, "traceback": list}
# By type of message: the fields that a client reads, and what they must be. Others are not read.
FIELDS: dict[str, dict[str, type]] = {
    "status": {"execution_state": str},
    "stream": {"name": str, "text": str},
    "error": ERROR,
    "display_data": BUNDLE,
    "update_display_data": BUNDLE,
    "execute_result": {**BUNDLE, "execution_count": int},
    "execute_input": {"execution_count": int},
    "clear_output": {"wait": bool},
    "execute_reply": {"status": str, "payload": list, "execution_count": int, **ERROR},
    "kernel_info_reply": {"language_info": dict},
}
MAY_LACK = {"transient", "wait", "payload", "execution_count"}


def well_formed(message: Message) -> Message | None:
    """Return a message reduced to what is in FIELDS, or None."""
    kind, content, parent = message["msg_type"], message["content"], message["parent_header"]
    fields = FIELDS.get(kind) if isinstance(kind, str) else None
    if fields is None or not isinstance(content, dict) or not isinstance(parent, dict):
        return None
    if kind == "execute_reply" and content.get("status") != "error":
        fields = {name: fields[name] for name in fields.keys() - ERROR}
    found = {name: content[name] for name in fields if isinstance(content.get(name), fields[name])}
    if not fields.keys() - MAY_LACK <= found.keys():
        return None
    for name in found.keys() & {"name", "text", "ename", "evalue", "execution_state", "status"}:
        found[name] = readable(found[name])
    if "data" in found:
        found["data"] = {
            readable(mime): readable(data) for mime, data in found["data"].items() if isinstance(data, str)
        }
        found["metadata"] = {}
        shown_as = found.get("transient", {}).get("display_id")
        found["transient"] = {"display_id": shown_as} if isinstance(shown_as, str) else {}
    if "traceback" in found:
        lines = [readable(line)[:LONGEST] for line in found["traceback"][-LINES:] if isinstance(line, str)]
        found |= {"ename": found["ename"][:100], "evalue": found["evalue"][:LONGEST], "traceback": lines}
    if found.get("name", "stdout") not in ("stdout", "stderr"):
        return None
    return {**message, "content": found}


def readable(text: str) -> str:
    """Return the text with a question mark for each half of a character, which no file can hold."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def pack(content: Any) -> bytes:
    """Return a part of a message as bytes, whatever its text: a kernel's `--Session.packer`."""
    try:
        return json_packer(content)
    except UnicodeEncodeError:
        return json_packer(cleaned(content))


def cleaned(content: Any) -> Any:
    """Return dicts, lists and texts, every text `readable`."""
    match content:
        case dict():
            return {cleaned(key): cleaned(value) for key, value in content.items()}
        case list() | tuple():
            return [cleaned(value) for value in content]
        case str():
            return readable(content)
    return content
