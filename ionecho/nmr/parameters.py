"""What derived quantities depend on besides their labels: every number has a name and is kept with the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Self

from pydantic import TypeAdapter, ValidationError

from ionecho.errors import InputError, explain


@dataclass(frozen=True)
class Parameters:
    """The fields of a frozen dataclass made of this one, without defaults; in configs they go by its `key`."""

    key: ClassVar[str]

    @classmethod
    def parse(cls, parameters: object, stored: Mapping[str, Any] | None = None) -> Self:
        """From a mapping of all parameters; `stored` are those that the labels were made for.

        Raises
        ------
        InputError
            If one is missing, unknown, of the wrong type, or cannot go with `stored`.
        """
        names = [field.name for field in fields(cls)]
        if not isinstance(parameters, Mapping) or set(parameters) != set(names):
            raise InputError(f"{cls.key}: expected {{{', '.join(names)}}}, found {parameters}")
        try:
            return TypeAdapter(cls).validate_python(dict(parameters))
        except ValidationError as error:
            raise InputError(f"{cls.key}: {explain(error)}") from error

    def to_dict(self) -> dict[str, Any]:
        """The parameters, for the metadata of a result."""
        return asdict(self)
