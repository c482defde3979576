"""What a student's kernel hands over under grading: a record, as JSON. It is data, never a pickle."""

import json
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from pydantic_core import SchemaValidator

T = TypeVar("T")

MIME_TYPE = "application/vnd.autograder.evidence+json"
LARGEST = 3_000_000  # characters; the solution leaves a tenth of a million


class Malformed(ValueError):
    """Evidence that is missing, too large, or not what a check collects."""


class Evidence:
    """A record, to be shown as the result of a test cell."""

    def __init__(self, record: object) -> None:
        self.record = record

    def __repr__(self) -> str:
        return f"{type(self.record).__name__} for the grader"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        # As one string: a loss may be NaN, which a notebook's own JSON cannot hold.
        return {"text/plain": repr(self), MIME_TYPE: json.dumps(self.record, default=vars)}


def read(text: object, kind: type[T]) -> T:
    """Return the record of class `kind` that a JSON text describes. Raises Malformed."""
    from pydantic import ValidationError

    if not isinstance(text, str) or len(text) > LARGEST:
        raise Malformed("there is none" if text is None else "it is too large, or no text")
    try:
        return cast(T, validator(cast(Any, kind)).validate_json(text, strict=True))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise Malformed(f"{'.'.join(map(str, first['loc'][:4]))}: {first['msg']}") from None


@cache
def validator(kind: Any) -> "SchemaValidator":
    """Return what reads a record of class `kind`; it takes longer to make than to use."""
    from pydantic import TypeAdapter
    from pydantic_core import SchemaValidator

    return SchemaValidator(hurried(TypeAdapter(kind).core_schema))


def hurried(schema: Any) -> Any:
    """Return a schema of pydantic's in which no list is read on after an error: each would take 8 KB."""
    if isinstance(schema, list):
        return [hurried(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: hurried(part) for name, part in schema.items()}
    return {**inner, "fail_fast": True} if schema.get("type") == "list" else inner
